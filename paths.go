// SPDX-License-Identifier: Apache-2.0

package main

import (
	"time"

	"spillway/policy"
)

// What each link's MPTCP endpoint shall be. The endpoint is what puts a subflow of every connection on a link, and what
// takes it away.

// want of one link's endpoint.
type endpointWant uint8

const (
	endpointNone   endpointWant = iota // no subflow
	endpointBackup                     // a silent subflow
	endpointActive                     // a subflow that carries
)

// pathState is one link's memory in paths.
type pathState struct {
	want   endpointWant
	active time.Time // since when want is endpointActive
	gone   time.Time // since when the plan wants no subflow here; zero: it wants one
}

const (
	// joinTime is how long a link that has just begun to carry is given to join the live connections before a dead one's subflows are
	// removed. Removal tells the peer by the remaining subflows: without any, nobody would hear it. An event ends the wait sooner.
	joinTime = 250 * time.Millisecond
	// lonelyMost bounds how long a dead link's subflows are kept for connections that have no other one yet: without any the
	// connection may never get another.
	lonelyMost = time.Second
	// leaveMost bounds how long a link that is not wanted any more waits for connections that have no other subflow. One whose
	// volume costs nothing waits for their end: the worst line is better for them than none.
	leaveMost = 30 * time.Second
)

// pathView is what stepPaths needs to know of one link now.
type pathView struct {
	plan   policy.State
	dead   bool // not usable, or a blackhole
	lonely int  // live MPTCP connections whose only established subflow is here
	stale  bool // lonely was counted before the plan gave the link up: it says nothing of joins that failed since
	plain  int  // of these, such as fell back to plain TCP: they never get another
	joined bool // a subflow joined on this link since it began to carry
	free   bool // volume costs nothing here, and the owner has not switched the link off
	spare  bool // may have a silent subflow when one helps
	yields bool // a primary that rests: what is on its way there holds up the others
}

// stepPaths brings the endpoints after the plan: additions at once, removals when nobody is harmed. Make before break.
func stepPaths(now time.Time, states []pathState, views []pathView) {
	carrying := false // some link carries, and its subflows have joined or had the time to
	carried := time.Duration(0)
	for i := range states {
		s, v := &states[i], &views[i]
		if v.plan == policy.Off || v.yields {
			if s.gone.IsZero() {
				s.gone = now
			}
			continue
		}
		s.gone = time.Time{}
		switch {
		case v.plan >= policy.Active && s.want == endpointActive:
		case v.plan >= policy.Active:
			if s.want == endpointBackup {
				// The subflows are there already: only their flag changes.
				s.active = now.Add(-joinTime)
			} else {
				s.active = now
			}
			s.want = endpointActive
		default:
			s.want = endpointBackup
		}
		if s.want == endpointActive && !v.dead && (v.joined || now.Sub(s.active) >= joinTime) {
			carrying = true
			carried = max(carried, now.Sub(s.active))
		}
	}
	for i := range states {
		s, v := &states[i], &views[i]
		if s.gone.IsZero() || s.want == endpointNone {
			continue
		}
		switch {
		case v.dead && carrying && s.want == endpointBackup && v.free && v.lonely > 0:
			// It had been left before it went silent, so that the others have nothing to fear of it. It may not be for long: such a
			// line loses most of its packets, and those who have no other have had their share of waiting.
		case v.dead && carrying && (v.lonely <= v.plain || carried >= lonelyMost):
			s.want = endpointNone
		case v.dead:
			// Nothing else carries: the connections wait here for whatever returns first.
		case v.lonely == 0 && !v.stale || now.Sub(s.gone) >= leaveMost && !((v.free || v.yields) && v.lonely > 0):
			s.want = endpointNone
		default:
			s.want = endpointBackup
		}
	}
}

// waiting tells whether stepPaths must be asked again soon though nothing else changes: not for what waits longer than leaveMost, unless
// another link has just begun to carry.
func waiting(now time.Time, states []pathState) bool {
	waits, begins := false, false
	for i := range states {
		s := &states[i]
		if !s.gone.IsZero() && s.want != endpointNone {
			waits, begins = true, begins || now.Sub(s.gone) <= leaveMost
		}
		begins = begins || s.want == endpointActive && now.Sub(s.active) <= 2*lonelyMost
	}
	return waits && begins
}
