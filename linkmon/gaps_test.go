// SPDX-License-Identifier: Apache-2.0

package linkmon

import (
	"testing"
	"time"
)

// TestGaps: losses towards the home are told by what comes out of order, once a round trip; not by a few packets, nor by subflows that come and go.
func TestGaps(t *testing.T) {
	var h Health
	now := time.Unix(1000, 0)
	link := Link{Usable: true, Carrier: true}
	step := func(samples ...PathSample) Verdict {
		now = now.Add(50 * time.Millisecond)
		return h.Step(now, samples, link)
	}
	x := PathSample{Key: 1, RTT: 300 * time.Millisecond, MinRTT: 300 * time.Millisecond}
	if v := step(x); v.DownLoss != 0 {
		t.Errorf("nothing has come, and %v of it is lost", v.DownLoss)
	}
	x.DataSegs, x.OutOfOrder = 5, 2
	if v := step(x); v.DownLoss != 0 {
		t.Errorf("5 packets tell of a loss of %v", v.DownLoss)
	}
	x.DataSegs += 95
	if v := step(x); v.DownLoss > 0.0015 {
		t.Errorf("one of 100 packets may be chance, and is %v", v.DownLoss)
	}
	lost := func() float64 {
		x.OutOfOrder += 3
		return step(x).DownLoss
	}
	first := lost()
	for range 3 { // all within the round trip
		if v := lost(); v > first {
			t.Errorf("what follows a lost packet counts: %v, %v before", v, first)
		}
	}
	for range 10 {
		step(x)
	}
	if v := lost(); v < 0.008 || v > 0.013 {
		t.Errorf("two of 100 packets, or three with the one of chance: %v", v)
	}
	// Another subflow comes and goes; both sums fall.
	y := PathSample{Key: 2, DataSegs: 1 << 30, OutOfOrder: 7}
	for range 10 {
		step(x)
	}
	step(x, y)
	before := step(x)
	if after := step(x); after.DownLoss > before.DownLoss*1.01 {
		t.Errorf("the end of a subflow is a loss: %v, %v before", after.DownLoss, before.DownLoss)
	}
}
