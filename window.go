// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"time"

	"spillway/mptcp"
	"spillway/policy"
)

// A connection that began with data in its SYN may go wrong on Linux (6.18 for one) once two links carry it: the other end takes the
// receive window for larger than it is (kernel.LinkRoute has the cause, and keeps the harm to the first round trips). Where that
// does not help, since a route that is not ours is used, it goes on, as soon as the LAN host reads more slowly than the links bring: what
// is beyond the window is thrown away here, and repeated so late that next to nothing moves. The kernel counts that. From
// then on connections begin without data in the SYN, which is right everywhere and costs a round trip; and the links carry
// apart for a while, which lets the connections that are in trouble recover.

const (
	windowEvery = 500 * time.Millisecond
	// windowLost segments within windowEvery, windowTimes in a row, are no accident.
	windowLost  = 10
	windowTimes = 3
)

// windowWatch is what is remembered of that counter.
type windowWatch struct {
	at    time.Time
	last  uint64
	known bool
	times int  // in a row that windowLost were lost
	bad   bool // it was seen: no more data in SYNs

	counters mptcp.Counters
}

// step takes the counter and returns how many segments were lost since the last time, 0 for what is no loss.
func (w *windowWatch) step(now time.Time, counter uint64) uint64 {
	lost := counter - w.last
	usable := w.known && counter >= w.last && now.Sub(w.at) < 4*windowEvery
	w.at, w.last, w.known = now, counter, true
	if !usable || lost < windowLost {
		w.times = 0
		return 0
	}
	if w.times++; w.times < windowTimes {
		return 0
	}
	w.bad = true
	return lost
}

// watchWindow looks at the counter while several links carry.
func (h *house) watchWindow(now time.Time) {
	carrying := 0
	for i := range h.plan.Links {
		if h.plan.Links[i].Role >= policy.Active {
			carrying++
		}
	}
	if carrying < 2 || now.Sub(h.window.at) < windowEvery {
		return
	}
	if err := h.window.counters.Read(); err != nil {
		return
	}
	before := h.window.bad
	lost := h.window.step(now, h.window.counters.Get("NoDSSInWindow"))
	if lost == 0 {
		return
	}
	if !before {
		h.log.Warn("bonded connections that began with data in the SYN lose data on this kernel or the concentrator's; from now on connections begin without", "segments", lost)
	}
	for i := range h.plan.Links {
		if i != h.plan.First && h.plan.Links[i].Role >= policy.Active {
			h.machine.Suspend(i, fmt.Sprintf("the kernel threw %d segments of bonded connections away, beyond its window", lost))
		}
	}
}
