// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"math"
	"time"
)

// The guard: links together must not be slower than the best of them alone.
const (
	worseShare = 0.95 // together below this share of the best alone: worse
	betterBy   = 1.05 // together above this multiple of it: proven useful
	// Mode bond: what the others carry after a link was left, from settleFor to worseFor, tells whether that helped. Before, they wait for what
	// it still has; and only time counts in which more wanted to be carried.
	settleFor  = time.Second
	worseFor   = 3 * time.Second
	meanOfBoth = 2 * time.Second // what links carry together swings while they wait for each other: judged by its mean
	queueHeld  = time.Second     // a queue seen so lately still counts
	strikeFor  = 2 * time.Second // primaries full so soon after the overflow was left: a strike
	strikesMax = 3
	soloFor    = 10 * time.Minute // how long a measurement of a link alone is believed

	// lostMost is what an overflow link may cost: so much time of what the primaries carry alone. What was gained before counts
	// against it, up to gainedMost.
	lostMost   = 200 * time.Millisecond
	gainedMost = time.Second
	// The same in mode bond, where it is not as well known what the best link carries alone, nor whether more wants to be carried: a line that
	// waits for another one has no queue for a while.
	lostBond  = 600 * time.Millisecond
	queueBond = queueHeld / 2
	// The first 64 KiB that the kernel gives a link take three round trips, and what the others bring meanwhile waits. That is the price of each
	// beginning: beginTrips, and no more than beginMost.
	beginTrips = 2
	beginMost  = 600 * time.Millisecond
	forgetLost = 5 * time.Second // ... while no more wants to be carried
	longStep   = lostMost / 2    // a machine that stood still for longer has seen no more of it

	suspendMin = 30 * time.Second
	suspendMax = 10 * time.Minute
)

// suspension keeps a link from being used together with others for a while.
type suspension struct {
	until   time.Duration
	backoff time.Duration
	cut     bool // at once: what is on its way there holds up the rest
	starved span // since it fell silent, the primaries wait for what it still has
	why     string
}

// suspend takes link i out for a while, twice as long as the last time unless it has served well since. The sentence is
// continued with how long. Overflow is given up at once.
func (s *step) suspend(i int, format string, a ...any) {
	s.takeOut(i, fmt.Sprintf(format, a...))
	s.rank[i] = s.tier(i) + demoted
	s.hurdle[i] = causeSuspended
}

// suspendWorse does so because with link i all have carried less together, dirMemory.bonded, than the primaries alone.
func (s *step) suspendWorse(i, d int, alone float64) {
	s.suspend(i, "with %s the links carry %s %s together, less than the %s of %s alone",
		s.cfg.Links[i].Name, rate(s.mem.dirs[d].bonded), direction(d), rate(alone), s.leaders())
}

// Suspend does so on evidence that an Observation does not hold; why says it in words. The next Step obeys. Without the guard
// (Config.NoGuard) it does nothing.
func (m *Machine) Suspend(link int, why string) {
	if !m.cfg.NoGuard && link >= 0 && link < len(m.cfg.Links) {
		m.takeOut(link, why)
	}
}

func (m *Machine) takeOut(link int, why string) {
	clock := m.mem.clock
	l := &m.mem.links[link]
	p := &l.suspension
	if p.backoff > 0 && clock < p.until+max(calmAfter, p.backoff) {
		p.backoff = min(2*p.backoff, suspendMax)
	} else {
		p.backoff = suspendMin
	}
	p.until = clock + p.backoff
	p.cut = false
	p.why = why + ": only when nothing else works, for " + seconds(p.backoff)
	l.cause = causeNone // say why, even if it was suspended before for another reason
	for d := range l.over {
		if l.over[d] {
			l.over[d] = false
			m.mem.dirs[d].leave(clock, causeSuspended)
		}
	}
}

// guard suspends the overflow link taken last when it makes all together carry less than the primaries would alone: it has cost more than it may,
// loses too much to be of use, or holds up what the others carry. It reports whether it did.
func (s *step) guard(d int, u *use) bool {
	if s.cfg.NoGuard || u.overflowLinks == 0 {
		return false
	}
	dm, in, name := &s.mem.dirs[d], &s.in[u.last], s.cfg.Links[u.last].Name
	costs, known, cut := s.costs(d, u), s.watchBehind(d, u), true
	switch {
	case s.mem.yield.on:
		// Primaries that yield are silent because they shall be, and so little beside the link that a moment in which it brings nothing would count as the end.
		// If it goes on they carry again, after yieldFor. A queue from before tells nothing then.
		dm.lost, dm.losingAt, dm.queueAt, dm.behind.bits = 0, s.clock, 0, 0
		return false
	case costs:
		s.suspendWorse(u.last, d, dm.alone(u))
		dm.tried, dm.triedFor = true, 0
	case known && s.lossy(d, u):
		s.suspend(u.last, "%s loses %.1f %% %s, too much to carry more than %s beside %s",
			name, 100*in.lost[d], direction(d), rate(in.lossyRate(d)), s.leaders())
		cut = false // what is on its way there will be carried sooner than the others could repeat it
	case known && s.holdsUp(d, u):
		s.suspend(u.last, "%s holds up %s and brings only %s %s", name, s.leaders(), rate(dm.behind.brings), direction(d))
	default:
		return false
	}
	s.mem.links[u.last].suspension.cut = cut
	return true
}

