// SPDX-License-Identifier: Apache-2.0

package policy

import "time"

// With smallest-delay, another link becomes first when it has been faster by a fifth and by 5 ms for swifterFor.
const (
	swifterShare = 0.8
	swifterBy    = 5 * time.Millisecond
	swifterFor   = 3 * time.Second
)

// lead finds the links that serve as primaries, those of the smallest rank, and the first of them. Only role primary, and the mode
// bond, put several links to work at once; where an overflow or backup link stands in, one is enough until it is full.
func (s *step) lead() {
	best := noRank
	for i := range s.n {
		best = min(best, s.rank[i])
	}
	if best == noRank {
		s.mem.swifter.on = false
		return
	}
	several := best%demoted == int(RolePrimary) && s.cfg.Mode != ModeSmallestDelay
	for i := range s.n {
		if s.rank[i] != best {
			continue
		}
		if s.first < 0 {
			s.first = i
		} else if !several {
			continue
		}
		s.primary[i] = true
		// A link that must carry is trusted from now on; otherwise the next one to return would push it aside at once.
		s.mem.links[i].trusted = true
	}
	if s.cfg.Mode == ModeSmallestDelay {
		s.leadFastest(best)
	}
}

// leadFastest makes the link with the smallest round-trip time the first, without hurry unless the one before is gone.
func (s *step) leadFastest(best int) {
	fast := s.first
	for i := range s.n {
		if s.rank[i] == best && s.in[i].rtt > 0 && (s.in[fast].rtt == 0 || s.in[i].rtt < s.in[fast].rtt) {
			fast = i
		}
	}
	if old := s.mem.first; old >= 0 && old < s.n && s.rank[old] == best && old != fast {
		now, next := s.in[old].rtt, s.in[fast].rtt
		clearly := now == 0 && next > 0 || float64(next) < float64(now)*swifterShare && now-next >= swifterBy
		if s.mem.swifter.hold(s.clock, clearly) < swifterFor {
			fast = old
		} else {
			s.mem.swifter.on = false
		}
	} else {
		s.mem.swifter.on = false
	}
	s.primary = [MaxLinks]bool{}
	s.first, s.primary[fast] = fast, true
	s.mem.links[fast].trusted = true
}
