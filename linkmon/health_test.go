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

func TestDownloadThatStopsIsSuspectAndAProbeDecides(t *testing.T) {
	use := Use{Needed: true, InUse: true, Metered: true}
	died := func() *bench {
		b := newBench(t, 1, 15*time.Millisecond)
		b.run(5*time.Second, b.downloads(100_000))
		b.alive("downloading")
		if b.verdict.Suspect || b.h.NeedProbe(b.now, use, b.verdict) {
			t.Fatal("suspect while downloading")
		}
		for range 20 {
			if b.run(b.step, silence); b.verdict.Suspect {
				break
			}
		}
		if !b.verdict.Suspect || !b.h.NeedProbe(b.now, use, b.verdict) {
			t.Fatal("a download that stops at once is not suspect")
		}
		b.h.ProbeSent(b.now)
		if b.h.NeedProbe(b.now.Add(time.Millisecond), use, b.verdict) {
			t.Error("a second probe while one is on its way")
		}
		return b
	}
	t.Run("unanswered", func(t *testing.T) {
		b := died()
		b.run(b.h.ProbeWait(), silence)
		b.alive("before the probe is judged")
		b.h.ProbeDone(b.now, false)
		b.run(b.step, silence)
		if !b.verdict.Dead || !strings.Contains(b.verdict.Reason, "probe was not answered") {
			t.Errorf("verdict %+v", b.verdict)
		}
	})
	t.Run("answered", func(t *testing.T) {
		b := died()
		b.h.ProbeDone(b.now, true)
		b.run(time.Hour, silence)
		b.alive("the download had just come to its end")
		if b.verdict.Suspect {
			t.Error("still suspect")
		}
	})
}

// Nobody answers by any link: none is dead, whatever is out meanwhile, until somebody does answer by another. Probes go on, ever more seldom.
func TestASilenceOnAllLinksIsNoLinksDeath(t *testing.T) {
	use := Use{Needed: true, InUse: true}
	out := func(_ time.Duration, x *PathSample) { x.Unacked = 3 }
	fell := func(moot time.Duration) *bench {
		b := newBench(t, 2, 30*time.Millisecond)
		b.run(3*time.Second, b.downloads(100_000))
		probes := 0
		for range 20 {
			if !b.verdict.Suspect {
				b.run(b.step, silence)
			}
		}
		for end := b.now.Add(moot); b.now.Before(end); {
			if b.h.NeedProbe(b.now, use, b.verdict) {
				b.h.ProbeSent(b.now)
				b.run(300*time.Millisecond, out)
				b.h.ProbeMoot(b.now)
				probes++
			}
			b.run(b.step, out)
		}
		b.alive("nobody answers by any link")
		if b.h.Moot() == 0 || probes < 3 {
			t.Fatalf("%d moot after %d probes in %v", b.h.Moot(), probes, moot)
		}
		return b
	}
	t.Run("it was the concentrator", func(t *testing.T) {
		b := fell(10 * time.Second)
		b.run(time.Second, b.downloads(100_000))
		b.alive("it is heard again")
		if b.h.Moot() != 0 {
			t.Error("still mute")
		}
	})
	t.Run("it was all links, and another has returned", func(t *testing.T) {
		b := fell(10 * time.Second)
		for range probeFails {
			b.h.ProbeSent(b.now)
			b.h.ProbeDone(b.now, false)
			b.run(b.step, out)
		}
		if !b.verdict.Dead {
			t.Errorf("verdict %+v", b.verdict)
		}
	})
	t.Run("hours", func(t *testing.T) {
		b := fell(2 * time.Minute)
		if b.h.NeedProbe(b.now.Add(probeFirst), use, b.verdict) && b.h.NeedProbe(b.h.probe.sent.Add(10*time.Second), use, b.verdict) {
			t.Error("asks more often than each 10 s after two minutes")
		}
	})
}

// A subflow with data out from before the link was gone has backed off: its silence after the return is no second death.
func TestALeftoverSubflowDoesNotKillALinkThatReturns(t *testing.T) {
	b := newBench(t, 2, 20*time.Millisecond)
	b.run(2*time.Second, b.uploads(3000))
	b.link.Usable = false
	b.run(2*time.Second, silence)
	b.link.Usable = true
	b.run(5*time.Second, silence)
	b.alive("nothing new was sent since it returned")
	b.run(time.Second, b.uploads(3000))
	if took := b.run(5*time.Second, silence); !b.verdict.Dead {
		t.Errorf("a subflow that moved again and fell silent is not missed after %v", took)
	}
}

