// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"strings"
	"testing"
	"time"
)

// TestGuardSeesTheQueue: more wants to be carried, and together the links carry less than DSL alone did.
func TestGuardSeesTheQueue(t *testing.T) {
	c, o := household()
	m := New(c)
	o.Links[0].DownRate, o.Links[0].DownQueue = 19.6e6, true
	if p := pass(m, &o, time.Second); !p.OverflowDown {
		t.Fatal("no overflow")
	}
	var p Plan
	for range 200 {
		o.Links[0].DownRate, o.Links[1].DownRate, o.Links[1].DownQueue = 12e6, 3e6, true
		if p.Links != nil && p.Links[1].Resting {
			o.Links[0].DownRate, o.Links[1].DownRate, o.Links[1].DownQueue = 19.6e6, 0, false
		}
		p = pass(m, &o, 50*time.Millisecond)
	}
	want := "with lte the links carry 15.0 Mbit/s down together, less than the 19.6 Mbit/s of dsl alone: only when nothing else works, for 30 s"
	if p.Overflow || p.Links[1].Why != want {
		t.Errorf("overflow %v: %s", p.Overflow, p.Links[1].Why)
	}
	o.Links[0].Usable = false
	if p := m.Step(o); p.First != 1 {
		t.Error("suspended, but nothing else works")
	}
}

// TestGuardBacksOff: each suspension is twice as long as the one before, up to ten minutes.
func TestGuardBacksOff(t *testing.T) {
	c, o := household()
	m := New(c)
	var waits []string
	for range 40 * 60 * 20 {
		on := m.mem.links[1].over[down] && !m.mem.dirs[down].turns.resting
		o.Links[0].DownRate, o.Links[0].DownQueue = 19.6e6, true
		o.Links[1].DownRate = 0
		if on {
			o.Links[0].DownRate, o.Links[1].DownRate = 12e6, 3e6
		}
		o.Now = o.Now.Add(50 * time.Millisecond)
		for _, change := range m.Step(o).Changed {
			if _, wait, ok := strings.Cut(change.Why, "works, for "); ok && change.To == Standby {
				waits = append(waits, wait)
			}
		}
	}
	if got, want := strings.Join(waits[:min(7, len(waits))], ", "), "30 s, 60 s, 2 min, 4 min, 8 min, 10 min, 10 min"; got != want {
		t.Errorf("suspended for %s; want %s", got, want)
	}
}

// TestGuardInBond: the slower link goes if the other alone is better, and comes back if it is not.
func TestGuardInBond(t *testing.T) {
	for _, tt := range []struct {
		name       string
		alone      float64 // what DSL carries alone
		back       bool
		downWithin time.Duration
	}{
		{"dsl alone is better", 19e6, false, 10 * time.Second},
		{"dsl alone is worse", 9e6, true, 10 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, o := household()
			c.Mode = ModeBond
			c.Links[1].DownBit = 5e6
			m := New(c)
			o.Links[0].DownRate, o.Links[0].DownQueue, o.Links[1].DownRate = 10e6, true, 2e6
			p := pass(m, &o, 2500*time.Millisecond) // two fifths are missing: that is seen soon
			if p.Links[1].Role >= Active || p.First != 0 {
				t.Fatalf("%+v", p)
			}
			o.Links[0].DownRate, o.Links[1].DownRate = tt.alone, 0
			p = pass(m, &o, tt.downWithin)
			if back := p.Links[1].Role == Active; back != tt.back {
				t.Errorf("lte is %v: %s", p.Links[1].Role, p.Links[1].Why)
			}
			if tt.back { // DSL's true measure is known now, so that its capacity does not mislead again
				o.Links[0].DownRate, o.Links[1].DownRate = 10e6, 2e6
				if p := pass(m, &o, time.Minute); p.Links[1].Role != Active {
					t.Errorf("lte is %v: %s", p.Links[1].Role, p.Links[1].Why)
				}
			}
		})
	}
}

