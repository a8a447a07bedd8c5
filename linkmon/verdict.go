// SPDX-License-Identifier: Apache-2.0

package linkmon

import (
	"fmt"
	"time"
)

// Verdict is what one link's live connections say of it.
type Verdict struct {
	Dead    bool // data is out and nothing comes back, or a dead link that has not proven its return
	Suspect bool // a download stopped at once, with nothing out that could be acknowledged: a probe decides (NeedProbe)

	Standing            bool // a queue stands in either direction
	UpQueue, DownQueue  bool
	RTT, MinRTT, RcvRTT time.Duration // RTT: of the least delayed busy subflow; MinRTT: least of the link of late; 0: unknown
	Loss                float64       // share of what was sent lately that had to be sent again, 0 to 1
	DownLoss            float64       // share of the packets with data that did not come, of late and rather too low; 0: none, or too few came to tell
	Subflows            int
	Flapping            bool          // died so often of late that it should not be relied on where there is another
	CalmIn              time.Duration // while Flapping: when it will be relied on again if it stays alive
	Reason              string        // in words, whenever Dead, Suspect or Standing
	Since               time.Time     // of Dead or of the return from it; zero: never was dead
}

// judge decides between alive and dead.
func (h *Health) judge(now time.Time, s summary, link Link) {
	if h.dead {
		switch {
		case s.moved && s.heardAt.After(h.since):
			h.revive(now)
		case h.changed(link):
			h.revive(now)
		case h.probe.proven():
			h.revive(now)
		}
		return
	}
	if !link.Usable {
		return // its own reason is plainer than ours
	}
	if h.probe.lost >= probeFails || h.probe.lost > 0 && h.suspect {
		h.die(now, link, h.probeReason())
		return
	}
	// One subflow is enough: its silence is counted from when anything at all was last heard by the link. To wait for
	// all would be to wait for ever while new requests keep coming.
	if s.silent == 0 || h.late {
		return
	}
	if h.probe.moot > 0 || h.probe.open && now.Sub(h.probe.sent) < probeVerdict {
		return // nobody answers by any link, or who does will be known in a moment
	}
	if quiet := now.Sub(h.progress); h.rxKnown && quiet > 0 && quiet < silenceOther {
		if float64(grown(h.rx, link.RxPackets))/quiet.Seconds() > otherPackets {
			return // somebody else is still served by this link: the other end may be slow, the link is not dead
		}
	}
	h.die(now, link, fmt.Sprintf("nothing acknowledged or received for %d ms with data out on %d subflows (%d ms are usual at most, %d timeouts)",
		s.longest.Milliseconds(), s.out, s.allowed.Milliseconds(), s.timeouts))
}

func (h *Health) die(now time.Time, link Link, reason string) {
	h.dead, h.since, h.reason, h.grave = true, now, reason, link
	h.probe = probe{}
	h.damp.Lost(now)
}

func (h *Health) revive(now time.Time) {
	h.dead, h.since, h.reason = false, now, ""
	h.probe = probe{}
	h.spoke = now
	h.progress, h.gap, h.inBytes, h.inPeak, h.rxKnown, h.delay = now, 0, 0, 0, false, 0
	for _, p := range h.paths {
		if p.out != 0 {
			p.out, p.stale = h.age(now), true
		}
	}
}

// changed tells a new chance for a dead link: it is another device, has carrier again, or another address.
func (h *Health) changed(l Link) bool {
	was := &h.grave
	came := l.Carrier && !was.Carrier
	if !l.Carrier {
		was.Carrier = false
	}
	return came || l.Index != was.Index || l.Addr4 != was.Addr4 || l.Addr6 != was.Addr6
}

func (h *Health) verdict(now time.Time, s summary, n int) Verdict {
	v := Verdict{Dead: h.dead, Since: h.since, Reason: h.reason, Subflows: n,
		UpQueue: h.up.stands, DownQueue: h.down.stands, Standing: h.up.stands || h.down.stands,
		RTT: s.rtt, MinRTT: h.least, RcvRTT: h.down.now, Loss: h.loss(), DownLoss: h.gaps.share()}
	v.Flapping, v.CalmIn = h.damp.Suppressed(now)
	if h.suspect && !h.dead {
		v.Suspect = true
		v.Reason = fmt.Sprintf("a download stopped %d ms ago", now.Sub(h.progress).Milliseconds())
	}
	if v.Reason == "" && v.Standing {
		v.Reason = h.queueReason()
	}
	return v
}

// stopped tells that a download ended all at once and nothing is out that could be acknowledged. It may have come to its
// end, or the link died: a subflow that only receives can't know.
func (h *Health) stopped(now time.Time, s summary, n int) bool {
	quiet := now.Sub(h.progress)
	return n > 0 && s.out == 0 && h.inPeak >= downloadMin && quiet < progressOld &&
		quiet >= max(stoppedLeast, gapFactor*h.gap, 3*s.rttLeast(h.least))
}

func (h *Health) probeReason() string {
	if h.suspect {
		return fmt.Sprintf("a download stopped %d ms ago and a probe was not answered", h.last.Sub(h.progress).Milliseconds())
	}
	return fmt.Sprintf("%d probes in a row were not answered", h.probe.lost)
}
