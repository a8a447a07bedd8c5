// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"
	"time"
)

// TestUnheededFlags: MP_PRIO is told again where it had no effect, a few times, and nowhere else.
func TestUnheededFlags(t *testing.T) {
	const little, much = quietBit / 2, 2 * quietBit
	for _, c := range []struct {
		what  string
		wants []endpointWant
		rate  float64
		waits bool
		again bool
	}{
		{"silent, and is", []endpointWant{endpointBackup}, little, true, false},
		{"silent, and carries", []endpointWant{endpointBackup}, much, false, true},
		{"carries again, and does", []endpointWant{endpointBackup, endpointActive}, much, true, false},
		{"carries again, and does not", []endpointWant{endpointBackup, endpointActive}, little, true, true},
		{"carries again, but there is nothing to carry", []endpointWant{endpointBackup, endpointActive}, little, false, false},
		{"carries from the beginning", []endpointWant{endpointNone, endpointActive}, little, true, false},
		{"is removed", []endpointWant{endpointBackup, endpointNone}, much, true, false},
	} {
		now := time.Now()
		r := repeat{want: endpointNone}
		for _, w := range c.wants {
			now = now.Add(time.Minute)
			r.change(now, w)
		}
		if r.unheeded(now, c.rate, c.waits) {
			t.Errorf("%s: told again at once", c.what)
		}
		times := 0
		for range 10 {
			now = now.Add(repeatAfter)
			if r.unheeded(now, c.rate, c.waits) {
				r.at, r.tries, times = now, r.tries+1, times+1
			}
		}
		if want := map[bool]int{true: repeatMost}[c.again]; times != want {
			t.Errorf("%s: told again %d times, want %d", c.what, times, want)
		}
	}
}
