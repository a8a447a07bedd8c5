// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"
	"time"

	"spillway/linkmon"
)

// TestTiming: one peak means nothing, two do; what is old counts no more.
func TestTiming(t *testing.T) {
	now := time.Unix(1e9, 0)
	var x timing
	if got := x.rtt(now); got != 0 {
		t.Errorf("never asked: %v", got)
	}
	for i, step := range []struct {
		after      time.Duration
		took, want time.Duration
	}{
		{0, 30 * time.Millisecond, 30 * time.Millisecond},
		{timeEvery, 400 * time.Millisecond, 30 * time.Millisecond},
		{timeEvery, 420 * time.Millisecond, 400 * time.Millisecond},
		{timeEvery, 35 * time.Millisecond, 35 * time.Millisecond},
		{timeKept, 90 * time.Millisecond, 90 * time.Millisecond},
	} {
		now = now.Add(step.after)
		x.note(now, step.took)
		if got := x.rtt(now); got != step.want {
			t.Errorf("answer %d: %v, want %v", i, got, step.want)
		}
	}
	if got := x.rtt(now.Add(timeKept)); got != 0 {
		t.Errorf("%v later: %v", timeKept, got)
	}
}

// TestTimedLinkIsObserved: the answer stands for what no subflow tells, and before what one does.
func TestTimedLinkIsObserved(t *testing.T) {
	now := time.Unix(1e9, 0)
	senses := make([]sense, 2)
	senses[0].verdict.RTT = 20 * time.Millisecond
	snap := linkmon.Snapshot{Links: make([]linkmon.Link, 2)}
	rtts := func() [2]time.Duration {
		o := observe(now, 1, &snap, senses)
		return [2]time.Duration{o.Links[0].RTT, o.Links[1].RTT}
	}
	if got := rtts(); got != [2]time.Duration{20 * time.Millisecond, 0} {
		t.Errorf("without answers %v", got)
	}
	senses[0].timing.note(now, 200*time.Millisecond)
	senses[1].timing.note(now, 70*time.Millisecond)
	if got := rtts(); got != [2]time.Duration{200 * time.Millisecond, 70 * time.Millisecond} {
		t.Errorf("with answers %v", got)
	}
}