// costs reports whether the overflow link taken last has cost more than it may: the links have carried less than the primaries alone although more
// wanted to be carried. dm.bonded is what they have carried then.
func (s *step) costs(d int, u *use) bool {
	dm := &s.mem.dirs[d]
	solo := dm.alone(u)
	if u.total > betterBy*solo {
		dm.strikes = 0
	}
	most, held, bond := lostMost, queueHeld, s.cfg.Mode == ModeBond
	if bond {
		most, held = lostBond, queueBond
	}
	began := s.clock <= dm.enteredAt || dm.togetherAt < dm.enteredAt
	dt := s.clock - dm.togetherAt
	if began {
		dm.together = solo
	} else {
		follow(&dm.together, u.total, dt, meanOfBoth)
	}
	dm.togetherAt = s.clock
	if u.anyQueue {
		dm.queueAt = s.clock
	}
	if began || solo <= 0 {
		dm.lost, dm.losingAt = 0, s.clock
		return false
	}
	// A link that rests goes on to cost something until what it still had has been carried.
	dm.recovered = dm.turns.resting && (dm.recovered || u.primaries >= worseShare*solo)
	if s.clock-dm.queueAt > held || dm.recovered || !bond && u.total-u.primaries < trickle {
		dm.lost -= time.Duration(float64(dm.lost) * min(1, float64(dt)/float64(forgetLost)))
		return false // no more wants to be carried, or the link has no part in it
	}
	dm.lost = max(dm.lost+time.Duration((worseShare-u.total/solo)*float64(min(dt, longStep))), -gainedMost)
	if dm.lost <= 0 {
		dm.losingAt = s.clock
	}
	if in := &s.in[u.last]; s.begins(d, in) && in.lossyRate(d) >= littleShare*solo {
		most += min(beginTrips*in.atRest(), beginMost)
	}
	if dm.lost < most {
		return false
	}
	dm.bonded = solo * max(worseShare-float64(dm.lost)/float64(s.clock-dm.losingAt), 0)
	return true
}

// alone is what the primaries carry alone: what they did last, but no more than they can.
func (dm *dirMemory) alone(u *use) float64 {
	if u.capacity > 0 {
		return min(dm.solo, u.capacity)
	}
	return dm.solo
}

// follow lets a mean follow a value: after so long as "over" it has come to 63 % of the way.
func follow(mean *float64, value float64, dt, over time.Duration) {
	*mean += (value - *mean) * (1 - math.Exp(-float64(dt)/float64(over)))
}

// worseBefore catches what costs can't see because no queue showed: the overflow was left for lack of traffic, and at once
// the primaries alone are full and carry more than before. Once or twice may be chance; the third time in a row the next link is
// suspended.
func (s *step) worseBefore(d int, u *use) bool {
	dm := &s.mem.dirs[d]
	if s.cfg.NoGuard || dm.leftBy != causeFits && dm.leftBy != causeTrial {
		return false
	}
	dm.leftBy = causeNone // judged once
	since := s.clock
	for _, f := range []span{dm.full, dm.queued} {
		if f.on {
			since = min(since, f.since)
		}
	}
	if since-dm.leftAt > strikeFor || u.primaries < betterBy*dm.bonded {
		dm.strikes = 0
		return false
	}
	dm.strikes++
	if dm.strikes < strikesMax {
		return false
	}
	dm.strikes = strikesMax - 1 // on probation until it proves useful
	s.suspendWorse(u.next, d, u.primaries)
	return true
}

// watchRTT suspends overflow links that lie so much further away than the primaries that reordering eats what they carry. What counts
// is the round trip at rest where it is known: a queue that a link builds up itself is judged by what it carries.
func (s *step) watchRTT(d int) {
	fastest := time.Duration(0)
	for i := range s.n {
		if r := s.in[i].atRest(); s.primary[i] && r > 0 && (fastest == 0 || r < fastest) {
			fastest = r
		}
	}
	for i := range s.n {
		l := &s.mem.links[i]
		if !l.over[d] || s.cfg.MaxRTTDiff < 0 {
			continue
		}
		diff := s.in[i].atRest() - fastest
		if l.slow.hold(s.clock, fastest > 0 && diff > s.cfg.MaxRTTDiff) >= slowFor {
			l.slow.on = false
			s.suspend(i, "%s answers %s later than %s, more than %s", s.cfg.Links[i].Name, millis(diff), s.leaders(), millis(s.cfg.MaxRTTDiff))
		}
	}
}

// atRest is the round-trip time without queues, as far as it is known.
func (in *sense) atRest() time.Duration {
	if in.minRTT > 0 {
		return in.minRTT
	}
	return in.rtt
}
