// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"
	"time"
)

// Links that are very unlike. A connection's data arrives in order: what the fast link brings waits for what the slow one still has, and
// when the buffers of the sender are full of it, the fast link stands still. The slow one gives less than that takes.
const (
	// littleShare: a link with less than this share of what the others carry is not worth it.
	littleShare = 0.125
	// The primaries yield when an overflow link is taken, for what they have under way already holds it up, or once the overflow links
	// carry yieldFrom times what they carry alone; and no longer when these carry less for yieldFor, now that they carry all: of a demand
	// that is little more than the primaries' rate, the overflow is little, and the rest would be metered in vain.
	yieldFrom = 2.0
	yieldFor  = time.Second
	// thinSooner: so much sooner such primaries are left for an overflow link. What they carry in a moment of waiting is little beside
	// what it would.
	thinSooner = 8
)

// thin reports whether the primaries are known to carry next to nothing beside overflow link i in direction d.
func (s *step) thin(i, d int) bool {
	if s.cfg.NoGuard || i < 0 {
		return false
	}
	sum := s.leadersCan(d)
	return sum > 0 && sum < littleShare*s.in[i].cap[d]
}

// addsLittle reports whether link i is known to be able to add next to nothing to the primaries in direction d.
func (s *step) addsLittle(i, d int) bool {
	if s.cfg.NoGuard || s.in[i].cap[d] <= 0 {
		return false
	}
	sum := s.leadersCan(d)
	return sum > 0 && s.in[i].cap[d] < littleShare*sum
}

// leadersCan is what the links that serve as primaries can carry together; 0: not known of all.
func (s *step) leadersCan(d int) (sum float64) {
	for i := range s.n {
		if !s.primary[i] {
			continue
		}
		if s.in[i].cap[d] <= 0 {
			return 0
		}
		sum += s.in[i].cap[d]
	}
	return sum
}

// leadersCarry is what they carry.
func (s *step) leadersCarry(d int) (sum float64) {
	for i := range s.n {
		if s.primary[i] {
			sum += s.in[i].rate[d]
		}
	}
	return sum
}

// notWorth is the directions in which an overflow link is not taken since it is known beforehand that it would add too little. What was
// only learnt, in a bad hour maybe, is tried again.
func (s *step) notWorth(i int) (in [2]bool) {
	c := &s.cfg.Links[i]
	in[down] = c.DownBit > 0 && s.addsLittle(i, down)
	in[up] = c.UpBit > 0 && s.addsLittle(i, up)
	return in
}

// leaveOut takes links out of those that carry together (mode bond) when it is known that they add next to nothing to the others.
func (s *step) leaveOut() {
	if s.cfg.Mode != ModeBond {
		return
	}
	for i := range s.n {
		if !s.primary[i] {
			continue
		}
		s.primary[i] = false
		if s.notWorth(i) != [2]bool{true, true} {
			s.primary[i] = true
			continue
		}
		s.hurdle[i] = causeLittle
		if s.first == i {
			s.first = slices.Index(s.primary[:s.n], true)
		}
	}
}

// yielding is whether the primaries yield to the overflow links.
type yielding struct {
	on   bool
	idle span // the overflow links carry less than the primaries alone
}

// yield lets the primaries rest while overflow links carry so much more that the primaries would only hold them up.
func (s *step) yield() {
	m := &s.mem.yield
	if s.cfg.NoGuard {
		*m = yielding{}
		return
	}
	yields, carries := false, false
	for d := range s.mem.dirs {
		theirs, their, ours, alone := s.sides(d)
		switch {
		case alone <= 0:
		case littleShare*max(theirs, their) > alone:
			yields = true
			carries = carries || theirs >= yieldFrom*alone || s.mem.dirs[d].enteredAt == s.clock
		case ours > alone/2:
			// This way the primaries are needed.
			*m = yielding{}
			return
		}
	}
	switch {
	case !yields:
		*m = yielding{}
	case carries:
		m.on, m.idle.on = true, false
	case m.on && m.idle.hold(s.clock, true) >= yieldFor:
		*m = yielding{}
	}
}

// sides compares the overflow links in use with the primaries in direction d: what they carry and can carry. What was learnt of
// the primaries may be too low, so what they have carried counts as well.
func (s *step) sides(d int) (theirs, their, ours, alone float64) {
	for i := range s.n {
		in, l := &s.in[i], &s.mem.links[i]
		switch {
		case l.over[d]:
			theirs += in.rate[d]
			their += in.cap[d]
		case s.primary[i]:
			ours += in.rate[d]
			alone += max(in.cap[d], l.sat[d])
		}
	}
	if can := s.leadersCan(d); d == up && can > 0 {
		// What leaves for a modem whose buffer fills leaves faster than its line carries it: no rate from the home counts beside what is known.
		return theirs, their, ours, can
	}
	alone = max(alone, s.mem.dirs[d].solo)
	if !s.mem.yield.on {
		alone = max(alone, ours)
	}
	return theirs, their, ours, alone
}
