// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"math"
	"time"
)

// A link that brings little and holds up the rest. While the others can send on beside it nothing is lost yet that the guard could
// count, but hosts get nothing, and then a burst; and soon the sender may hold no more. What hosts are given tells of it.
const (
	// behindMost: so much of what the primaries carry alone waits for what the overflow link still has. With waitsFrom of it what the primaries
	// lack is what the link still has, not demand.
	behindMost = 140 * time.Millisecond
	waitsFrom  = 80 * time.Millisecond
	// ... unless they are given handedShare of what arrives while much does: bits is a sum of small differences too, which say nothing then.
	handedShare = 0.97
	lossyFrom   = 40 * time.Millisecond // beside a link that loses too much to be worth it
	lossyMost   = 2                     // times littleShare: a link that has carried so much loses what its queue can't hold
	behindFade  = 2 * time.Second       // two measures that differ a little must not add up for ever
	shareMean   = time.Second           // over which these are compared
	// An overflow link has brought little when its mean is less than littleShare of what the primaries carry alone. It has time to
	// begin, after each rest anew: a sender needs eight round trips from its first packets to what a line of 20 Mbit/s carries over 0.3 s.
	littleMean  = 2 // round trips
	littleAfter = 250 * time.Millisecond
	littleTrips = 8
	// Where less than shareLeast is relayed nothing can be told; more than shareMost is what had waited before.
	shareLeast = 0.5
	shareMost  = 1.0
	shareBond  = 0.94 // of full packets so much is payload, and links that carry at once hand on no more for long
	mixedMean  = 4 * time.Second
)

// behind is what is remembered of it towards the home, the only direction where it is known what arrives.
type behind struct {
	_ [0]func() // never compared, so that no code is made for it

	share   float64       // of what arrives while one link alone carries, hosts are given so much; 0: unknown
	mixed   float64       // mode bond: the same while several links carry much
	bits    float64       // that arrived and that hosts were not given
	mean    float64       // of what the overflow link carries, bit/s
	brings  float64       // the greater of that and what it carries now
	peak    float64       // the most of it since the overflow began
	turn    time.Duration // when its last turn began
	carried time.Duration // ... and how long it has carried in it
	handed  bool          // hosts are given all that arrives
	starved span          // the primaries wait for what the overflow link still has
	at      time.Duration // brought up to date
}

// begins reports whether an overflow link has had too little time in its turn to show what it can carry.
func (s *step) begins(d int, in *sense) bool {
	b := &s.mem.dirs[d].behind
	trips := littleTrips * in.atRest()
	if s.cfg.Mode == ModeBond {
		trips *= 2 // the others take what they can from the beginning
	}
	return (d == up || b.share >= shareLeast) && b.carried < littleAfter+trips
}

// lossyRate is what one connection can carry in direction d by a link that loses so much, bit/s; no bound where no loss is known. TCP moves a
// segment each round trip, by the root of the loss, times 1.22 (Mathis, Semke, Mahdavi, Ott: The Macroscopic Behavior of the TCP Congestion
// Avoidance Algorithm, 1997), which makes up for losses that are not seen.
func (in *sense) lossyRate(d int) float64 {
	const segment = 1448 * 8
	if rtt := in.atRest().Seconds(); in.lost[d] > 0 && rtt > 0 {
		return segment / rtt / math.Sqrt(in.lost[d])
	}
	return math.Inf(1)
}

// learnShare notes how much of what arrives hosts are given while no overflow link carries.
func (s *step) learnShare(d int, u *use) {
	b := &s.mem.dirs[d].behind
	dt := s.clock - b.at
	b.at, b.bits, b.mean, b.peak, b.turn, b.carried, b.starved = s.clock, 0, 0, 0, 0, 0, span{}
	if d != down || u.primaries < trickle || dt > longStep {
		return
	}
	share := min(s.delivered/u.primaries, shareMost)
	if b.share == 0 {
		b.share = share
	}
	follow(&b.share, share, dt, shareMean)
	b.mixed = b.share
}

// learnMixed notes it while several links carry at once, for they may never carry alone: what one keeps waiting comes later, and the mean of mixedMean knows
// both. It begins with what full packets make of it, as soon as hosts are given most of what arrives.
func (s *step) learnMixed(d int, total float64) {
	b := &s.mem.dirs[d].behind
	if d != down || total < starvedShare*s.mem.dirs[d].solo {
		return
	}
	if b.mixed == 0 {
		if s.delivered < shareLeast*total {
			return
		}
		b.mixed = shareBond
	}
	follow(&b.mixed, s.delivered/total, s.clock-b.at, mixedMean)
	b.share = min(b.mixed, shareBond)
}

// waits reports whether hosts wait for what overflow link in still has, or it has only just begun: then primaries that stand still lack no demand.
func (s *step) waits(d int, in *sense) bool {
	dm := &s.mem.dirs[d]
	return !s.cfg.NoGuard && (dm.behind.bits >= waitsFrom.Seconds()*dm.solo && !dm.behind.handed || s.begins(d, in) && in.rate[d] < littleShare*dm.solo)
}

// watchBehind brings up to date what is known of the overflow link in use. It reports whether that says anything: not with several of them.
func (s *step) watchBehind(d int, u *use) bool {
	dm := &s.mem.dirs[d]
	b := &dm.behind
	dt := s.clock - b.at
	b.at = s.clock
	if u.overflowLinks != 1 || dt > longStep {
		return false
	}
	in := &s.in[u.last]
	b.bits = max(0, b.bits*math.Exp(-float64(dt)/float64(behindFade))+(b.share*u.total-s.delivered)*dt.Seconds())
	b.handed = s.delivered >= handedShare*b.share*u.total && u.total >= starvedShare*dm.solo
	if !dm.turns.resting {
		if dm.turns.since > b.turn {
			b.turn, b.carried = dm.turns.since, 0
		}
		b.carried += dt
		follow(&b.mean, in.rate[d], dt, littleMean*in.atRest()+time.Millisecond)
	}
	b.brings = max(b.mean, in.rate[d])
	b.peak = max(b.peak, in.rate[d])
	return true
}

// holdsUp reports whether the overflow link brings little and holds up the rest.
func (s *step) holdsUp(d int, u *use) bool {
	dm, in := &s.mem.dirs[d], &s.in[u.last]
	b := &dm.behind
	if d != down || b.share < shareLeast {
		return false
	}
	behind := b.bits >= behindMost.Seconds()*dm.solo
	starved := b.starved.hold(s.clock, behind && s.starve(d))
	return behind && b.brings < littleShare*dm.solo && (!s.begins(d, in) || starved > starvedTime(in))
}

// lossy reports whether the overflow link brings little and will not bring more, for it loses too much. What is lost because the link is full must not
// count. That is told by what the link has carried before, most of what it can or, towards the home, where hosts must wait for it too, and where that is
// not known, a quarter of what the primaries carry; from the home, where the losses are our own sender's and known well, by the link's queue.
func (s *step) lossy(d int, u *use) bool {
	dm, in := &s.mem.dirs[d], &s.in[u.last]
	b, little := &dm.behind, littleShare*dm.solo
	full := fullShare * in.cap[d]
	switch {
	case in.lossyRate(d) >= little || b.brings >= lossyMost*little || b.peak < trickle || full > 0 && b.peak >= full:
		return false
	case d == down:
		return b.share >= shareLeast && (full > 0 || b.peak < lossyMost*little) && b.bits >= lossyFrom.Seconds()*dm.solo
	}
	return !in.queue[d] && in.rtt-in.atRest() < deepQueue
}
