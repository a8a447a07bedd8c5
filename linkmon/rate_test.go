// SPDX-License-Identifier: Apache-2.0

package linkmon

import (
	"math"
	"testing"
	"testing/quick"
	"time"
)

// near tells whether got is within a share of want.
func near(got, want, share float64) bool { return math.Abs(got-want) <= share*math.Abs(want) }

func TestRateOfASteadyStream(t *testing.T) {
	for _, step := range []time.Duration{10 * time.Millisecond, 50 * time.Millisecond, time.Second} {
		var r Rate
		var octets uint64
		at := start
		for ; at.Sub(start) < 10*time.Second; at = at.Add(step) {
			r.Add(at, octets)
			octets += uint64(20e6 / 8 * step.Seconds())
		}
		if !near(r.Bit, 20e6, 0.01) || !near(r.Peak, 20e6, 0.01) {
			t.Errorf("read each %v: %.0f bit/s, peak %.0f, want 20e6", step, r.Bit, r.Peak)
		}
	}
}

func TestRateFollowsWithinItsWindow(t *testing.T) {
	var r Rate
	at, octets := start, uint64(0)
	run := func(d time.Duration, bit float64) {
		for end := at.Add(d); at.Before(end); {
			at = at.Add(25 * time.Millisecond)
			octets += uint64(bit / 8 * 0.025)
			r.Add(at, octets)
		}
	}
	r.Add(at, 0)
	run(time.Second, 0)
	run(rateWindow/2, 10e6)
	if !near(r.Bit, 5e6, 0.05) {
		t.Errorf("after half the window: %.0f", r.Bit)
	}
	run(rateWindow/2, 10e6)
	if !near(r.Bit, 10e6, 0.05) {
		t.Errorf("after the window: %.0f", r.Bit)
	}
	run(5*time.Second, 10e6)
	run(2*time.Second, 0)
	if r.Bit > 0.03*10e6 {
		t.Errorf("two seconds after the end: %.0f bit/s", r.Bit)
	}
	if r.Peak < 0.8*10e6 {
		t.Errorf("the peak is forgotten after two seconds: %.0f", r.Peak)
	}
	run(10*time.Minute, 0)
	if r.Bit != 0 || r.Peak != 0 {
		t.Errorf("an idle link does not come to rest: %g, peak %g", r.Bit, r.Peak)
	}
}

// TestRateAfterARest: the rest does not count for longer than rateSoon, though the reading before is seconds old.
func TestRateAfterARest(t *testing.T) {
	var r Rate
	at, octets := start, uint64(0)
	r.Add(at, 0)
	at = at.Add(2 * time.Second)
	r.Add(at, 0) // the first packets make somebody read
	for d := time.Duration(0); d < rateSoon; d += 50 * time.Millisecond {
		at = at.Add(50 * time.Millisecond)
		octets += uint64(10e6 / 8 * 0.05)
		r.Add(at, octets)
	}
	if !near(r.Bit, 10e6, 0.01) {
		t.Errorf("%v after a rest: %.0f bit/s, want 10e6", rateSoon, r.Bit)
	}
}

func TestCounterThatWrapsOrBeginsAnew(t *testing.T) {
	for _, c := range []struct {
		name string
		a, b uint64
		want uint64
	}{
		{"grows", 1000, 3500, 2500},
		{"stands", 7, 7, 0},
		{"wraps at 2^32", 1<<32 - 500, 500, 1000},
		{"begins anew", 1 << 40, 500, 0},
		{"begins anew below 2^32", 1 << 31, 500, 0},
		{"begins anew from the top quarter, far on", 1<<32 - 500, 1 << 31, 0},
		{"crosses 2^32 as 64 bits", 1<<32 - 500, 1<<32 + 500, 1000},
	} {
		if got := grown(c.a, c.b); got != c.want {
			t.Errorf("%s: grown(%d, %d) = %d, want %d", c.name, c.a, c.b, got, c.want)
		}
	}
}

func TestReplacedDeviceMakesNoRate(t *testing.T) {
	var r Rate
	r.Add(start, 100)
	r.Restart()
	r.Add(start.Add(time.Second), 1<<50)
	r.Add(start.Add(2*time.Second), 1<<50)
	if r.Bit != 0 || r.Peak != 0 {
		t.Errorf("the new device's counter is taken for traffic: %.0f bit/s", r.Bit)
	}
}

func TestRateBearsAnyInput(t *testing.T) {
	err := quick.Check(func(steps []int16, counters []uint64) bool {
		var r Rate
		at := start
		for i, s := range steps {
			if i == len(counters) {
				break
			}
			at = at.Add(time.Duration(s) * time.Millisecond)
			r.Add(at, counters[i])
			if !(r.Bit >= 0) || !(r.Peak >= 0) || math.IsInf(r.Bit, 0) {
				return false
			}
		}
		return true
	}, nil)
	if err != nil {
		t.Error(err)
	}
}

func TestCadenceFollowsTheLoad(t *testing.T) {
	cfg := []LinkConfig{{Name: "dsl", DownBit: 50e6, UpBit: 10e6}, {Name: "lte"}}
	for _, c := range []struct {
		down, up, lte float64
		want          time.Duration
	}{
		{0, 0, 0, tickIdle},
		{100e3, 10e3, 0, tickIdle},
		{1e6, 10e3, 0, tickSome},
		{15e6, 300e3, 0, tickBusy},
		{1e6, 3e6, 0, tickBusy},
		{0, 0, 2e6, tickBusy},
		{0, 0, 60e3, tickSome},
	} {
		links := []Link{{Name: "dsl", DownRate: c.down, UpRate: c.up}, {Name: "lte", DownRate: c.lte}}
		if got := cadence(cfg, links); got != c.want {
			t.Errorf("down %.0f, up %.0f, lte %.0f: each %v, want %v", c.down, c.up, c.lte, got, c.want)
		}
	}
}

func TestBeatsFallTogether(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for ms := range 4000 {
		now := start.Add(time.Duration(ms) * time.Millisecond)
		wait := Beat(now, 2*time.Second)
		if end := now.Add(wait); !end.Equal(end.Truncate(2*time.Second)) || wait < time.Second || wait > 3*time.Second {
			t.Fatalf("at %v: waits %v, until %v", now, wait, end)
		}
	}
	if Beat(start.Add(7), tickBusy) != tickBusy {
		t.Error("a short wait was changed")
	}
}
