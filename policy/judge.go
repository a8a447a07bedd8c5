// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"math"
	"time"
)

// A link's rank is its tier by role, plus demoted if it exceeds a limit, plus held if it has only just returned. The links with the
// smallest rank carry; so a link that is held back is still used when there is no better one.
const (
	demoted = 3
	held    = 6
	noRank  = 100
)

// Dampening: each fall of a link adds 1 to its penalty, which halves each penaltyHalf; a return waits HoldUp times 2 to the power
// of penalty - 1. A line that flaps once a second is held for 160 s after its last fall at worst, less as the penalty fades.
const (
	penaltyHalf = time.Minute
	penaltyMax  = 5
)

// beginning is how long a link may take to come after the first observation, as one that was there: a port negotiates for some seconds.
const beginning = 5 * time.Second

// How long a link must be too slow or too lossy before it counts: RFC 8157 asks for several measurements in a row.
const (
	slowFor = 2 * time.Second
	lostFor = 5 * time.Second
)

// judge decides whether link i works, is trusted and within its limits, and ranks it.
func (s *step) judge(i int) {
	l, in := &s.mem.links[i], &s.in[i]
	s.role[i], _ = s.Role(i)
	s.dampen(i)
	s.rank[i] = noRank
	switch {
	case s.role[i] == RoleOff:
		s.hurdle[i] = causeRole
		return
	case in.dead:
		s.hurdle[i] = causeDead
		return
	case !in.usable:
		s.hurdle[i] = causeUnusable
		return
	case l.limit == causeQuota:
		s.hurdle[i] = causeQuota
		return
	case s.cfg.Mode == ModePrimaryOnly && s.role[i] != RolePrimary:
		s.hurdle[i] = causeMode
		return
	}
	s.watchLoss(i) // ranks as well: what follows must not demote the link twice
	s.rank[i] = s.tier(i)
	if l.suspension.until > s.clock {
		s.rank[i] += demoted
		s.hurdle[i] = causeSuspended
	} else if l.limit != causeNone {
		s.rank[i] += demoted
		s.hurdle[i] = l.limit
	}
	if !l.trusted {
		s.rank[i] += held
		s.hurdle[i] = causeHeld
	}
}

// leaveAstray takes links by which no concentrator can be reached for unusable, while another works by which one can: connections would start,
// and stay, where none gets through. The only link that works is kept, for what is forwarded natively.
func (s *step) leaveAstray(o *Observation) {
	n, leads := min(s.n, len(o.Links)), false
	for i := range n {
		role, _ := s.Role(i)
		leads = leads || s.in[i].usable && o.Links[i].Astray == "" && role != RoleOff && s.mem.links[i].limit != causeQuota &&
			(s.cfg.Mode != ModePrimaryOnly || role == RolePrimary)
	}
	for i := range n {
		if why := o.Links[i].Astray; leads && why != "" && s.in[i].usable {
			s.in[i].usable, s.in[i].reason = false, why
		}
	}
}

// tier is the place of a link by its role: 0 carries first. Modes that use all links alike make overflow links primaries.
func (s *step) tier(i int) int { return s.tierOf(s.role[i]) }

// tierOf is the place of a role.
func (s *step) tierOf(r Role) int {
	if r == RoleOverflow && (s.cfg.Mode == ModeBond || s.cfg.Mode == ModeSmallestDelay) {
		return int(RolePrimary)
	}
	return int(r)
}

// dampen notes falls and returns of link i, and trusts it when it has stayed up long enough. Links that are up at the first
// observation are trusted: a restart of the daemon is no event of the line. So are those that come soon after (beginning): they do
// not return, the daemon only looked before the port had its carrier.
func (s *step) dampen(i int) {
	l, in := &s.mem.links[i], &s.in[i]
	switch {
	case !s.mem.begun:
		l.trusted, l.upAt = in.usable, s.clock
	case l.usable && !in.usable:
		l.penalty = min(s.penalty(i)+1, penaltyMax)
		l.penaltyAt = s.clock
		l.trusted = false
	case !l.usable && in.usable:
		l.upAt = s.clock
		l.trusted = l.trusted || l.penalty == 0 && s.clock < beginning
	}
	l.usable = in.usable
	if in.usable && !l.trusted && s.clock-l.upAt >= s.wait(i) {
		l.trusted = true
	}
}

// penalty is what is left now of the falls of link i.
func (s *step) penalty(i int) float64 {
	l := &s.mem.links[i]
	if l.penalty == 0 {
		return 0
	}
	return l.penalty * math.Exp2(-float64(s.clock-l.penaltyAt)/float64(penaltyHalf))
}

// wait is how long link i must stay up now to be trusted.
func (s *step) wait(i int) time.Duration {
	return time.Duration(float64(s.cfg.HoldUp) * math.Exp2(max(s.penalty(i)-1, 0)))
}

// fullShare is the share of a capacity from which losses are the queue's: more was sent than the line carries.
const fullShare = 0.6

// watchLoss suspends a link that loses too much to be of use to the others. A few packets prove nothing, and neither does
// what a full line drops.
func (s *step) watchLoss(i int) {
	l, in := &s.mem.links[i], &s.in[i]
	traffic := max(in.rate[down], in.rate[up]) >= trickle
	full := in.queue[up] || in.cap[up] > 0 && in.rate[up] >= fullShare*in.cap[up]
	lossy := in.loss > s.cfg.MaxLoss && l.state >= Active && traffic && !full
	if l.lost.hold(s.clock, lossy) >= lostFor && l.suspension.until <= s.clock {
		s.suspend(i, "%s loses %.0f %% of its packets", s.cfg.Links[i].Name, in.loss*100)
	}
}
