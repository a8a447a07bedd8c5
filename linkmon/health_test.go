// SPDX-License-Identifier: Apache-2.0

package linkmon

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world of one link for Health: an instant, its subflows, the link's packet counter.
type bench struct {
	t       *testing.T
	h       Health
	now     time.Time
	step    time.Duration
	link    Link
	samples []PathSample
	verdict Verdict
}

func newBench(t *testing.T, subflows int, rtt time.Duration) *bench {
	b := &bench{t: t, now: start, step: 50 * time.Millisecond}
	b.link = Link{Name: "dsl", Index: 3, Present: true, Up: true, Carrier: true, Usable: true, Addr4: netip.MustParseAddr("192.0.2.1")}
	for i := range subflows {
		b.samples = append(b.samples, PathSample{Key: uint64(i + 1), RTT: rtt, MinRTT: rtt, RTO: rtt + 200*time.Millisecond})
	}
	return b
}

// run lets d pass; each is called for every subflow at every step, before it is judged. A verdict of death ends it.
func (b *bench) run(d time.Duration, each func(at time.Duration, x *PathSample)) time.Duration {
	for at := b.step; at <= d; at += b.step {
		b.now = b.now.Add(b.step)
		for i := range b.samples {
			b.samples[i].LastAck += b.step
			each(at, &b.samples[i])
		}
		b.verdict = b.h.Step(b.now, b.samples, b.link)
		if b.verdict.Dead {
			return at
		}
	}
	return d
}

// uploads acknowledges n octets a step while more are out.
func (b *bench) uploads(n uint64) func(time.Duration, *PathSample) {
	return func(_ time.Duration, x *PathSample) {
		x.BytesAcked += n
		x.BytesSent += n
		x.Unacked, x.LastAck, x.AppLimited = 20, 3*time.Millisecond, false
		b.link.RxPackets += n / 3000
	}
}

// downloads receives n octets a step; nothing is out.
func (b *bench) downloads(n uint64) func(time.Duration, *PathSample) {
	return func(_ time.Duration, x *PathSample) {
		x.BytesReceived += n
		x.Unacked, x.LastAck = 0, 2*time.Millisecond
		b.link.RxPackets += n / 1400
	}
}

func silence(time.Duration, *PathSample) {}

func (b *bench) alive(what string) {
	b.t.Helper()
	if b.verdict.Dead {
		b.t.Fatalf("%s: called dead: %s", what, b.verdict.Reason)
	}
}

func TestBlackholeUnderUploadIsSeenInAFewRoundTrips(t *testing.T) {
	for _, c := range []struct {
		name     string
		rtt      time.Duration
		subflows int
		most     time.Duration
	}{
		{"dsl", 15 * time.Millisecond, 1, 400 * time.Millisecond},
		{"dsl, eight connections", 15 * time.Millisecond, 8, 400 * time.Millisecond},
		{"lte", 70 * time.Millisecond, 1, 400 * time.Millisecond},
		{"satellite", 600 * time.Millisecond, 2, 1900 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, c.subflows, c.rtt)
			b.run(5*time.Second, b.uploads(6000))
			b.alive("while all is well")
			took := b.run(10*time.Second, silence)
			if !b.verdict.Dead || took > c.most {
				t.Fatalf("dead %v after %v, want within %v", b.verdict.Dead, took, c.most)
			}
			if took < silenceLeast {
				t.Errorf("dead after %v: a scheduler's pause is no death", took)
			}
			if !strings.Contains(b.verdict.Reason, "nothing acknowledged") {
				t.Errorf("reason: %q", b.verdict.Reason)
			}
		})
	}
}

func TestNewRequestsDoNotHideABlackhole(t *testing.T) {
	b := newBench(t, 50, 20*time.Millisecond)
	b.run(2*time.Second, b.uploads(3000))
	b.run(2*time.Second, func(_ time.Duration, x *PathSample) { x.Unacked = 0 })
	n := uint64(0)
	took := b.run(5*time.Second, func(_ time.Duration, x *PathSample) {
		if x.Key == 50 {
			n++
		}
		if x.Key <= n { // at each step another one begins to send
			x.Unacked = 1
		}
	})
	if !b.verdict.Dead || took > time.Second {
		t.Errorf("dead %v after %v", b.verdict.Dead, took)
	}
}

func TestRequestIntoABlackholeIsSeen(t *testing.T) {
	b := newBench(t, 1, 20*time.Millisecond)
	b.run(20*time.Second, silence)
	b.alive("idle")
	b.run(5*time.Second, func(at time.Duration, x *PathSample) { x.Unacked, x.AppLimited = 1, true })
	if !b.verdict.Dead {
		t.Fatal("a request that is never acknowledged is not seen")
	}
}

