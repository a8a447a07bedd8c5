// SPDX-License-Identifier: Apache-2.0

package linkmon

import "time"

// Use says what the rest of the house wants from a link; NeedProbe weighs it.
type Use struct {
	Needed  bool // policy relies on the link: it is first, or the only one left, or awaited back
	InUse   bool // it carries connections now, or is wanted for them now
	Metered bool
}

const (
	probeIdle  = 30 * time.Second       // of silence on a link that is needed: else new connections meet a link that died unseen
	probeLeast = 220 * time.Millisecond // main's second SYN leaves after 100 ms
	// probeStrange is the wait by a link of which no round trip is known: two of a geostationary satellite's. With 220 ms a backup 300 ms away was
	// found dead as it took over, before its first subflow had joined.
	probeStrange = 1200 * time.Millisecond
	probeAgain   = 200 * time.Millisecond
	probeFirst   = 500 * time.Millisecond
	probeMoot    = 250 * time.Millisecond
	probeMost    = 30 * time.Second
	// probeVerdict is how long a silence with data out waits for the verdict of a probe that is on its way.
	probeVerdict = 700 * time.Millisecond
	probeGrace   = 5 * time.Second // a probe that is not reported for so long is forgotten
	probeHits    = 2               // answers in a row prove that a dead link is back
	probeFails   = 2               // unanswered in a row prove that an idle link is dead; one is enough for a suspect
	probeLates   = 3               // looked at too late in a row count as one unanswered: a machine may be slow for ever
)

// probe is the memory of the active probes of one link. linkmon itself sends none: main does, and reports.
type probe struct {
	sent time.Time
	open bool          // sent and not reported yet
	wait time.Duration // of the back-off; 0: at once
	hits int           // answered in a row
	lost int           // unanswered in a row
	late int           // looked at too late in a row
	moot int           // in a row that prove nothing, as nobody answers by any link
	mute time.Time     // since when
}

// NeedProbe says whether a probe should be sent by the link now. Only a link that is needed is asked, only when its own
// traffic does not tell, and never a metered one that is not in use: such a link costs nothing while it waits.
//
// A probe is anything small that the other end answers, bound to the link: a TCP connect without MPTCP, a Convert
// Info. One attempt that repeats after 100 ms bears the loss of a packet. The caller reports with ProbeSent and, after
// an answer or ProbeWait, with ProbeDone.
func (h *Health) NeedProbe(now time.Time, use Use, v Verdict) bool {
	if !use.Needed || (use.Metered && !use.InUse) {
		return false
	}
	p := &h.probe
	if p.open && now.Sub(p.sent) < probeGrace {
		return false
	}
	switch {
	case v.Dead:
		return now.Sub(later(h.since, p.sent)) >= max(p.wait, probeAgain)
	case p.moot > 0:
		return now.Sub(p.sent) >= p.wait
	case v.Suspect:
		return true
	case p.lost > 0 || p.late > 0:
		return now.Sub(p.sent) >= probeAgain
	default:
		return now.Sub(later(h.spoke, p.sent)) >= probeIdle
	}
}

// ProbeWait is how long to wait for the answer.
func (h *Health) ProbeWait() time.Duration {
	if u := h.Usual(); u > 0 {
		return max(probeLeast, u)
	}
	return probeStrange
}

// Usual is how long an answer takes at most, through the queues that the link's own traffic has filled; 0 while no round trip is known.
func (h *Health) Usual() time.Duration { return max(3*h.least, h.delay+h.delay/2) }

// ProbeSent notes that a probe left now.
func (h *Health) ProbeSent(now time.Time) { h.probe.sent, h.probe.open = now, true }

// ProbeDone notes how the probe ended: answered (a refusal is an answer too: the way there and back is alive) or not
// within ProbeWait. The next Step's verdict knows it. Unanswered ones are repeated with a back-off of 0.5 to 30 s, for ever.
func (h *Health) ProbeDone(now time.Time, answered bool) {
	p := &h.probe
	p.open, p.late, p.moot = false, 0, 0
	if answered {
		p.hits, p.lost, p.wait = p.hits+1, 0, probeAgain
		if !h.dead {
			h.met, h.spoke = now, now
			h.progress, h.inBytes, h.inPeak = later(h.progress, now), 0, 0
			for _, p := range h.paths {
				p.repeat = 0 // the peer's repetitions have another cause
			}
		}
		return
	}
	if !h.dead && h.progress.After(p.sent.Add(max(h.least, h.delay))) {
		return // it was lost, or stands in a queue: the peer answered to something that left later
	}
	p.hits, p.lost = 0, p.lost+1
	p.wait = min(max(2*p.wait, probeFirst), probeMost)
}

// ProbeLate notes that nobody looked for the answer until long after ProbeWait: this machine had no time, and its silence is its own.
func (h *Health) ProbeLate(now time.Time) {
	p := &h.probe
	if p.late++; p.late >= probeLates {
		h.ProbeDone(now, false)
		return
	}
	p.open = false
}

// ProbeMoot notes that a probe was not answered, and that nobody answers by any other link either: it says nothing of this one. It is repeated after
// a sixteenth of the time for which that has lasted, 0.25 to 30 s, for ever.
func (h *Health) ProbeMoot(now time.Time) {
	p := &h.probe
	if p.moot++; p.moot == 1 {
		p.mute = now
	}
	p.open, p.hits, p.lost = false, 0, 0
	p.wait = min(max(now.Sub(p.mute)/16, probeMoot), probeMost)
}

// Moot is how many probes in a row have said nothing of the link, as nobody answers by any. It ends when anything is heard.
func (h *Health) Moot() int { return h.probe.moot }

// Muted is since when Moot is more than 0; zero: it is not.
func (h *Health) Muted() time.Time {
	if h.probe.moot == 0 {
		return time.Time{}
	}
	return h.probe.mute
}

// Unmute ends that, as somebody answers by another link.
func (h *Health) Unmute() { h.probe.moot = 0 }

// HeardSince tells whether the peer has answered by the link after t. That it repeats an acknowledgement is none: MPTCP does so
// with its end for as long as it hears nothing.
func (h *Health) HeardSince(t time.Time) bool { return h.met.After(t) }

// proven: a dead link has answered often enough to be alive.
func (p *probe) proven() bool { return p.hits >= probeHits }
