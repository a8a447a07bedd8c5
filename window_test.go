// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"
	"time"
)

func TestWindowWatch(t *testing.T) {
	now := time.Now()
	var w windowWatch
	for i, c := range []struct {
		after   time.Duration
		counter uint64
		lost    uint64
		bad     bool
	}{
		{0, 5000, 0, false},           // of an earlier life
		{windowEvery, 5002, 0, false}, // an accident
		{windowEvery, 5100, 0, false},
		{windowEvery, 5200, 0, false}, // twice
		{windowEvery, 5201, 0, false}, // it stopped
		{windowEvery, 5301, 0, false},
		{windowEvery, 5401, 0, false},
		{windowEvery, 5501, 100, true}, // three times in a row
		{windowEvery, 5501, 0, true},   // that stays known
		{windowEvery, 5601, 0, true},
		{windowEvery, 5701, 0, true},
		{10 * windowEvery, 9000, 0, true}, // nobody looked for a while: when it happened is not known
		{windowEvery, 3, 0, true},         // a counter that begins anew
	} {
		now = now.Add(c.after)
		if lost := w.step(now, c.counter); lost != c.lost || w.bad != c.bad {
			t.Errorf("%d: counter %d: lost %d, bad %v; want %d, %v", i, c.counter, lost, w.bad, c.lost, c.bad)
		}
	}
}
