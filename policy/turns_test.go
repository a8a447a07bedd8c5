// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"testing"
	"time"
)

// TestTurnsEndBeforeADip: what was too much for the primaries is learnt between two dips, and turns then end at what the link carries until it is
// silent; but not for ever, nor while it carries less than gathers.
func TestTurnsEndBeforeADip(t *testing.T) {
	const ms = time.Millisecond
	var x turns
	x.dry = true
	x.learnExcess(10*time.Second, true)
	if x.nearlyDry(10*time.Second, 30e6) {
		t.Error("a turn ends early though nothing is known")
	}
	x.given, x.dry = 10e6*float64(time.Second), true
	x.learnExcess(10900*ms, false)
	x.learnExcess(11*time.Second, true)
	if x.excess != 10e6 || x.given != 0 || x.dry {
		t.Errorf("learnt %.0f bit/s with %.0f bit/s ns to come, dry %t; want 10000000, 0, false", x.excess, x.given, x.dry)
	}
	gone := x.dryAt + 600*ms // 6 Mbit have gathered
	for _, c := range []struct {
		given, rate float64
		early       int
		want        bool
	}{
		{0, 29e6, 0, false},
		{0, 31e6, 0, true},
		{5e6, 9e6, 0, false}, // it carries less than gathers
		{5e6, 11e6, 0, true},
		{0, 31e6, turnsEarly, false},
	} {
		x.given, x.early = c.given*float64(time.Second), c.early
		if x.nearlyDry(gone, c.rate) != c.want {
			t.Errorf("%.0f bits given at %.0f bit/s, %d turns ended early: want %t", c.given, c.rate, c.early, c.want)
		}
	}
}
