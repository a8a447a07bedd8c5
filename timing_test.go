// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"
	"time"

	"spillway/linkmon"
)

// TestTiming: one peak means nothing, two do; without answers nothing is known.
func TestTiming(t *testing.T) {
	const ms = time.Millisecond
	var x timing
	for i, step := range []struct{ took, asked, answered time.Duration }{ // rtt once asked, once answered
		{30 * ms, 0, 30 * ms},
		{400 * ms, 30 * ms, 30 * ms},
		{420 * ms, 400 * ms, 400 * ms},
		{35 * ms, 420 * ms, 35 * ms},
		{0, 35 * ms, 35 * ms},
		{0, 0, 0},
	} {
		x.took = [2]time.Duration{0, x.took[0]}
		if got := x.rtt(0); got != step.asked {
			t.Errorf("question %d: %v, want %v", i, got, step.asked)
		}
		x.took[0] = step.took
		if got := x.rtt(0); got != step.answered {
			t.Errorf("answer %d: %v, want %v", i, got, step.answered)
		}
	}
}

// TestTimedLinkIsObserved: the answer stands for what no subflow tells, and before what one does.
func TestTimedLinkIsObserved(t *testing.T) {
	const ms = time.Millisecond
	senses := make([]sense, 2)
	senses[0].verdict.RTT = 20 * ms
	snap := linkmon.Snapshot{Links: make([]linkmon.Link, 2)}
	rtts := func() [2]time.Duration {
		o := observe(time.Unix(1e9, 0), 1, &snap, senses)
		return [2]time.Duration{o.Links[0].RTT, o.Links[1].RTT}
	}
	if got := rtts(); got != [2]time.Duration{20 * ms, 0} {
		t.Errorf("without answers %v", got)
	}
	senses[0].timing.took[0], senses[1].timing.took[0] = 200*ms, 70*ms
	if got := rtts(); got != [2]time.Duration{200 * ms, 70 * ms} {
		t.Errorf("with answers %v", got)
	}
}

// TestWhatIsNotTheLinksIsObserved: a quota is charged without what the device has carried before.
func TestWhatIsNotTheLinksIsObserved(t *testing.T) {
	snap := linkmon.Snapshot{Links: []linkmon.Link{{Index: 3, RxBytes: 70, TxBytes: 30, Before: 60}, {Index: 4}}}
	o := observe(time.Unix(1e9, 0), 1, &snap, make([]sense, 2))
	if l := o.Links[0]; l.UsedBytes != 100 || l.UsedBefore != 60 || l.UsedEpoch == o.Links[1].UsedEpoch {
		t.Errorf("observed %+v", l)
	}
}
