// SPDX-License-Identifier: Apache-2.0

package linkmon

import (
	"testing"
	"time"
)

func TestOneOrTwoLossesDoNotSuppress(t *testing.T) {
	var d Damp
	d.Lost(start)
	d.Lost(start.Add(time.Second))
	if yes, _ := d.Suppressed(start.Add(time.Second)); yes {
		t.Errorf("suppressed at a penalty of %.0f", d.penalty)
	}
}

func TestFlappingOnceASecondForAMinuteReturnsOnce(t *testing.T) {
	var d Damp
	returns, was := 0, false
	for i := range 300 {
		now := start.Add(time.Duration(i) * time.Second)
		if i < 60 {
			d.Lost(now)
		}
		yes, wait := d.Suppressed(now)
		if was && !yes {
			returns++
			if i < 60 {
				t.Errorf("relied on again at %d s, while it still flaps", i)
			}
		}
		if yes && (wait <= 0 || wait > 91*time.Second) {
			t.Errorf("at %d s: suppressed for %v", i, wait)
		}
		was = yes
	}
	if returns != 1 {
		t.Errorf("returned %d times, want once", returns)
	}
}

func TestRareLossesAreForgiven(t *testing.T) {
	var d Damp
	for i := range 100 {
		now := start.Add(time.Duration(i) * 2 * time.Minute)
		d.Lost(now)
		if yes, _ := d.Suppressed(now); yes {
			t.Fatalf("suppressed by loss %d, two minutes after the one before", i)
		}
	}
}

func TestTheWaitIsExact(t *testing.T) {
	var d Damp
	for range 4 {
		d.Lost(start)
	}
	yes, wait := d.Suppressed(start)
	if !yes {
		t.Fatal("four losses at once do not suppress")
	}
	if yes, _ := d.Suppressed(start.Add(wait - time.Second)); !yes {
		t.Error("reused before its time")
	}
	if yes, more := d.Suppressed(start.Add(wait)); yes {
		t.Errorf("still suppressed for %v after the wait that was told", more)
	}
}

func TestClockThatGoesBackDecaysNothing(t *testing.T) {
	var d Damp
	d.Lost(start)
	d.Suppressed(start.Add(-time.Hour))
	if d.penalty != dampLoss {
		t.Errorf("penalty %.0f", d.penalty)
	}
}