func TestIdleIsNotDead(t *testing.T) {
	b := newBench(t, 4, 20*time.Millisecond)
	b.run(time.Second, b.uploads(3000))
	b.run(time.Second, func(_ time.Duration, x *PathSample) { x.Unacked = 0 })
	b.run(time.Hour, silence)
	b.alive("an hour of rest")
	// The first request after the rest is answered after a round trip, not at once.
	b.samples[2].Unacked, b.samples[2].AppLimited = 1, true
	b.run(100*time.Millisecond, silence)
	b.alive("first request after a rest")
}

func TestAppLimitedIsNotDead(t *testing.T) {
	b := newBench(t, 1, 50*time.Millisecond)
	// A keystroke each 400 ms; its acknowledgement is delayed by the peer.
	b.run(time.Minute, func(at time.Duration, x *PathSample) {
		x.AppLimited = true
		switch at % (400 * time.Millisecond) {
		case 0:
			x.Unacked, x.BytesSent = 1, x.BytesSent+36
		case 150 * time.Millisecond:
			x.Unacked, x.BytesAcked, x.LastAck = 0, x.BytesAcked+36, 0
		}
	})
	b.alive("keystrokes")
	// One acknowledgement that takes 500 ms: longer than three round trips, but the kernel itself has not timed out.
	b.samples[0].Unacked = 1
	b.run(500*time.Millisecond, silence)
	b.alive("one slow answer")
}

func TestBufferbloatIsNotDead(t *testing.T) {
	b := newBench(t, 1, 30*time.Millisecond)
	b.run(2*time.Second, b.uploads(6000))
	// The queue grows to two seconds; the bytes move on, at 256 kbit/s, an acknowledgement each 100 ms.
	b.run(30*time.Second, func(at time.Duration, x *PathSample) {
		x.RTT = min(2*time.Second, x.RTT+20*time.Millisecond)
		x.RTO = x.RTT + 300*time.Millisecond
		x.Unacked = 100
		if at%(100*time.Millisecond) == 0 {
			x.BytesAcked, x.LastAck = x.BytesAcked+3000, 0
		}
	})
	b.alive("a bloated queue that moves")
	if !b.verdict.UpQueue || !b.verdict.Standing {
		t.Errorf("the queue of two seconds is not seen: %+v", b.verdict)
	}
	// Even here the acknowledgements' rhythm, not the inflated round trip, tells a death.
	if took := b.run(10*time.Second, silence); !b.verdict.Dead || took > 2*time.Second {
		t.Errorf("death under bufferbloat: %v after %v", b.verdict.Dead, took)
	}
}

func TestSlowLineIsNotDead(t *testing.T) {
	b := newBench(t, 3, 600*time.Millisecond)
	n := 0
	// 64 kbit/s: an acknowledgement for two segments each 375 ms, for one subflow or another.
	b.run(2*time.Minute, func(at time.Duration, x *PathSample) {
		x.Unacked, x.RTT, x.RTO = 8, 1500*time.Millisecond, 2*time.Second
		if at%(400*time.Millisecond) == 0 && x.Key == uint64(n%3+1) {
			x.BytesAcked, x.LastAck = x.BytesAcked+3000, 0
		}
		if x.Key == 3 {
			n++
		}
	})
	b.alive("a slow line")
}

func TestOneStuckConnectionIsNotADeadLink(t *testing.T) {
	b := newBench(t, 2, 20*time.Millisecond)
	b.run(time.Minute, func(at time.Duration, x *PathSample) {
		if x.Key == 1 {
			b.uploads(3000)(at, x)
			return
		}
		x.Unacked, x.Timeouts = 5, 3
	})
	b.alive("another connection moves")
}

func TestClosedWindowIsNotDead(t *testing.T) {
	b := newBench(t, 1, 20*time.Millisecond)
	b.run(time.Second, b.uploads(3000))
	// The reader stopped: all is acknowledged, the rest waits here, the kernel probes and is answered.
	b.run(time.Minute, func(at time.Duration, x *PathSample) {
		x.Unacked, x.NotSent = 0, 100000
		if at%(5*time.Second) == 0 {
			x.LastAck = 0
		}
	})
	b.alive("the peer's window is closed")
}

func TestLinkThatServesOthersIsNotDeadAtOnce(t *testing.T) {
	b := newBench(t, 1, 20*time.Millisecond)
	b.run(time.Second, b.uploads(3000))
	others := func(time.Duration, *PathSample) { b.link.RxPackets += 30 } // a native download beside: the concentrator is slow
	took := b.run(10*time.Second, others)
	if took < silenceOther {
		t.Errorf("dead after %v while 600 packets a second arrive", took)
	}
	if !b.verdict.Dead {
		t.Error("a link that only receives (multicast television) is never found dead")
	}
}

