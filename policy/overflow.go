// SPDX-License-Identifier: Apache-2.0

package policy

import "time"

// What counts as full beside OverflowEnter, and what counts as settled.
const (
	// queueShare is the share of a known capacity from which a standing queue is believed: below it the queue is somebody else's.
	queueShare = 0.8
	// trickle is the rate, bit/s, below which a queue at a link of unknown capacity proves nothing.
	trickle = 16e3
	// rashWithin: who enters again so soon after leaving left too early. Leaving then takes twice as long, up to 8 times.
	rashWithin = 10 * time.Second
	// calmAfter: who stayed out this long starts with a clean sheet.
	calmAfter = time.Minute
	rashMax   = 5
	// tryAfter is when overflow that would nearly fit into the primaries is given up on trial; it doubles each time the trial fails.
	tryAfter = 15 * time.Second
)

// dirMemory is what is remembered of the overflow in one direction.
type dirMemory struct {
	full, queued span // the links in use are full by rate, by a standing queue
	fits, nearly span // everything would fit into one link less: surely, barely
	guard        span // the links together are slower than the best alone

	fullFor   time.Duration // how long the primaries had been full when the overflow began
	byQueue   bool          // ... shown by a queue rather than by the rate
	enteredAt time.Duration
	left      bool
	leftAt    time.Duration
	leftBy    cause
	lowFor    time.Duration // how long everything had fitted when the overflow was left
	rash      int           // times that leaving proved too early

	solo    float64 // what the primaries carried alone when they were full last
	bonded  float64 // what the links carried together before the overflow was left
	strikes int     // times that the primaries carried more alone than together
}

// use sums up the links in use in one direction.
type use struct {
	primaries      float64 // rate of the primaries
	capacity       float64 // of the primaries; 0: unknown
	total          float64 // rate of primaries and overflow links
	fit            float64 // what the links in use but for the last one can carry, measured where no capacity is known; 0: unknown
	queue          bool    // a queue stands at a primary
	anyQueue       bool    // ... or at an overflow link
	last, next     int     // the overflow link taken last, to be taken next; -1: none
	overflowLinks  int
	overflowIsFull bool // each overflow link in use is full itself
}

// spill decides in direction d which overflow links carry along. It takes one more when all in use are full, and gives the last one
// up when everything would fit into the others.
func (s *step) spill(d int) {
	dm := &s.mem.dirs[d]
	if s.cfg.Mode == ModeBond {
		s.guardBond(d)
	}
	if s.cfg.Mode != ModeOverflow || s.first < 0 {
		for i := range s.n {
			s.mem.links[i].over[d] = false
		}
		*dm = dirMemory{}
		return
	}
	for i := range s.n {
		l := &s.mem.links[i]
		if l.over[d] && !s.candidate(i) {
			l.over[d] = false
			dm.leave(s.clock, causeNone)
		}
	}
	s.watchRTT(d)
	u := s.use(d)
	if u.overflowLinks > 0 && s.guardOverflow(d, &u) {
		return
	}
	if !s.leave(d, &u) {
		s.enter(d, &u)
	}
}

// candidate reports whether link i may carry overflow now.
func (s *step) candidate(i int) bool {
	return s.role[i] == RoleOverflow && s.rank[i] == int(RoleOverflow) && !s.primary[i]
}

// use sums up direction d.
func (s *step) use(d int) use {
	u := use{last: -1, next: -1, overflowIsFull: true}
	known := true
	for i := range s.n {
		in, l := &s.in[i], &s.mem.links[i]
		switch {
		case s.primary[i]:
			if in.queue[d] {
				l.sat[d] = max(l.sat[d], in.rate[d])
			}
			u.primaries += in.rate[d]
			u.capacity += in.cap[d]
			known = known && in.cap[d] > 0
			u.fit += s.capacity(i, d)
			u.queue = u.queue || in.queue[d]
		case l.over[d]:
			l.sat[d] = max(l.sat[d], in.rate[d])
			if u.last >= 0 {
				u.fit += s.capacity(u.last, d)
			}
			u.total += in.rate[d]
			u.anyQueue = u.anyQueue || in.queue[d]
			u.last = i
			u.overflowLinks++
			u.overflowIsFull = u.overflowIsFull && s.linkFull(i, d)
		case s.candidate(i) && u.next < 0:
			u.next = i
		}
	}
	u.total += u.primaries
	u.anyQueue = u.anyQueue || u.queue
	if !known {
		u.capacity = 0
	}
	return u
}

