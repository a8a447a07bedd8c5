// SPDX-License-Identifier: Apache-2.0

package policy

import "time"

// What counts as full beside OverflowEnter, and what counts as settled.
const (
	// queueShare is the share of a known capacity from which a standing queue is believed: below it the queue is somebody else's.
	queueShare = 0.8
	// stillFull: a primary that was full and has a queue is full down to this share of its capacity, for a lost segment makes a dent.
	stillFull = 0.9
	// deepQueue is what a queue must add to the round trip to prove a primary full that carries less than it can as far as is known. Several
	// senders that fit make a shallow one with their bursts; a line whose capacity is set too high fills its buffer.
	deepQueue = 50 * time.Millisecond
	// trickle is the rate, bit/s, below which a queue at a link of unknown capacity proves nothing.
	trickle = 16e3
	// rashWithin: who enters again so soon after leaving left too early. Leaving then takes twice as long, up to 8 times.
	rashWithin = 10 * time.Second
	// calmAfter: who stayed out this long starts with a clean sheet.
	calmAfter = time.Minute
	rashMax   = 5
	// patienceMax: traffic that comes in bursts but fits on average (a film) makes entering slower, up to 8 times.
	patienceMax = 3
	meanOver    = 30 * time.Second
	// tryAfter is when overflow that would nearly fit into the primaries is given up on trial; it doubles each time the trial fails.
	tryAfter = 15 * time.Second
)

// dirMemory is what is remembered of the overflow in one direction.
type dirMemory struct {
	_ [0]func() // never compared, so that no code is made for it

	full, queued span    // the links in use are full by rate, by a standing queue
	deep         span    // ... by one that proves it against the rate
	fits, nearly span    // everything would fit into one link less: surely, barely
	mean         float64 // of what is carried, over half a minute
	meanAt       time.Duration

	fullFor   time.Duration // how long the primaries had been full when the overflow began
	byQueue   bool          // ... shown by a queue rather than by the rate
	enteredAt time.Duration
	left      bool
	leftAt    time.Duration
	leftBy    cause
	lowFor    time.Duration // how long everything had fitted when the overflow was left
	fit       float64       // what the links that were left in use can carry
	rash      int           // times that leaving proved too early
	patience  int           // times that entering proved too early
	delayed   bool          // ... counted since the overflow was left

	solo       float64       // what the primaries carried alone when they were full last
	together   float64       // mean of what primaries and overflow links have carried together
	togetherAt time.Duration // ... brought up to date
	queueAt    time.Duration // when a queue was seen last
	lost       time.Duration // what the overflow has cost, as time of what the primaries carry alone; negative: it gained
	losingAt   time.Duration // since when that is above 0
	recovered  bool          // since the overflow link rests the primaries have been full
	bonded     float64       // what the links carried together before the overflow was left
	strikes    int           // times that the primaries carried more alone than together
	behind     behind        // what hosts wait for
	turns      turns         // of the overflow link
	worst      int           // mode bond: the link that is judged
	tried      bool          // ... was suspended, and it is not known yet whether that helps
	triedFor   time.Duration // ... though more wanted to be carried for so long
}

// use sums up the links in use in one direction.
type use struct {
	primaries      float64 // rate of the primaries
	capacity       float64 // of the primaries; 0: unknown
	total          float64 // rate of primaries and overflow links
	fit            float64 // what the links in use but for the last one can carry, measured where no capacity is known; 0: unknown
	queue          bool    // a queue stands at a primary
	deep           bool    // ... that adds deepQueue or more
	anyQueue       bool    // ... or at an overflow link
	last, next     int     // the overflow link taken last, to be taken next; -1: none
	overflowLinks  int
	overflowIsFull bool // each overflow link in use is full itself
}

