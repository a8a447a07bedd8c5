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
		{rushRest, 200, 0}, // not many
		{rushRest, 200, 0},
		{rushRest, 400, 0},     // many
		{rushRest / 2, 401, 0}, // not asked yet
		{rushRest, 402, 1},
		{rushRest, 403, 1},
		{time.Hour, 404, 1},
		{rushRest, 404 + rushLeast, 1},
		{rushRest, 404 + 2*rushLeast, 1}, // goes on
		{rushRest, 404 + 2*rushLeast, 2},
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
