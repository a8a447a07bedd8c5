// SPDX-License-Identifier: Apache-2.0

package policy

import "time"

// A link that the guard has taken out. The sender takes the removal of a subflow, though it be an empty one, for a reason to repeat all that is not
// acknowledged in order (__mptcp_close_ssk and __mptcp_retransmit_pending_data, net/mptcp/protocol.c). While the primaries are full that costs 0.3 s of what
// they carry, as much as the link itself had cost. So it falls silent first, and its subflows go when the primaries have room.
const (
	// silentMost: new connections get a subflow here as well meanwhile, about 956 octets each, so it does not last for ever.
	silentMost = suspendMin
	// starvedShare: primaries that carry less than this share of what they carry alone, soon after the link fell silent, wait for what it still has. A
	// packet that was lost takes a round trip more; after starvedTrips there was none behind it to tell of it, and the sender repeats it after a time-out only.
	// Then to repeat all is better.
	starvedShare  = 0.6
	starvedTrips  = 1.5
	starvedWithin = 3 * time.Second
)

// silent reports whether link i, suspended and emptying, shall keep its subflows beyond the time that it has to empty.
func (s *step) silent(i int) bool {
	l := &s.mem.links[i]
	p := &l.suspension
	if l.state != Standby || s.hurdle[i] != causeSuspended || l.drainUntil <= s.clock || s.clock >= p.until-p.backoff+silentMost {
		return false
	}
	for d := range s.mem.dirs {
		if c := s.leadersCan(d); s.leadersQueue(d) || c > 0 && s.leadersCarry(d) >= s.cfg.OverflowLeave*c {
			return true
		}
	}
	return false
}

// leadersQueue reports whether a queue stands at a primary.
func (s *step) leadersQueue(d int) bool {
	for i := range s.n {
		if s.primary[i] && s.in[i].queue[d] {
			return true
		}
	}
	return false
}

// starve reports whether the primaries carry little of what they carry alone in direction d, and hosts are given as little.
func (s *step) starve(d int) bool {
	most := starvedShare * s.mem.dirs[d].solo
	return s.leadersCarry(d) < most && (d == up || s.delivered < most)
}

// starved reports whether the primaries have long waited for what overflow link i, suspended of late, still has.
func (s *step) starved(i int) bool {
	waits := false
	for d := range s.mem.dirs {
		dm := &s.mem.dirs[d]
		waits = waits || dm.leftBy == causeSuspended && s.clock-dm.leftAt < starvedWithin && s.starve(d)
	}
	return s.mem.links[i].suspension.starved.hold(s.clock, waits) > starvedTime(&s.in[i])
}

// starvedTime is for how long primaries may starve until what link in lost lately can only come after a time-out.
func starvedTime(in *sense) time.Duration { return time.Duration(starvedTrips * float64(in.atRest())) }