// spill decides in direction d which overflow links carry along. It takes one more when all in use are full, and gives the last one
// up when everything would fit into the others.
func (s *step) spill(d int) {
	dm := &s.mem.dirs[d]
	if s.cfg.Mode == ModeBond && s.first >= 0 {
		s.guardBond(d)
		return
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
	s.keep(d)
	u := s.use(d)
	follow(&dm.mean, u.total, s.clock-dm.meanAt, meanOver)
	dm.meanAt = s.clock
	if s.guard(d, &u) {
		return
	}
	if u.overflowLinks == 0 {
		s.learnShare(d, &u)
	}
	if s.leave(d, &u) || s.enter(d, &u) {
		u = s.use(d)
	}
	if s.mem.yield.on {
		dm.turns = turns{}
		return
	}
	s.takeTurns(d, &u)
}

// candidate reports whether link i may carry overflow now.
func (s *step) candidate(i int) bool {
	return s.role[i] == RoleOverflow && s.rank[i] == int(RoleOverflow) && !s.primary[i]
}

// keep lets a link that stood in for the primaries carry on as overflow when they return and could not hold all that it carries.
func (s *step) keep(d int) {
	capacity, known := 0.0, true
	for i := range s.n {
		if s.primary[i] {
			capacity += s.in[i].cap[d]
			known = known && s.in[i].cap[d] > 0
		}
	}
	for i := range s.n {
		l := &s.mem.links[i]
		if l.lead && known && s.candidate(i) && !s.notWorth(i)[d] && !l.over[d] && s.in[i].rate[d] > s.cfg.OverflowLeave*capacity {
			l.over[d] = true
			dm := &s.mem.dirs[d]
			dm.solo, dm.enteredAt, dm.fullFor = capacity, s.clock, 0
		}
	}
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
			u.deep = u.deep || in.queue[d] && (in.rtt == 0 || in.rtt-in.atRest() >= deepQueue)
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
		case u.next < 0 && s.candidate(i) && !s.notWorth(i)[d]:
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

// enter takes the next overflow link when the links in use have been full for long enough. It reports whether it did.
func (s *step) enter(d int, u *use) bool {
	dm := &s.mem.dirs[d]
	enough := u.overflowLinks == 0 || u.overflowIsFull
	byRate := u.capacity > 0 && u.primaries >= s.cfg.OverflowEnter*u.capacity || s.mem.yield.on && u.overflowLinks > 0
	byQueue := u.queue && u.primaries >= max(queueShare*u.capacity, trickle)

	stays := dm.full.on && byQueue && u.primaries >= stillFull*u.capacity
	rateFor := dm.full.hold(s.clock, (byRate || stays) && enough)
	queueFor := dm.queued.hold(s.clock, byQueue && enough)
	need := s.cfg.OverflowEnterFor << dm.patience
	if s.thin(u.next, d) {
		need /= thinSooner
	}
	queueNeed := need
	deep := byQueue
	if u.capacity > 0 {
		queueNeed *= 5
		deep = byQueue && u.deep
	}
	if u.overflowLinks > 0 {
		// The links just taken need their time to carry off what had gathered.
		need, queueNeed = 3*need, 3*queueNeed
	}
	// The rate is smoothed and comes late; a queue that has stood for long enough by then makes up for it.
	full := byRate && enough && (rateFor >= need || byQueue && queueFor >= need)
	queued := dm.deep.hold(s.clock, deep && enough) >= queueNeed
	if !full && !queued || u.next < 0 {
		return false
	}
	if u.overflowLinks == 0 {
		dm.solo = u.primaries
		if s.worseBefore(d, u) || !s.settle(dm, u) {
			return false
		}
		dm.byQueue = !full
		for i := range s.n {
			s.mem.links[i].sat[d] = 0
			if s.primary[i] {
				s.mem.links[i].sat[d] = s.in[i].rate[d]
			}
		}
	}
	dm.fullFor = max(rateFor, queueFor)
	s.mem.links[u.next].over[d] = true
	dm.enteredAt = s.clock
	dm.begin()
	return true
}

// settle keeps the overflow from coming and going. Entered again soon after it was left, it is left more slowly from now on; or, if
// everything fits into the primaries on average, entered more slowly: then settle returns false, to wait on.
func (s *step) settle(dm *dirMemory, u *use) bool {
	if !dm.left {
		return true
	}
	switch gap := s.clock - dm.leftAt; {
	case gap > calmAfter:
		dm.rash, dm.patience = 0, 0
	case u.capacity > 0 && dm.mean >= s.cfg.OverflowLeave*u.capacity:
		dm.patience = 0
		if gap < rashWithin {
			dm.rash = min(dm.rash+1, rashMax)
		}
	case gap < rashWithin && dm.patience < patienceMax && !dm.delayed:
		dm.patience++
		dm.delayed = true
		return false
	case dm.delayed:
		return true
	case gap < rashWithin:
		dm.rash = min(dm.rash+1, rashMax)
	}
	return true
}

// leave gives up the overflow link taken last when everything has fitted into the others for long enough. It reports whether it did.
func (s *step) leave(d int, u *use) bool {
	dm := &s.mem.dirs[d]
	if u.overflowLinks == 0 {
		return false
	}
	fits := u.total < s.cfg.OverflowLeave*u.fit
	nearly := u.total < s.cfg.OverflowEnter*u.fit && !u.queue
	fitsFor, nearlyFor := dm.fits.hold(s.clock, fits), dm.nearly.hold(s.clock, nearly)
	need := s.cfg.OverflowLeaveFor << min(dm.rash, 3)
	if u.queue && u.overflowLinks == 1 {
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
	dm.bonded, dm.fit, dm.lowFor = u.total, u.fit, fitsFor
	if !fits {
		dm.lowFor = nearlyFor
	}
	s.mem.links[u.last].over[d] = false
	return true
}

// leave notes that an overflow link was given up.
func (dm *dirMemory) leave(clock time.Duration, by cause) {
	dm.left, dm.leftAt, dm.leftBy, dm.delayed = true, clock, by, false
	dm.begin()
}

// begin lets the spans begin anew, since the links in use are others now.
func (dm *dirMemory) begin() {
	for _, x := range []*span{&dm.full, &dm.queued, &dm.deep, &dm.fits, &dm.nearly} {
		x.on = false
	}
}