// A line with two seconds of queue answers a probe when what stands before it is through.
func TestAProbeWaitsInTheQueueOfTheLink(t *testing.T) {
	use := Use{Needed: true, InUse: true}
	b := newBench(t, 1, 600*time.Millisecond)
	b.samples[0].RcvRTT = 600 * time.Millisecond
	b.run(5*time.Second, b.downloads(800))
	b.samples[0].RcvRTT = 2400 * time.Millisecond
	b.run(5*time.Second, b.downloads(800))
	if wait := b.h.ProbeWait(); wait < 3*time.Second || wait > 5*time.Second {
		t.Errorf("waits %v for an answer through a queue of 1.8 s", wait)
	}
	b.h.ProbeSent(b.now)
	b.run(4*time.Second, b.downloads(800))
	b.h.ProbeDone(b.now, false)
	if b.h.NeedProbe(b.now.Add(time.Second), use, b.verdict) {
		t.Error("asks again, though what left after the probe has arrived")
	}
	b.run(b.step, silence)
	b.alive("data came all the time")
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

func TestMeteredLinkIsNeverProbedForNothing(t *testing.T) {
	b, minutes := newBench(t, 0, 0), 100
	if testing.Short() {
		minutes = 10
	}
	for range minutes {
		b.run(time.Minute, silence)
		if b.h.NeedProbe(b.now, Use{Needed: true, Metered: true}, b.verdict) || b.h.NeedProbe(b.now, Use{}, b.verdict) {
			t.Fatal("a probe on a link that is metered or not needed")
		}
	}
	b.h.die(b.now, b.link, "test")
	b.now = b.now.Add(time.Minute)
	b.verdict = b.h.Step(b.now, nil, b.link)
	if b.h.NeedProbe(b.now, Use{Needed: true, Metered: true}, b.verdict) {
		t.Error("a probe on a metered link that is dead and not in use")
	}
	if !b.h.NeedProbe(b.now, Use{Needed: true, InUse: true, Metered: true}, b.verdict) {
		t.Error("no probe on a metered link that is wanted now")
	}
}

func TestIdleNeededLinkIsProbedRarely(t *testing.T) {
	b := newBench(t, 0, 0)
	probes := 0
	for range 10 * 60 * 20 { // ten minutes
		b.run(b.step, silence)
		if b.h.NeedProbe(b.now, Use{Needed: true}, b.verdict) {
			probes++
			b.h.ProbeSent(b.now)
			b.h.ProbeDone(b.now, true)
		}
	}
	if probes < 15 || probes > 25 {
		t.Errorf("%d probes in ten idle minutes, want about 20", probes)
	}
	b.alive("answered probes")
	for range 60 * 20 {
		b.run(b.step, silence)
		if b.h.NeedProbe(b.now, Use{Needed: true}, b.verdict) {
			b.h.ProbeSent(b.now)
			b.h.ProbeDone(b.now, false)
		}
		if b.verdict.Dead {
			return
		}
	}
	t.Error("a needed idle link that answers no probe stays alive")
}

func TestProbesThatAreLookedAtTooLateProveLittle(t *testing.T) {
	b := newBench(t, 0, 0)
	lates := 0
	for range 60 * 60 * 20 { // an hour at most
		b.run(b.step, silence)
		if b.verdict.Dead {
			break
		}
		if b.h.NeedProbe(b.now, Use{Needed: true}, b.verdict) {
			lates++
			b.h.ProbeSent(b.now)
			b.h.ProbeLate(b.now)
		}
	}
	if want := probeLates + 1; !b.verdict.Dead || lates < want {
		t.Errorf("dead: %v after %d probes that nobody looked at in time, want dead after %d or more", b.verdict.Dead, lates, want)
	}
}

func TestDeadLinkIsProbedWithBackOffAndReturnsAfterTwoAnswers(t *testing.T) {
	b := newBench(t, 1, 20*time.Millisecond)
	b.run(time.Second, b.uploads(3000))
	b.run(5*time.Second, silence)
	if !b.verdict.Dead {
		t.Fatal("not dead")
	}
	b.samples = nil // main has removed the subflows
	use, probes := Use{Needed: true}, 0
	step := func() {
		b.now = b.now.Add(b.step)
		b.verdict = b.h.Step(b.now, nil, b.link)
	}
	for range 10 * 60 * 20 {
		if step(); b.h.NeedProbe(b.now, use, b.verdict) {
			probes++
			b.h.ProbeSent(b.now)
			b.h.ProbeDone(b.now, false)
		}
	}
	if probes < 15 || probes > 40 {
		t.Errorf("%d probes in ten minutes of death, want the back-off's 20 to 30", probes)
	}
	answers := 0
	for range 60 * 20 {
		if step(); !b.verdict.Dead {
			break
		}
		if b.h.NeedProbe(b.now, use, b.verdict) {
			answers++
			b.h.ProbeSent(b.now)
			b.h.ProbeDone(b.now, true)
		}
	}
	if b.verdict.Dead || answers != probeHits {
		t.Errorf("dead %v after %d answers, want alive after %d", b.verdict.Dead, answers, probeHits)
	}
}

func TestDeadLinkReturnsWithEvidence(t *testing.T) {
	dead := func() *bench {
		b := newBench(t, 1, 20*time.Millisecond)
		b.run(time.Second, b.uploads(3000))
		b.run(5*time.Second, silence)
		if !b.verdict.Dead {
			t.Fatal("not dead")
		}
		return b
	}
	for name, change := range map[string]func(*bench){
		"acknowledged after all": func(b *bench) { b.samples[0].BytesAcked += 1000; b.samples[0].LastAck = 0 },
		"another address":        func(b *bench) { b.link.Addr4 = netip.MustParseAddr("192.0.2.99") },
		"another device":         func(b *bench) { b.link.Index++ },
		"a new subflow": func(b *bench) {
			b.samples = append(b.samples, PathSample{Key: 99, RTT: 20 * time.Millisecond})
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := dead()
			b.samples[0].LastAck = 6 * time.Second
			b.now = b.now.Add(b.step)
			if v := b.h.Step(b.now, b.samples, b.link); !v.Dead {
				t.Fatal("alive without evidence")
			}
			change(b)
			b.now = b.now.Add(b.step)
			if v := b.h.Step(b.now, b.samples, b.link); v.Dead {
				t.Errorf("still dead: %s", v.Reason)
			}
		})
	}
	t.Run("carrier lost and back", func(t *testing.T) {
		b := dead()
		for _, up := range []bool{false, true} {
			b.link.Carrier, b.link.Usable = up, up
			b.now = b.now.Add(b.step)
			if v := b.h.Step(b.now, nil, b.link); v.Dead == up {
				t.Errorf("carrier %v: dead %v", up, v.Dead)
			}
		}
	})
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

func TestQueueOfADownloadIsSeen(t *testing.T) {
	b := newBench(t, 2, 30*time.Millisecond)
	b.run(2*time.Second, func(at time.Duration, x *PathSample) {
		b.downloads(60_000)(at, x)
		x.RcvRTT = 32 * time.Millisecond
	})
	if b.verdict.Standing {
		t.Fatalf("a queue without one: %s", b.verdict.Reason)
	}
	b.run(2*time.Second, func(at time.Duration, x *PathSample) {
		b.downloads(60_000)(at, x)
		x.RcvRTT = 130 * time.Millisecond
	})
	if !b.verdict.DownQueue || b.verdict.UpQueue || !strings.Contains(b.verdict.Reason, "a queue stands down") {
		t.Errorf("the queue of the download: %+v", b.verdict)
	}
	b.run(2*time.Second, silence)
	if b.verdict.Standing {
		t.Error("the receiver's old figure keeps a queue alive in which nothing moves")
	}
}

// Two segments that leave a slow line together delay each other, and are no queue; more are.
func TestFewSegmentsAreNoQueue(t *testing.T) {
	for _, c := range []struct {
		octets uint64        // a second
		extra  time.Duration // above the least round trip
		stands bool
	}{
		{100_000, 25 * time.Millisecond, false}, {100_000, 80 * time.Millisecond, true},
		{1_000_000, 15 * time.Millisecond, false}, {1_000_000, 25 * time.Millisecond, true},
		{30_000, 100 * time.Millisecond, false}, {30_000, 200 * time.Millisecond, true},
		{4_000, 200 * time.Millisecond, false}, {4_000, 400 * time.Millisecond, true},
	} {
		b := newBench(t, 1, 30*time.Millisecond)
		b.run(3*time.Second, func(at time.Duration, x *PathSample) {
			b.uploads(c.octets*uint64(b.step)/uint64(time.Second))(at, x)
			x.RTT = 30*time.Millisecond + c.extra
		})
		if b.verdict.UpQueue != c.stands {
			t.Errorf("%d octets/s up, %v above the least round trip: queue %v", c.octets, c.extra, b.verdict.UpQueue)
		}
		b = newBench(t, 1, 30*time.Millisecond)
		b.run(3*time.Second, func(at time.Duration, x *PathSample) {
			b.downloads(c.octets*uint64(b.step)/uint64(time.Second))(at, x)
			x.RTT, x.RcvRTT = 30*time.Millisecond, 30*time.Millisecond+c.extra
		})
		if want := c.stands && c.octets >= 20_000; b.verdict.DownQueue != want {
			t.Errorf("%d octets/s down, %v above the least round trip: queue %v", c.octets, c.extra, b.verdict.DownQueue)
		}
	}
}

func TestQueueNeedsToLast(t *testing.T) {
	b := newBench(t, 1, 30*time.Millisecond)
	flips, was := 0, false
	b.run(time.Minute, func(at time.Duration, x *PathSample) {
		b.uploads(6000)(at, x)
		x.RTT = 30 * time.Millisecond
		if at%(500*time.Millisecond) < 100*time.Millisecond { // bursts of 100 ms
			x.RTT = 100 * time.Millisecond
		}
		if b.verdict.UpQueue != was {
			flips, was = flips+1, b.verdict.UpQueue
		}
	})
	if flips != 0 {
		t.Errorf("the queue's verdict flipped %d times by bursts of 100 ms", flips)
	}
}

func TestLossIsTheShareOfRecentOctets(t *testing.T) {
	b := newBench(t, 2, 30*time.Millisecond)
	b.run(10*time.Second, func(at time.Duration, x *PathSample) {
		b.uploads(10_000)(at, x)
		x.BytesRetrans += 500
	})
	if l := b.verdict.Loss; l < 0.045 || l > 0.055 {
		t.Errorf("loss %.3f, want 0.05", l)
	}
	b.run(time.Minute, b.uploads(10_000))
	if l := b.verdict.Loss; l > 0.001 {
		t.Errorf("loss a minute later %.4f", l)
	}
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
