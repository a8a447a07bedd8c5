// SPDX-License-Identifier: Apache-2.0

package policy

import "time"

// Turns. Once an overflow link carries, the kernel's scheduler gives it more than the overflow: it fills the subflow on which data would
// arrive first, not the cheaper one, and the primaries dip below what they could carry. So the overflow link rests as soon as they dip:
// its subflows stay, silent. What the primaries can't carry then gathers at the sender; when they have been full for a while, the link
// takes its turn and carries that off. While there is always more to carry, the primaries do not dip, and the turn does not end.
const (
	// dipShare: primaries that carry less than this share of what they carry alone have room.
	dipShare = 0.97
	// dipFor: a machine that stands still for a moment makes a dip as well, but is past it within half a reading's window. Nor is it a
	// dip while the overflow link still grows by growing of what it carried when the dip began: then more is on its way.
	// Where the link itself carries much less than it did in this turn, what had gathered is gone, and a dip is one at once.
	dipFor  = 150 * time.Millisecond
	dipSoon = 40 * time.Millisecond
	spent   = 0.7
	growing = 1.3
	// roomShare: an overflow link above this share of its capacity has no lack of work, so it is not what the primaries lack.
	roomShare = 0.9
	// A rest lasts at least pauseLeast; longer, up to pauseMost, while turns end as soon as they begin, for at the end of each the
	// primaries carry less for the time that the end takes to be seen and obeyed. What gathers meanwhile waits: no longer than
	// gatherMost. Where it gathers so fast that a rest would be too short to be worth its end, the link
	// carries all the time.
	pauseLeast = 300 * time.Millisecond
	pauseMost  = 1200 * time.Millisecond
	gatherMost = 400 * time.Millisecond
	// slowerFor: primaries with a queue that stands so long in a rest are full, though they carry less than they did.
	slowerFor = time.Second
	turnShort = 500 * time.Millisecond
	turnLong  = 1500 * time.Millisecond
	// turnSubflows is the most subflows that may be told to rest and to carry on: each is told by a packet on the overflow link.
	turnSubflows = 64
	rateWindow   = 250 * time.Millisecond // of the observation's rates
	// badTurns: the primaries dipped although more wanted to be carried, and all links together carried less than they alone. So often
	// in a row is no chance.
	badTurns = 5
	atOnce   = 150 * time.Millisecond // after the end of a rest: more had wanted to be carried all the time
	// Each end by a dip costs the primaries what they lack until it is seen and obeyed. Between two of them it is known how much is too much for
	// the primaries, so that turnsEarly turns end before what has gathered is gone, at what the link still carries for endTime: half the
	// window of its rate, and what it takes to tell the sender. More than these must not follow each other, for by a dip only it is seen that
	// more is wanted by now.
	turnsEarly = 2
	endTime    = 200 * time.Millisecond
)

// turns is what is remembered of them in one direction. The zero value: the link carries all the time.
type turns struct {
	_ [0]func() // never compared, so that no code is made for it

	resting bool
	since   time.Duration // of the rest, or of the turn
	pause   time.Duration // what the next rest lasts at least
	slow    span          // a queue stands at primaries that are not full
	dip     span
	dipRate float64 // of the overflow link when the dip began
	peak    float64 // the most that it carried in this turn
	bad     bool    // the last turn ended with less than the primaries carry alone
	badly   int     // so many in a row

	at     time.Duration // brought up to date
	dry    bool          // the primaries had room when the rest began, and have since
	dryAt  time.Duration // when nothing had gathered last; 0: unknown
	given  float64       // what the overflow link has carried since, bit/s times ns
	excess float64       // what was too much for the primaries before, bit/s; 0: unknown
	early  int           // turns since then that ended before a dip
}

// takeTurns decides whether the overflow link in use rests. With several in use, or without anything known of what the primaries
// carry alone, none does.
func (s *step) takeTurns(d int, u *use) {
	dm := &s.mem.dirs[d]
	t := &dm.turns
	if u.overflowLinks != 1 || dm.solo <= 0 || s.in[u.last].subflows > turnSubflows {
		*t = turns{}
		return
	}
	if t.pause == 0 {
		*t = turns{since: s.clock, at: s.clock, pause: pauseLeast}
	}
	alone := dm.alone(u)
	full := u.primaries >= dipShare*alone
	phase := s.clock - t.since
	in := &s.in[u.last]
	t.given += in.rate[d] * float64(s.clock-t.at)
	t.at = s.clock
	if t.resting {
		t.learnExcess(s.clock, full)
		slower := t.slow.hold(s.clock, u.queue && !full) >= slowerFor
		if phase < max(t.pause, rateWindow) || !full && !slower {
			return
		}
		if !t.bad || phase > t.pause+atOnce {
			t.badly = 0
		} else if t.badly++; t.badly >= badTurns && !s.cfg.NoGuard {
			s.suspendWorse(u.last, d, u.primaries)
			*t = turns{}
			return
		}
		if dm.solo = max(dm.solo, u.primaries); slower {
			dm.solo = u.primaries
		}
		t.resting, t.since, t.peak = false, s.clock, 0
		return
	}
	works := in.queue[d]
	if in.cap[d] > 0 {
		works = in.rate[d] >= roomShare*in.cap[d]
	}
	if !t.dip.on || in.rate[d] > growing*t.dipRate {
		t.dip.on, t.dipRate = false, in.rate[d]
	}
	t.peak = max(t.peak, in.rate[d])
	dips := t.dip.hold(s.clock, !full && !works && !s.waits(d, in))
	early := d == down && full && phase >= rateWindow && t.nearlyDry(s.clock, in.rate[d])
	if !early && dips < dipFor && (dips < dipSoon || in.rate[d] > spent*t.peak) {
		return
	}
	most := min(pauseMost, time.Duration(float64(gatherMost)/max(dm.together/alone-1, 0.05)))
	if most < 2*rateWindow {
		return
	}
	switch {
	case early:
		t.early++
	case phase < turnShort:
		t.pause = t.pause * 3 / 2
	case phase > turnLong:
		t.pause = max(t.pause*2/3, pauseLeast)
	}
	t.pause = min(t.pause, most)
	t.bad, dm.bonded = u.total < worseShare*alone, u.total
	t.resting, t.since, t.dip.on, t.slow.on, t.dry = true, s.clock, false, false, !early
}

// learnExcess notes in a rest how much was too much for the primaries since they had room last: what the overflow link has carried since.
func (t *turns) learnExcess(clock time.Duration, full bool) {
	if !t.dry || !full {
		return
	}
	now := clock - rateWindow
	t.excess = 0
	if t.dryAt > 0 && now > t.dryAt {
		t.excess = t.given / float64(now-t.dryAt)
	}
	t.dry, t.dryAt, t.given, t.early = false, now, 0, 0
}

// nearlyDry reports whether an overflow link that carries so much will have carried what has gathered by the time it can be silent.
func (t *turns) nearlyDry(clock time.Duration, rate float64) bool {
	return t.excess > 0 && rate > t.excess && t.early < turnsEarly &&
		t.excess*float64(clock-t.dryAt)-t.given <= rate*float64(endTime)
}

// resting reports whether link i, an overflow link that carries, is silent for the moment: no direction needs it.
func (s *step) resting(i int) bool {
	l := &s.mem.links[i]
	if l.state != Active || !l.over[down] && !l.over[up] {
		return false
	}
	for d := range l.over {
		if l.over[d] && !s.mem.dirs[d].turns.resting {
			return false
		}
	}
	return true
}
