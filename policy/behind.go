// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"math"
	"time"
)

// A link that brings little and holds up the rest. While the others can send on beside it nothing is lost yet that guardOverflow could
// count, but hosts get nothing, and then a burst; and soon the sender may hold no more. What hosts are given tells of it.
const (
	// behindMost: so much of what the primaries carry alone waits for what the overflow link still has.
	behindMost = 250 * time.Millisecond
	behindFade = 2 * time.Second // two measures that differ a little must not add up for ever
	// An overflow link has brought little when its mean is less than littleShare of what the primaries carry alone. It has time to
	// begin: a sender needs eight round trips from its first packets to what a line of 20 Mbit/s carries over 0.3 s.
	littleMean  = 200 * time.Millisecond // and a round trip
	littleAfter = 250 * time.Millisecond
	littleTrips = 8
)

// behind is what is remembered of it towards the home, the only direction where it is known what arrives.
type behind struct {
	share float64       // of what the primaries carried when the overflow began, hosts were given so much; 0: unknown
	bits  float64       // that arrived and that hosts were not given
	mean  float64       // of what the overflow link carries, bit/s
	at    time.Duration // brought up to date
}

// beginBehind notes how much of what arrives hosts are given while one link alone carries. Where most is not relayed nothing can be told.
func (s *step) beginBehind(u *use) behind {
	b := behind{at: s.clock}
	if share := s.delivered / u.primaries; share > 0.5 && share < 1.1 {
		b.share = share
	}
	return b
}

// guardBehind suspends an overflow link that brings little and holds up the rest. It reports whether it did.
func (s *step) guardBehind(d int, u *use) bool {
	dm := &s.mem.dirs[d]
	b := &dm.behind
	dt := s.clock - b.at
	b.at = s.clock
	if s.cfg.NoGuard || d != down || b.share == 0 || u.overflowLinks != 1 || dt > longStep {
		return false
	}
	in := &s.in[u.last]
	b.bits = max(0, b.bits*math.Exp(-float64(dt)/float64(behindFade))+(b.share*u.total-s.delivered)*dt.Seconds())
	if !dm.turns.resting {
		b.mean += (in.rate[d] - b.mean) * (1 - math.Exp(-float64(dt)/float64(littleMean+in.atRest())))
	}
	brings := max(b.mean, in.rate[d])
	if s.clock-dm.enteredAt < littleAfter+littleTrips*in.atRest() || brings >= littleShare*dm.solo || b.bits < behindMost.Seconds()*dm.solo {
		return false
	}
	s.suspend(u.last, "%s holds up %s and brings only %s %s", s.cfg.Links[u.last].Name, s.leaders(), rate(brings), direction(d))
	s.mem.links[u.last].suspension.cut = true
	return true
}