// The way there is cut, the way back is not: the peer repeats what it has sent, ever more seldom.
func TestPeerThatRepeatsItselfDoesNotHearUs(t *testing.T) {
	use := Use{Needed: true, InUse: true}
	b := newBench(t, 1, 30*time.Millisecond)
	b.run(5*time.Second, func(at time.Duration, x *PathSample) {
		b.downloads(100_000)(at, x)
		x.DataSegs += 70
	})
	pause, next := 200*time.Millisecond, 200*time.Millisecond
	again := func(at time.Duration, x *PathSample) {
		if at >= next {
			pause *= 2
			next += pause
			x.DataSegs++
			x.LastAck = time.Millisecond
			b.link.RxPackets++
		}
	}
	b.run(4*time.Second, again)
	b.alive("before a probe")
	if !b.verdict.Suspect || !b.h.NeedProbe(b.now, use, b.verdict) {
		t.Fatalf("not suspect after 4 s of repetitions: %+v", b.verdict)
	}
	b.h.ProbeSent(b.now)
	b.h.ProbeDone(b.now, false)
	b.run(b.step, silence)
	if !b.verdict.Dead {
		t.Errorf("alive though a probe is lost as well: %+v", b.verdict)
	}
}

func TestDyingOftenIsFlapping(t *testing.T) {
	b := newBench(t, 1, 20*time.Millisecond)
	for range 3 {
		b.run(time.Second, b.uploads(3000))
		b.run(2*time.Second, silence)
		if !b.verdict.Dead {
			t.Fatal("not dead")
		}
		b.samples[0].LastAck = 0
		b.samples[0].BytesAcked++
		b.run(b.step, b.uploads(3000))
	}
	if !b.verdict.Flapping || b.verdict.CalmIn <= 0 {
		t.Errorf("three deaths in seconds are no flapping: %+v", b.verdict)
	}
	b.run(2*time.Minute, b.uploads(3000))
	if b.verdict.Flapping {
		t.Error("still flapping after two quiet minutes")
	}
}

func TestUnusableLinkIsNotCalledDead(t *testing.T) {
	b := newBench(t, 1, 20*time.Millisecond)
	b.run(time.Second, b.uploads(3000))
	b.link.Usable, b.link.Carrier = false, false
	b.run(time.Minute, silence)
	b.alive("a link without carrier says so itself")
}

func TestTimeThatJumpsKillsNothing(t *testing.T) {
	b := newBench(t, 1, 20*time.Millisecond)
	b.run(time.Second, b.uploads(3000))
	for _, jump := range []time.Duration{time.Hour, -2 * time.Hour, 24 * time.Hour} {
		b.now = b.now.Add(jump) // and whoever calls Step slept meanwhile
		b.run(200*time.Millisecond, silence)
		b.alive("after a jump of " + jump.String())
	}
}

func TestOneLateStepKillsNothing(t *testing.T) {
	b := newBench(t, 1, 20*time.Millisecond)
	b.run(time.Second, b.uploads(3000))
	b.now = b.now.Add(time.Second)
	b.samples[0].LastAck += time.Second
	if v := b.h.Step(b.now, b.samples, b.link); v.Dead {
		t.Errorf("dead by a step that came a second late: %s", v.Reason)
	}
	b.run(100*time.Millisecond, silence)
	if !b.verdict.Dead {
		t.Error("the second look does not count")
	}
}

// FuzzHealth lets any figures come in any order: no panic, no death of a link on which nothing is out and no probe was sent.
func FuzzHealth(f *testing.F) {
	f.Add([]byte{1, 50, 0, 10, 10, 0, 1, 50, 1, 0, 0, 200})
	f.Add([]byte{2, 50, 3, 255, 0, 1, 1, 250, 3, 0, 0, 9})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1200 {
			return // more steps find nothing new and cost time
		}
		var h Health
		now := start
		link := Link{Usable: true, Carrier: true}
		x := PathSample{}
		out := false
		for ; len(b) >= 6; b = b[6:] {
			now = now.Add(time.Duration(int8(b[1])) * 10 * time.Millisecond)
			x.Key = uint64(b[0]%4 + 1)
			x.Unacked = uint32(b[2] % 4)
			x.BytesAcked += uint64(b[3])
			x.BytesReceived += uint64(b[4]) << 8
			x.BytesSent += uint64(b[3])
			x.BytesRetrans += uint64(b[5])
			x.LastAck = time.Duration(b[5]) * 20 * time.Millisecond
			x.RTT = time.Duration(b[4]) * time.Millisecond
			out = out || x.Unacked > 0
			v := h.Step(now, []PathSample{x}, link)
			if v.Dead && !out {
				t.Fatalf("dead without data out: %s", v.Reason)
			}
			if !(v.Loss >= 0 && v.Loss <= 1) {
				t.Fatalf("loss %v", v.Loss)
			}
			h.NeedProbe(now, Use{Needed: true, InUse: b[0]&16 != 0, Metered: b[0]&32 != 0}, v)
		}
	})
}