// TestTheTrialInBond: what DSL carries alone is judged by its mean, and not by a moment, nor by one in which nothing wanted to be carried; and when LTE
// is back, as fast by its figures, it is LTE that goes again, since it loses more.
func TestTheTrialInBond(t *testing.T) {
	c, o := household()
	c.Mode = ModeBond
	c.Links[0].UpBit, c.Links[1].UpBit = 20e6, 20e6
	m := New(c)
	o.Links[0].RTT, o.Links[1].RTT = 60*time.Millisecond, 31*time.Millisecond // of DSL much is its queue
	o.Links[1].Loss = 0.05
	together := func(d time.Duration) Plan {
		o.Links[0].UpRate, o.Links[0].UpQueue, o.Links[1].UpRate = 5e6, true, 7e6
		return pass(m, &o, d)
	}
	if p := together(2 * time.Second); p.Links[1].Role >= Active || p.First != 0 {
		t.Fatalf("lte is %v, dsl %v: %s", p.Links[1].Role, p.Links[0].Role, p.Links[1].Why)
	}
	o.Links[1].UpRate = 0
	for n := range 40 {
		// Whenever somebody looks DSL may be in a dip: a quarter of the time.
		if o.Links[0].UpRate = 20e6; n%8 > 5 {
			o.Links[0].UpRate = 8e6
		}
		if p := pass(m, &o, 50*time.Millisecond); p.Links[1].Role >= Active {
			t.Fatalf("after %v of the trial lte is back", time.Duration(n)*50*time.Millisecond)
		}
	}
	o.Links[0].UpRate, o.Links[0].UpQueue = 2e6, false // little is wanted for a while
	pass(m, &o, 5*time.Second)
	o.Links[0].UpRate, o.Links[0].UpQueue = 19e6, true
	if p := pass(m, &o, 10*time.Second); p.Links[1].Role >= Active {
		t.Fatalf("lte is back: %s", p.Links[1].Why)
	}
	pass(m, &o, 30*time.Second)
	for range 100 {
		if p := together(50 * time.Millisecond); p.First != 0 || p.Links[0].Role < Active {
			t.Fatalf("dsl is given up: %s", p.Links[0].Why)
		}
	}
	if l := &m.mem.links[1]; l.suspension.backoff != 2*suspendMin {
		t.Errorf("lte was suspended for %v, want 60 s the second time", l.suspension.backoff)
	}
}

// TestGuardInBondTakesItsTime: where little is missing it is not decided at once, for a sum that swings is soon below its mean.
func TestGuardInBondTakesItsTime(t *testing.T) {
	c, o := household()
	c.Mode = ModeBond
	c.Links[1].DownBit = 5e6
	m := New(c)
	o.Links[0].DownRate, o.Links[0].DownQueue, o.Links[1].DownRate = 16e6, true, 2e6
	if p := pass(m, &o, 4*time.Second); p.Links[1].Role != Active {
		t.Errorf("after 4 s: %s", p.Links[1].Why)
	}
	o.Links[0].DownRate = 19e6
	pass(m, &o, time.Second)
	o.Links[0].DownRate = 5e6 // and a moment of much is not the end
	if p := pass(m, &o, 500*time.Millisecond); p.Links[1].Role != Active {
		t.Errorf("after half a second: %s", p.Links[1].Why)
	}
	if p := pass(m, &o, 2*time.Second); p.Links[1].Role >= Active {
		t.Errorf("lte still carries, 7 instead of 20 Mbit/s: %s", p.Links[1].Why)
	}
}

