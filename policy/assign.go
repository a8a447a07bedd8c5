// SPDX-License-Identifier: Apache-2.0

package policy

import "time"

// Standby "busy": a link in use that carries this much keeps the others standing by, and for a while after.
const (
	busyRate = 100e3 // bit/s
	busyFor  = 30 * time.Second
)

// assign gives each link its state and the cause of it.
func (s *step) assign() {
	s.watchBusy()
	for i := range s.n {
		s.state[i], s.cause[i] = s.assignLink(i)
	}
}

// assignLink gives link i its state.
func (s *step) assignLink(i int) (State, cause) {
	l := &s.mem.links[i]
	switch {
	case s.rank[i] >= noRank:
		l.drainUntil = 0 // nothing to drain: it does not work, or must not carry an octet more
		return Off, s.hurdle[i]
	case i == s.first:
		l.drainUntil = 0
		return First, s.leadCause(i)
	case s.primary[i]:
		l.drainUntil = 0
		return Active, s.leadCause(i)
	case l.over[down] || l.over[up]:
		l.drainUntil = 0
		switch {
		case !l.over[up]:
			return Active, causeFullDown
		case !l.over[down]:
			return Active, causeFullUp
		}
		return Active, causeFullBoth
	}
	cause := s.hurdle[i]
	switch {
	case cause == causeSuspended && (l.state >= Active && l.suspension.cut || l.state == Standby && s.starved(i)):
		l.drainUntil = 0 // the others repeat at once what is on its way here
	case l.state >= Active, s.silent(i):
		l.drainUntil = s.clock + s.cfg.Drain
	}
	standby := s.rank[i] < demoted && (s.cfg.Standby == StandbyOn || s.cfg.Standby == StandbyBusy && s.clock < s.mem.busyUntil)
	switch {
	case standby && cause == causeNone:
		return Standby, causeReady
	case l.drainUntil > s.clock && cause == causeNone:
		return Standby, causeDrain
	case l.drainUntil > s.clock:
		return Standby, cause
	case cause == causeNone && s.cfg.Mode == ModeOverflow && s.candidate(i) && s.notWorth(i) != [2]bool{}:
		return Off, causeLittle
	case cause == causeNone:
		return Off, causeRest
	}
	return Off, cause
}

// leadCause is why link i serves as a primary.
func (s *step) leadCause(i int) cause {
	if s.rank[i] == int(RolePrimary) {
		switch {
		case s.cfg.Mode == ModeBond:
			return causeBond
		case s.cfg.Mode == ModeSmallestDelay:
			return causeFastest
		case i != s.first:
			return causePrimary
		}
	}
	for j := range s.n {
		if j != i && s.betterByRole(j, i) {
			return causeTakeover
		}
	}
	if i != s.first {
		return causePrimary
	}
	return causeFirst
}

// betterByRole reports whether link j would carry in place of link i if it could, or if it had not been set to off.
func (s *step) betterByRole(j, i int) bool {
	r := s.role[j]
	if r == RoleOff {
		r = s.cfg.Links[j].Role
	}
	tj, ti := s.tierOf(r), s.tier(i)
	return r != RoleOff && !s.primary[j] && (tj < ti || tj == ti && j < i)
}

// watchBusy notes traffic on the links in use.
func (s *step) watchBusy() {
	for i := range s.n {
		if s.primary[i] && max(s.in[i].rate[down], s.in[i].rate[up]) >= busyRate {
			s.mem.busyUntil = s.clock + busyFor
		}
	}
}
