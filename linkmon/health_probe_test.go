// SPDX-License-Identifier: Apache-2.0

package linkmon

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

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

// A line that has never carried may be a satellite's. One that has is known by its least round trip.
func TestAProbeByAStrangeLinkHasTime(t *testing.T) {
	if wait := new(Health).ProbeWait(); wait < time.Second {
		t.Errorf("a link of which nothing is known has %v to answer", wait)
	}
	for rtt, want := range map[time.Duration]time.Duration{15 * time.Millisecond: probeLeast, 300 * time.Millisecond: 900 * time.Millisecond} {
		b := newBench(t, 1, rtt)
		b.run(3*time.Second, b.uploads(3000))
		if wait := b.h.ProbeWait(); wait != want {
			t.Errorf("%v away: waits %v, want %v", rtt, wait, want)
		}
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

// TestIdleNeededLinkIsProbedThoughLooksAreRare: while nothing is connected main looks each 2 s, then each 10 s, and what was heard before is
// forgotten after 2 s. That it was silent must not be.
func TestIdleNeededLinkIsProbedThoughLooksAreRare(t *testing.T) {
	for _, step := range []time.Duration{progressOld + time.Millisecond, 10 * time.Second} {
		b := newBench(t, 0, 0)
		b.step = step
		probes := 0
		for range 10 * time.Minute / step {
			b.run(step, silence)
			if b.h.NeedProbe(b.now, Use{Needed: true}, b.verdict) {
				probes++
				b.h.ProbeSent(b.now)
				b.h.ProbeDone(b.now, true)
			}
		}
		if probes < 15 || probes > 25 {
			t.Errorf("a look each %v: %d probes in ten idle minutes, want about 20", step, probes)
		}
		b.alive("answered probes")
		for looks := 0; looks < 20 && !b.verdict.Dead; looks++ {
			b.run(step, silence)
			for range 2 { // main reports at once, and the second follows
				if b.h.NeedProbe(b.now, Use{Needed: true}, b.verdict) {
					b.h.ProbeSent(b.now)
					b.now = b.now.Add(probeLeast)
					b.h.ProbeDone(b.now, false)
				}
			}
		}
		if !b.verdict.Dead {
			t.Errorf("a look each %v: a needed idle link that answers no probe stays alive", step)
		}
	}
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