// TestASilentLinkWaits: the subflows of a link that the guard took out stay, silent, while the primary is full, but not while it waits for what the link
// still has, and not for ever.
func TestASilentLinkWaits(t *testing.T) {
	suspended := func() (*Machine, Observation) {
		c, o := household()
		m := New(c)
		o.Links[0].DownRate, o.Links[0].DownQueue, o.Delivered = c.Links[0].DownBit, true, c.Links[0].DownBit
		o.Links[1].RTT, o.Links[1].MinRTT = 300*time.Millisecond, 300*time.Millisecond
		if p := pass(m, &o, 2*time.Second); p.Links[1].Role != Active {
			t.Fatalf("no overflow: %s", p.Links[1].Why)
		}
		m.Suspend(1, "lte is no good")
		return m, o
	}
	for _, c := range []struct {
		name   string
		change func(o *Observation)
		after  time.Duration
		want   State
	}{
		{"full", func(*Observation) {}, 25 * time.Second, Standby},
		{"room", func(o *Observation) { o.Links[0].DownRate, o.Links[0].DownQueue = 5e6, false }, 4 * time.Second, Off},
		{"waits for a moment", func(o *Observation) { o.Links[0].DownRate, o.Delivered = 0, 0 }, 300 * time.Millisecond, Standby},
		{"waits long", func(o *Observation) { o.Links[0].DownRate, o.Delivered = 0, 0 }, 600 * time.Millisecond, Off},
		{"hosts get it", func(o *Observation) { o.Links[0].DownRate = 0 }, 600 * time.Millisecond, Standby},
		{"gone", func(o *Observation) { o.Links[1].Usable = false }, 100 * time.Millisecond, Off},
	} {
		m, o := suspended()
		c.change(&o)
		if p := pass(m, &o, c.after); p.Links[1].Role != c.want {
			t.Errorf("%s: %v, want %v: %s", c.name, p.Links[1].Role, c.want, p.Links[1].Why)
		}
	}
	// The second suspension is longer than a silent link may stay.
	m, o := suspended()
	m.Suspend(1, "lte is no good")
	if p := pass(m, &o, 29*time.Second); p.Links[1].Role != Standby {
		t.Errorf("after 29 s: %v", p.Links[1].Role)
	}
	if p := pass(m, &o, 5*time.Second); p.Links[1].Role != Off {
		t.Errorf("after 34 s of 60: %v", p.Links[1].Role)
	}
}

// TestDampening: the wait of a link that returns grows with its recent falls, and shrinks as they are forgotten.
func TestDampening(t *testing.T) {
	c, o := household()
	m := New(c)
	pass(m, &o, time.Second)
	returned := func(falls int) time.Duration {
		for n := range falls {
			o.Links[0].Usable = false
			pass(m, &o, time.Second)
			o.Links[0].Usable = true
			if n < falls-1 {
				pass(m, &o, time.Second)
			}
		}
		from := o.Now
		for o.Now.Sub(from) < 10*time.Minute {
			if p := pass(m, &o, 50*time.Millisecond); p.First == 0 {
				break
			}
		}
		return o.Now.Sub(from)
	}
	if d := returned(1); d < 9*time.Second || d > 11*time.Second {
		t.Errorf("after one fall: %v, want 10 s", d)
	}
	pass(m, &o, 10*time.Minute)
	if d := returned(4); d < 30*time.Second || d > 80*time.Second {
		t.Errorf("after four falls: %v, want most of a minute", d)
	}
	pass(m, &o, 10*time.Minute)
	if d := returned(1); d > 11*time.Second {
		t.Errorf("ten minutes later: %v, want 10 s", d)
	}
}

// TestLateCarrier: links whose carrier comes just after the daemon's first look have not fallen, and are trusted; one that comes
// later, or falls once it is there, waits for hold_up.
func TestLateCarrier(t *testing.T) {
	for _, x := range []struct {
		after time.Duration
		falls bool
		want  bool
	}{{100 * time.Millisecond, false, true}, {3 * time.Second, false, true}, {3 * time.Second, true, false}, {20 * time.Second, false, false}} {
		c, o := household()
		m := New(c)
		o.Links[1].Usable = false
		pass(m, &o, x.after)
		o.Links[1].Usable = true
		if x.falls {
			pass(m, &o, 100*time.Millisecond)
			o.Links[1].Usable = false
			pass(m, &o, 100*time.Millisecond)
			o.Links[1].Usable = true
		}
		o.Links[0].DownRate = 20e6
		if p := pass(m, &o, time.Second); p.Links[1].Role >= Active != x.want {
			t.Errorf("lte came after %v (fell again: %v): %v while dsl is full, active: want %v", x.after, x.falls, p.Links[1].Role, x.want)
		}
	}
}