// capacity is what link i can carry in direction d: known, or the most it was seen to carry with a queue standing.
func (s *step) capacity(i, d int) float64 {
	if c := s.in[i].cap[d]; c > 0 {
		return c
	}
	return s.mem.links[i].sat[d]
}

// linkFull reports whether an overflow link can carry no more.
func (s *step) linkFull(i, d int) bool {
	in := &s.in[i]
	if in.cap[d] == 0 {
		return in.queue[d] && in.rate[d] >= trickle
	}
	return in.rate[d] >= s.cfg.OverflowEnter*in.cap[d] || in.queue[d] && in.rate[d] >= queueShare*in.cap[d]
}

// enter takes the next overflow link when the links in use have been full for long enough.
func (s *step) enter(d int, u *use) {
	dm := &s.mem.dirs[d]
	enough := u.overflowLinks == 0 || u.overflowIsFull
	byRate := u.capacity > 0 && u.primaries >= s.cfg.OverflowEnter*u.capacity
	byQueue := u.queue && u.primaries >= max(queueShare*u.capacity, trickle)

	rateFor := dm.full.hold(s.clock, byRate && enough)
	queueFor := dm.queued.hold(s.clock, byQueue && enough)
	rateNeed, queueNeed := s.cfg.OverflowEnterFor, s.cfg.OverflowEnterFor
	if d == down && u.capacity > 0 {
		// Towards the home the queue is seen only by its delay, which the household's other traffic can cause as well. From the
		// home it is our own unsent data.
		queueNeed *= 2
	}
	if u.overflowLinks > 0 {
		// The links just taken need their time to fill.
		rateNeed, queueNeed = 2*rateNeed, 2*queueNeed
	}
	full := byRate && enough && rateFor >= rateNeed
	queued := byQueue && enough && queueFor >= queueNeed
	if !full && !queued || u.next < 0 {
		return
	}
	if u.overflowLinks == 0 {
		dm.solo = u.primaries
		if s.worseBefore(d, u) {
			return
		}
		s.settleRash(dm)
		dm.fullFor, dm.byQueue = rateFor, !full
		if dm.byQueue {
			dm.fullFor = queueFor
		}
		for i := range s.n {
			s.mem.links[i].sat[d] = 0
			if s.primary[i] {
				s.mem.links[i].sat[d] = s.in[i].rate[d]
			}
		}
	}
	s.mem.links[u.next].over[d] = true
	s.mem.links[u.next].suspension.servedAt = s.clock
	dm.enteredAt = s.clock
	dm.full.on, dm.queued.on, dm.fits.on, dm.nearly.on, dm.guard.on = false, false, false, false, false
}

// settleRash makes leaving slower when the overflow is entered again soon after it was left.
func (s *step) settleRash(dm *dirMemory) {
	if !dm.left {
		return
	}
	switch gap := s.clock - dm.leftAt; {
	case gap < rashWithin:
		dm.rash = min(dm.rash+1, rashMax)
	case gap > calmAfter:
		dm.rash = 0
	}
}

// leave gives up the overflow link taken last when everything has fitted into the others for long enough.
func (s *step) leave(d int, u *use) bool {
	dm := &s.mem.dirs[d]
	if u.overflowLinks == 0 {
		return false
	}
	fits := u.total < s.cfg.OverflowLeave*u.fit
	nearly := u.total < s.cfg.OverflowEnter*u.fit && !u.queue
	fitsFor, nearlyFor := dm.fits.hold(s.clock, fits), dm.nearly.hold(s.clock, nearly)
	need := s.cfg.OverflowLeaveFor << min(dm.rash, 3)
	if u.queue {
		// Little is carried and yet a queue stands: that is no lack of demand. Not for ever, though, for queues are guesses.
		need *= 4
	}
	try := tryAfter << dm.rash
	switch {
	case fits && fitsFor >= need:
		dm.leave(s.clock, causeFits)
	case nearly && nearlyFor >= try:
		dm.leave(s.clock, causeTrial)
	default:
		return false
	}
	dm.bonded, dm.lowFor = u.total, fitsFor
	if !fits {
		dm.lowFor = nearlyFor
	}
	s.mem.links[u.last].over[d] = false
	return true
}

// leave notes that an overflow link was given up.
func (dm *dirMemory) leave(clock time.Duration, by cause) {
	dm.left, dm.leftAt, dm.leftBy = true, clock, by
	dm.full.on, dm.queued.on, dm.fits.on, dm.nearly.on, dm.guard.on = false, false, false, false, false
}
