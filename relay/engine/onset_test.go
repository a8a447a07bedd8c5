// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"testing"
	"time"
)

// TestOnset: a slow upload is noticed soon and once; what trickles, or goes on as it did, is not.
func TestOnset(t *testing.T) {
	for _, x := range []struct {
		name        string
		every       time.Duration // a packet of 1,448 octets
		first, last time.Duration // bounds of the first notice; 0: there must be none
	}{
		{"1 Mbit/s", 12 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond},
		{"300 kbit/s", 39 * time.Millisecond, 300 * time.Millisecond, 600 * time.Millisecond},
		{"20 kbit/s", 600 * time.Millisecond, 0, 0},
	} {
		var o onset
		var notices []time.Duration
		for at := time.Duration(0); at < time.Minute; at += x.every {
			if o.moved(int64(time.Hour+at), 1448) {
				notices = append(notices, at)
			}
		}
		switch {
		case x.last == 0 && len(notices) > 0:
			t.Errorf("%s: noticed %v", x.name, notices)
		case x.last > 0 && (len(notices) != 1 || notices[0] < x.first || notices[0] > x.last):
			t.Errorf("%s: noticed %v, want once from %v to %v", x.name, notices, x.first, x.last)
		}
	}
	var o onset
	for _, at := range []time.Duration{0, 10 * time.Second} {
		if !o.moved(int64(time.Hour+at), onsetLeast) {
			t.Errorf("16 KiB at %v after a silence are no beginning", at)
		}
	}
}