// TestFarLink: a link by satellite is left for its round trip at rest, not for the queue that it builds up.
func TestFarLink(t *testing.T) {
	c, o := household()
	m := New(c)
	o.Links[0].DownRate, o.Links[0].RTT, o.Links[0].MinRTT = 20e6, 15*time.Millisecond, 15*time.Millisecond
	o.Links[1].DownRate, o.Links[1].RTT, o.Links[1].MinRTT = 20e6, 2*time.Second, 40*time.Millisecond
	if p := pass(m, &o, 10*time.Second); !p.OverflowDown {
		t.Errorf("a queue of two seconds: %s", p.Links[1].Why)
	}
	o.Links[1].MinRTT = 1500 * time.Millisecond
	p := pass(m, &o, 3*time.Second)
	if want := "lte answers 1485 ms later than dsl, more than 1000 ms: only when nothing else works, for 30 s"; p.Overflow || p.Links[1].Why != want {
		t.Errorf("%s", p.Links[1].Why)
	}
}

// TestSuspend: evidence from outside counts like the guard's own, unless there is no guard.
func TestSuspend(t *testing.T) {
	for _, guard := range []bool{true, false} {
		c, o := household()
		c.NoGuard = !guard
		m := New(c)
		o.Links[0].DownRate, o.Links[0].DownQueue = 19.6e6, true
		if p := pass(m, &o, time.Second); !p.OverflowDown {
			t.Fatal("no overflow")
		}
		m.Suspend(1, "the kernel loses data")
		p := pass(m, &o, time.Second)
		if p.Overflow == guard {
			t.Errorf("guard %v: overflow %v: %s", guard, p.Overflow, p.Links[1].Why)
		}
		if want := "the kernel loses data: only when nothing else works, for 30 s"; guard && p.Links[1].Why != want {
			t.Errorf("said %q, want %q", p.Links[1].Why, want)
		}
		m.Suspend(-1, "nobody")
		m.Suspend(9, "nobody")
	}
}

// TestGuardBoundsTheCost: whatever share of what DSL carries alone the links carry together, if it is clearly less the guard acts before a second's
// worth is lost; and never while they carry as much.
func TestGuardBoundsTheCost(t *testing.T) {
	for percent := 5; percent <= 100; percent += 5 {
		c, o := household()
		m := New(c)
		o.Links[0].DownRate, o.Links[0].DownQueue = 20e6, true
		if p := pass(m, &o, time.Second); !p.OverflowDown {
			t.Fatal("no overflow")
		}
		share := float64(percent) / 100
		o.Links[0].DownRate, o.Links[1].DownRate, o.Links[1].DownQueue = 20e6*share*0.9, 20e6*share*0.1, true
		lost, began := time.Duration(0), o.Now
		for m.mem.links[1].suspension.until == 0 && o.Now.Sub(began) < 30*time.Second {
			pass(m, &o, 50*time.Millisecond)
			lost += time.Duration((1 - share) * float64(50*time.Millisecond))
		}
		acted := m.mem.links[1].suspension.until > 0
		switch {
		case percent >= 95 && acted:
			t.Errorf("at %d %% the link was suspended: %s", percent, m.mem.links[1].suspension.why)
		case percent <= 75 && (!acted || lost > time.Second):
			t.Errorf("at %d %%: suspended: %t, after the time of %v of DSL was lost", percent, acted, lost)
		}
	}
}

