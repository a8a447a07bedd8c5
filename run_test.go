// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"
	"time"
)

// TestDeafnessOfLongAgo does not lengthen the one of today.
func TestDeafnessOfLongAgo(t *testing.T) {
	wait, pause := deafFirst, time.Duration(0)
	for k, tt := range []struct{ worked, pause time.Duration }{
		{0, time.Second}, {0, 2 * time.Second}, {time.Second, 4 * time.Second}, {0, 8 * time.Second}, {0, 16 * time.Second}, {0, 32 * time.Second},
		{0, time.Minute}, {59 * time.Second, time.Minute}, {time.Minute, time.Second}, {0, 2 * time.Second}, {time.Hour, time.Second},
	} {
		if pause, wait = deafFor(wait, tt.worked); pause != tt.pause {
			t.Errorf("failure %d: %v, want %v", k, pause, tt.pause)
		}
	}
}
