// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"strings"
	"testing"
	"time"
)

// TestLittleIsNotTaken: an eighth of what the primaries carry is the least that an overflow link must be able to add, where both are
// configured; what was learnt may be too low and decides nothing.
func TestLittleIsNotTaken(t *testing.T) {
	for _, tt := range []struct {
		name       string
		lte        float64 // Mbit/s
		configured bool
		unguarded  bool
		taken      bool
	}{
		{"a tenth", 2, true, false, false},
		{"a quarter", 5, true, false, true},
		{"a tenth, learnt", 2, false, false, true},
		{"a tenth, without the guard", 2, true, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, o := household()
			c.NoGuard = tt.unguarded
			c.Links[1].DownBit, c.Links[1].UpBit = 0, 0
			o.Links[1].DownCap = tt.lte * 1e6
			if tt.configured {
				c.Links[1].DownBit = tt.lte * 1e6
			}
			m := New(c)
			o.Links[0].DownRate, o.Links[0].DownQueue = 20e6, true
			p := pass(m, &o, 2*time.Second)
			if p.OverflowDown != tt.taken {
				t.Errorf("overflow %t: %s", p.OverflowDown, p.Links[1].Why)
			}
			if !tt.taken && !strings.Contains(p.Links[1].Why, "it would add 2.0 Mbit/s to 20.0 Mbit/s down") {
				t.Errorf("it is not said: %s", p.Links[1].Why)
			}
			if !tt.taken && !p.Links[1].Available {
				t.Error("it is not available to a rule that asks for it")
			}
		})
	}
}

// TestLittleServesAlone: it is taken when nothing else works.
func TestLittleServesAlone(t *testing.T) {
	c, o := household()
	c.Links[1].DownBit, c.Links[1].UpBit = 1e6, 0.5e6
	m := New(c)
	pass(m, &o, time.Second)
	o.Links[0].Usable = false
	if p := m.Step(o); p.First != 1 {
		t.Errorf("first is %d: %s", p.First, p.Why)
	}
}

// TestPrimaryYields: a primary that is an eighth of the overflow link or less rests as soon as that is taken and while it carries, and not when
// uploads need it.
func TestPrimaryYields(t *testing.T) {
	slow := func() (*Machine, Observation) {
		c, o := household()
		c.Links[0].DownBit, c.Links[0].UpBit = 2e6, 5e6
		m := New(c)
		o.Links[0].DownRate, o.Links[0].DownQueue = 2e6, true
		for until := o.Now.Add(time.Second); ; {
			p := pass(m, &o, 50*time.Millisecond)
			if p.Links[0].Resting != p.OverflowDown {
				t.Fatalf("overflow %t, DSL rests %t", p.OverflowDown, p.Links[0].Resting)
			}
			if p.OverflowDown {
				break
			}
			if !o.Now.Before(until) {
				t.Fatal("no overflow")
			}
		}
		o.Links[1].DownRate = 30e6
		return m, o
	}
	m, o := slow()
	p := m.Step(o)
	if !p.Links[0].Resting || p.Links[0].Role != First || !strings.Contains(p.Links[0].Why, "it rests while") {
		t.Fatalf("DSL carries on: %+v", p.Links[0])
	}
	o.Links[0].DownRate, o.Links[0].DownQueue = 0, false
	if p = pass(m, &o, 20*time.Second); !p.Links[0].Resting || p.Links[1].Resting {
		t.Errorf("a while later DSL rests %t, LTE %t", p.Links[0].Resting, p.Links[1].Resting)
	}
	o.Links[1].DownRate = 1e6
	if p = pass(m, &o, 1500*time.Millisecond); p.Links[0].Resting {
		t.Error("LTE carries less than DSL could, and DSL rests on")
	}

	m, o = slow()
	o.Links[1].DownRate = 0
	if p = pass(m, &o, 1500*time.Millisecond); p.Links[0].Resting {
		t.Error("LTE was taken and carries nothing, and DSL rests")
	}

	m, o = slow()
	o.Links[0].UpRate = 4e6
	if p = m.Step(o); p.Links[0].Resting {
		t.Error("uploads need DSL, and it rests")
	}

	m, o = slow()
	m.Step(o)
	o.Links[1].Dead = true
	if p = m.Step(o); p.Links[0].Resting {
		t.Error("LTE is dead, and DSL rests")
	}
}

// TestPrimaryYieldsToUploads: a modem's buffer takes an upload's first octets faster than its line carries them, which is not what the line carries.
func TestPrimaryYieldsToUploads(t *testing.T) {
	c, o := household()
	c.Links[0].UpBit, c.Links[1].UpBit = 2e6, 20e6
	m := New(c)
	o.Links[0].UpRate, o.Links[0].UpQueue = 3.6e6, true
	for range 100 {
		if p := pass(m, &o, 50*time.Millisecond); p.OverflowUp {
			if !p.Links[0].Resting {
				t.Errorf("DSL, which carries 2, does not rest beside LTE, which carries 20: %s", p.Links[0].Why)
			}
			return
		}
	}
	t.Error("no overflow")
}

// TestTheGuardLeavesBeWhatPrimariesYieldTo: neither a moment in which LTE brings nothing, nor a demand that has become little while an old queue seems to
// stand at LTE, counts against it while DSL yields.
func TestTheGuardLeavesBeWhatPrimariesYieldTo(t *testing.T) {
	c, o := household()
	c.Links[0].DownBit = 2e6
	m := New(c)
	o.Links[0].DownRate, o.Links[0].DownQueue, o.Delivered = 2e6, true, 1.9e6
	untilOverflow(m, &o)
	for range 5 {
		o.Links[0].DownRate, o.Links[0].DownQueue, o.Links[1].DownRate, o.Links[1].DownQueue, o.Delivered = 0, false, 38e6, true, 36e6
		pass(m, &o, 5*time.Second)
		o.Links[1].DownRate, o.Delivered = 0.05e6, 0
		pass(m, &o, 500*time.Millisecond)
	}
	o.Links[1].DownRate, o.Delivered = 0.5e6, 0.47e6
	pass(m, &o, 400*time.Millisecond)
	o.Links[1].DownQueue = false
	p := pass(m, &o, 5*time.Second)
	if why := m.mem.links[1].suspension.why; why != "" || p.OverflowDown {
		t.Errorf("suspended: %q; overflow %t", why, p.OverflowDown)
	}
}