// TestGuardIsCut: what is on its way on a link that holds up the others is not waited for; what merely is not needed empties.
func TestGuardIsCut(t *testing.T) {
	c, o := household()
	m := New(c)
	o.Links[0].DownRate, o.Links[0].DownQueue = 20e6, true
	pass(m, &o, time.Second)
	o.Links[0].DownRate, o.Links[1].DownRate = 0, 1e6
	for range 20 {
		if p := pass(m, &o, 50*time.Millisecond); p.Links[1].Role == Standby {
			t.Fatalf("waits for lte to empty: %s", p.Links[1].Why)
		}
	}
	if p := m.Step(o); p.Links[1].Role != Off {
		t.Errorf("lte is %v: %s", p.Links[1].Role, p.Links[1].Why)
	}
}

// TestGuardIgnoresTheEnd: a transfer that ends is no loss, though the queue is seen for a while after.
func TestGuardIgnoresTheEnd(t *testing.T) {
	c, o := household()
	m := New(c)
	for range 20 {
		o.Links[0].DownRate, o.Links[0].DownQueue = 20e6, true
		pass(m, &o, time.Second)
		o.Links[1].DownRate, o.Links[1].DownQueue = 38e6, true
		pass(m, &o, 5*time.Second)
		o.Links[0].DownRate, o.Links[1].DownRate = 0, 0
		pass(m, &o, 500*time.Millisecond)
		o.Links[0].DownQueue, o.Links[1].DownQueue = false, false
		pass(m, &o, 20*time.Second)
	}
	// The demand ends as the overflow begins: what DSL's queue still had falls below what it carried, and LTE has nothing.
	o.Links[0].DownRate, o.Links[0].DownQueue = 20e6, true
	for range 20 {
		if p := pass(m, &o, 50*time.Millisecond); p.OverflowDown {
			break
		}
	}
	for o.Links[0].DownRate > 0 {
		o.Links[0].DownRate -= 2e6
		pass(m, &o, 100*time.Millisecond)
	}
	if m.mem.links[1].suspension.until > 0 {
		t.Error(m.mem.links[1].suspension.why)
	}
}

// untilOverflow passes time until LTE takes the overflow down, 2 s at most.
func untilOverflow(m *Machine, o *Observation) {
	for until := o.Now.Add(2 * time.Second); o.Now.Before(until) && !m.mem.links[1].over[down]; {
		pass(m, o, 50*time.Millisecond)
	}
}

// TestGuardBehind: a link that brings next to nothing while hosts wait for it goes before anything is lost. One that brings enough may keep
// them waiting, and so may one that has had no time to begin; and without a figure of what hosts are given nothing follows.
func TestGuardBehind(t *testing.T) {
	const fullOfFive = 4.5 // Mbit/s, of a link that has 5
	for _, tt := range []struct {
		name           string
		lte, delivered float64 // Mbit/s
		rtt            time.Duration
		loss           float64
		why            string // it goes, and so it is said; "": it stays
	}{
		{"little, and hosts wait", 1.5, 9, 30 * time.Millisecond, 0, "lte holds up dsl and brings only 1.5 Mbit/s down"},
		{"little, but nobody waits", 1.5, 20, 30 * time.Millisecond, 0, ""},
		{"enough, and hosts wait", 6, 9, 30 * time.Millisecond, 0, ""},
		{"little, far away", 1.5, 9, 300 * time.Millisecond, 0, ""},
		{"little, far away, and loses", 1.5, 9, 300 * time.Millisecond, 0.01, "lte loses 1.0 % down, too much to carry more than 386 kbit/s beside dsl"},
		{"little, loses, but nobody waits", 1.5, 20, 300 * time.Millisecond, 0.01, ""},
		{"enough, though it loses", 6, 9, 300 * time.Millisecond, 0.01, ""},
		{"little, loses no more than TCP bears so near", 1.5, 18, 30 * time.Millisecond, 0.01, ""},
		{"as much as it can, and loses the rest", fullOfFive, 9, 300 * time.Millisecond, 0.01, ""},
		{"unknown", 1.5, 0, 30 * time.Millisecond, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, o := household()
			if tt.lte == fullOfFive {
				c.Links[1].DownBit = 5e6
			}
			m := New(c)
			o.Links[0].DownRate, o.Links[0].DownQueue, o.Links[1].MinRTT = 19.6e6, true, tt.rtt
			if tt.delivered > 0 {
				o.Delivered = 18.6e6
			}
			untilOverflow(m, &o)
			o.Links[1].DownRate, o.Links[1].DownLoss, o.Delivered = tt.lte*1e6, tt.loss, tt.delivered*1e6
			p := pass(m, &o, 2*time.Second)
			if goes := !p.OverflowDown; goes != (tt.why != "") {
				t.Errorf("overflow %t: %s", p.OverflowDown, p.Links[1].Why)
			}
			if !strings.Contains(p.Links[1].Why, tt.why) {
				t.Errorf("it is not said: %s", p.Links[1].Why)
			}
		})
	}
}

