// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"
	"time"
)

func TestRushEndsOnce(t *testing.T) {
	var r rush
	now := time.Unix(1000, 0)
	ends := 0
	for _, step := range []struct {
		after    time.Duration
		accepted int64
		want     int // ends so far
	}{
		{0, 0, 0},
		{rushRest, rushLeast - 10, 0}, // not many
		{rushRest, rushLeast - 10, 0},
		{rushRest, rushLeast + 100, 0},     // many
		{rushRest / 2, rushLeast + 101, 0}, // not asked yet
		{rushRest, rushLeast + 102, 1},
		{rushRest, rushLeast + 103, 1},
		{time.Hour, rushLeast + 104, 1},
		{rushRest, rushLeast + 104 + rushLeast, 1},
		{rushRest, rushLeast + 104 + 3*rushLeast, 1}, // goes on
		{rushRest, rushLeast + 104 + 3*rushLeast, 2},
	} {
		now = now.Add(step.after)
		if r.over(now, step.accepted) {
			ends++
		}
		if ends != step.want {
			t.Errorf("with %d accepted: %d rushes have ended, want %d", step.accepted, ends, step.want)
		}
	}
}
