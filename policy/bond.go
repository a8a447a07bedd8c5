// SPDX-License-Identifier: Apache-2.0

package policy

// What links carry alone is compared in mode bond: within likeShare of each other they are alike, and the one is better that loses less, or answers sooner.
const likeShare = 0.8

// guardBond is the guard where all links carry at once. To it the worst of them is an overflow link, and the others are the primaries, which carry
// alone what the best of them did or can. A link that cost too much comes back soon if the others alone turn out to be slower, for a capacity may be set too high.
func (s *step) guardBond(d int) {
	dm := &s.mem.dirs[d]
	b := s.bond(d)
	if dm.tried {
		s.tryWithout(d, &b)
	} else if l := &s.mem.links[s.first]; b.links == 1 && b.queue {
		if !s.measured(l, d) {
			l.solo[d] = b.total
		}
		follow(&l.solo[d], b.total, s.clock-dm.togetherAt, meanOfBoth)
		l.soloAt[d] = s.clock
	}
	if dm.tried || s.cfg.NoGuard || b.worst < 0 {
		s.learnShare(d, &use{primaries: b.total})
		dm.lost, dm.togetherAt = 0, s.clock
		return
	}
	w := b.worst
	if w != dm.worst {
		dm.worst, dm.behind.mean, dm.behind.peak = w, 0, 0
	}
	dm.solo = b.best
	s.learnMixed(d, b.total)
	s.primary[w] = false
	if !s.guard(d, &use{last: w, total: b.total, primaries: b.total - s.in[w].rate[d], anyQueue: b.queue, overflowLinks: b.links - 1}) {
		s.primary[w] = true
		return
	}
	dm.leave(s.clock, causeSuspended)
	if s.first == w {
		s.first = b.bestLink
	}
}

// tryWithout finds out whether the links carry more without the worst of them, which has just been suspended.
func (s *step) tryWithout(d int, b *bond) {
	dm := &s.mem.dirs[d]
	p := &s.mem.links[dm.worst].suspension
	if dm.tried = p.until > s.clock; !dm.tried || !b.queue {
		return
	}
	dt := min(s.clock-dm.togetherAt, longStep)
	if dm.triedFor += dt; dm.triedFor > settleFor {
		follow(&dm.together, b.total, dt, settleFor)
	}
	if dm.triedFor < worseFor {
		return
	}
	dm.tried = false
	if b.links == 1 {
		l := &s.mem.links[s.first]
		l.solo[d], l.soloAt[d] = dm.together, s.clock
	}
	if betterBy*dm.together < dm.bonded {
		p.until = s.clock
	}
}

// bond sums up one direction of links that carry at once.
type bond struct {
	total, best     float64
	queue           bool
	links           int
	bestLink, worst int // -1: none
}

// bond sums up direction d.
func (s *step) bond(d int) bond {
	b := bond{bestLink: -1, worst: -1}
	idle := s.clock-s.mem.dirs[d].queueAt > forgetLost
	for i := range s.n {
		if !s.primary[i] {
			continue
		}
		l := &s.mem.links[i]
		if l.sat[d] = max(l.sat[d], s.in[i].rate[d]); idle {
			l.sat[d] = 0
		}
		b.links++
		b.total += s.in[i].rate[d]
		b.queue = b.queue || s.in[i].queue[d]
		if alone := s.alone(i, d); alone > 0 && (b.bestLink < 0 || alone*likeShare > b.best || alone > b.best*likeShare && s.worseLink(b.bestLink, i, d)) {
			b.best, b.bestLink = alone, i
		}
	}
	for i := range s.n {
		if b.bestLink >= 0 && s.primary[i] && i != b.bestLink && (b.worst < 0 || s.worseLink(i, b.worst, d)) {
			b.worst = i
		}
	}
	return b
}

// alone is what link i carries by itself: measured lately, else its capacity, or what its losses let it carry.
func (s *step) alone(i, d int) float64 {
	l, in := &s.mem.links[i], &s.in[i]
	if s.measured(l, d) {
		return l.solo[d]
	}
	return min(in.cap[d], max(in.lossyRate(d), l.sat[d]))
}

// measured reports whether it was seen lately what link l carries alone.
func (s *step) measured(l *linkMemory, d int) bool {
	return l.solo[d] > 0 && s.clock-l.soloAt[d] <= soloFor
}

// worseLink reports whether link i looks worse than link j: it loses more, or answers later.
func (s *step) worseLink(i, j, d int) bool {
	a, b := &s.in[i], &s.in[j]
	if diff := a.lost[d] - b.lost[d]; diff > 0.02 || diff < -0.02 {
		return diff > 0
	}
	return a.rtt > b.rtt
}