// TestGuardBehindInBond: links that carry at once from the beginning tell as well whether hosts wait for what one of them brings.
func TestGuardBehindInBond(t *testing.T) {
	for _, waits := range []bool{false, true} {
		c, o := household()
		c.Mode = ModeBond
		c.Links[1].DownBit = 20e6
		m := New(c)
		o.Links[0].DownRate, o.Links[0].DownQueue, o.Links[1].DownRate, o.Links[1].DownLoss = 19.6e6, true, 1.5e6, 0.03
		o.Links[0].MinRTT, o.Links[1].MinRTT, o.Delivered = 30*time.Millisecond, 30*time.Millisecond, 19.8e6
		pass(m, &o, 3*time.Second)
		if waits {
			o.Delivered = 12e6
		}
		p := pass(m, &o, 2*time.Second)
		if goes := p.Links[1].Role < Active; goes != waits || p.First != 0 {
			t.Errorf("hosts wait: %t; lte goes: %t: %s", waits, goes, p.Links[1].Why)
		}
	}
}

// overflowing is a household whose DSL is full, and hosts are given nearly all of it, when LTE of that round trip begins.
func overflowing(rtt time.Duration) (*Machine, Observation) {
	c, o := household()
	m := New(c)
	o.Links[0].DownRate, o.Links[0].DownQueue, o.Links[1].MinRTT, o.Delivered = 19.6e6, true, rtt, 18.6e6
	untilOverflow(m, &o)
	return m, o
}

// TestGuardBehindWhileAllStands: a link far away has time to begin, but not while the primaries stand still for what it has lost; where they stand
// still because hosts have been given all, nothing is wrong.
func TestGuardBehindWhileAllStands(t *testing.T) {
	for _, waits := range []bool{false, true} {
		m, o := overflowing(300 * time.Millisecond)
		o.Links[1].DownRate = 1e6
		if waits {
			o.Delivered = 3e6
		}
		pass(m, &o, 400*time.Millisecond)
		o.Links[0].DownRate, o.Links[0].DownQueue, o.Links[1].DownRate, o.Delivered = 0, false, 0, 0
		p := pass(m, &o, 700*time.Millisecond)
		if goes := m.mem.links[1].suspension.until > 0; goes != waits {
			t.Errorf("hosts wait %t, suspended %t: %s", waits, goes, p.Links[1].Why)
		}
	}
}

// TestWaitingIsNoRest: primaries that stand still while hosts wait for what the overflow link has do not lack demand, so the link does not rest; it
// does when hosts are given all that comes.
func TestWaitingIsNoRest(t *testing.T) {
	for _, waits := range []bool{false, true} {
		m, o := overflowing(30 * time.Millisecond)
		// LTE carries enough to be worth it, and then DSL dips a little.
		o.Links[1].DownRate, o.Delivered = 8e6, 26e6
		pass(m, &o, 600*time.Millisecond)
		o.Links[0].DownRate, o.Links[0].DownQueue = 18.5e6, false
		if o.Delivered = 25.2e6; waits {
			o.Delivered = 12e6
			pass(m, &o, 100*time.Millisecond)
		}
		rested := false
		for range 8 {
			rested = rested || pass(m, &o, 50*time.Millisecond).Links[1].Resting
		}
		if rested == waits {
			t.Errorf("hosts wait: %t; lte rested: %t", waits, rested)
		}
		// What they waited for has come, and soon they are given what arrives: what was added up is no reason any more.
		o.Delivered = 25.2e6
		for range 8 {
			rested = rested || pass(m, &o, 50*time.Millisecond).Links[1].Resting
		}
		if !rested {
			t.Error("lte does not rest though hosts are given all that comes")
		}
	}
}

// TestFarLinkMayBegin: the others stand still for three round trips of a link that is far away while it brings the first that it was given. It is
// not given up for that; one that is near is.
func TestFarLinkMayBegin(t *testing.T) {
	for _, rtt := range []time.Duration{30 * time.Millisecond, 300 * time.Millisecond} {
		c, o := household()
		m := New(c)
		o.Links[0].DownRate, o.Links[0].DownQueue, o.Links[1].MinRTT, o.Delivered = 19.6e6, true, rtt, 18.6e6
		untilOverflow(m, &o)
		pass(m, &o, 2*rtt)
		o.Links[0].DownRate, o.Links[1].DownRate, o.Delivered = 1e6, 1e6, 0
		pass(m, &o, 450*time.Millisecond)
		o.Links[0].DownRate, o.Links[1].DownRate, o.Delivered = 19.6e6, 6e6, 30e6
		p := pass(m, &o, 500*time.Millisecond)
		if want := rtt > 100*time.Millisecond; p.OverflowDown != want {
			t.Errorf("round trip %v: overflow %t: %s", rtt, p.OverflowDown, p.Links[1].Why)
		}
	}
}

// TestGuardLossyUp: from the home a link goes that loses too much to carry anything worth it, unless it loses because it is full.
func TestGuardLossyUp(t *testing.T) {
	for _, tt := range []struct {
		name            string
		lte, loss       float64
		rtt, queue      time.Duration
		goes, saysQueue bool
	}{
		{"far, and loses", 1, 0.02, 300 * time.Millisecond, 0, true, false},
		{"far, and loses nothing", 1, 0, 300 * time.Millisecond, 0, false, false},
		{"near, and loses half", 0.5, 0.5, 30 * time.Millisecond, 0, true, false},
		{"near, and loses a little", 0.5, 0.01, 30 * time.Millisecond, 0, false, false},
		{"carries enough", 3, 0.02, 300 * time.Millisecond, 0, false, false},
		{"is full", 1, 0.05, 300 * time.Millisecond, 200 * time.Millisecond, false, false},
		{"is said to be full", 1, 0.05, 300 * time.Millisecond, 0, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, o := household()
			m := New(c)
			o.Links[0].UpRate, o.Links[0].UpQueue, o.Links[1].MinRTT = 5e6, true, tt.rtt
			for until := o.Now.Add(2 * time.Second); o.Now.Before(until) && !m.mem.links[1].over[up]; {
				pass(m, &o, 50*time.Millisecond)
			}
			if !m.mem.links[1].over[up] {
				t.Fatal("no overflow")
			}
			o.Links[1].UpRate, o.Links[1].Loss, o.Links[1].RTT, o.Links[1].UpQueue = tt.lte*1e6, tt.loss, tt.rtt+tt.queue, tt.saysQueue
			p := pass(m, &o, time.Second)
			if p.OverflowUp == tt.goes {
				t.Errorf("overflow %t: %s", p.OverflowUp, p.Links[1].Why)
			}
			if tt.goes && !strings.Contains(p.Links[1].Why, "lte loses") {
				t.Errorf("it is not said: %s", p.Links[1].Why)
			}
		})
	}
}
