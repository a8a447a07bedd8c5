// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"time"

	"golang.org/x/sys/unix"
)

// The first loop accepts all connections that come one after the other, as who is woken for a LAN host's next one is then who is awake for the end
// of the last. Where they crowd, or it is busy, the others accept too.
//
// What a connection will move is not known when it begins. So eight downloads that begin together are one loop's, and one processor's, while others
// stand idle: a concentrator on two had 1.4 Gbit/s with a quarter of both unused, as the relay at the other end waited for it. So a loop that is
// much busier than another gives it one of those that move, each shareEvery.
//
// Where loops have time it is the other way round: each look of each loop at its bulk is a wake-up, and all bulk together costs least in one of them.
// So a loop gives its bulk, in the same steps, to one that is busier.

const (
	shareEvery  = int64(50 * time.Millisecond)
	shareLeast  = shareEvery / 4 * 3 // a loop that does not wait for so long of it is busy
	gatherMost  = 3                  // loops that are busy for less than so many quarters of shareLeast, together, have time
	moverOctets = 4 << 10            // what a connection that moves reads at once
	crowdLeast  = 8                  // connections of shareEvery, accepted where much else happened, that are a crowd; until there is but a quarter of it
)

// share is what a loop has done since a multiple of shareEvery of the clock that all loops have.
type share struct {
	window int64 // its number
	busy   int64 // ns, in which it did not wait
	crowd  int   // connections that were accepted where much else happened
	movers int   // connections that have moved
	last   *Conn // of them
}

// moved tells of n octets of a connection, read at once.
func (s *share) moved(c *Conn, n int) {
	if n < moverOctets {
		return
	}
	if turn := uint8(s.window); c.turn != turn || s.last == nil {
		c.turn = turn
		s.movers++
	}
	s.last = c
}

// gives tells whether one of movers connections had better be another loop's: whether the difference is smaller afterwards, or as large the other way
// round. Were it larger, two loops would pass a connection to and fro.
func gives(own, other int64, movers int) bool {
	return movers > 1 && other < own && (own-other)*int64(movers) >= 2*own
}

// gathers tells whether bulk had better be the other loop's, which is busier, but will not have to give it back.
func gathers(own, other, least int64) bool {
	return own < other && own+other <= leisure(least)
}

// leisure is how long loops are busy, ns of shareEvery, when they have time.
func leisure(least int64) int64 { return least / 4 * gatherMost }

// told is what others read of a window that is over: its number, and how long the loop was busy in it, in 1,024 ns.
func told(window, busy int64) uint64 {
	return uint64(uint32(window))<<32 | min(uint64(busy)>>10, 1<<32-1)
}

// busyIn is how long the loop was busy lately, ns, when window begins; a loop that sleeps has told nothing.
func (l *loop) busyIn(window int64) int64 {
	v := l.load.Load()
	if uint32(window)-uint32(v>>32) > 2 {
		return 0
	}
	return int64(v & (1<<32 - 1) << 10)
}

// evenOut ends a window. A busy loop gives a connection to the one that is least busy, one that has time its bulk to the one that is most.
func (l *loop) evenOut(window int64) {
	s := l.share
	l.share = share{window: window}
	if s.window != window-1 { // the loop slept
		s.busy, s.crowd = 0, 0
	}
	l.load.Store(told(window-1, s.busy))
	if l == l.peers[0] {
		l.summon(window, s.busy, s.crowd)
	}
	c := s.last
	if s.busy < l.least {
		if len(l.bulk) == 0 {
			return
		}
		c = l.bulk[len(l.bulk)-1].c
	}
	if c == nil || !c.portable() {
		return
	}
	idlest, busiest := l, l
	least, most := s.busy, s.busy
	for _, p := range l.peers {
		if p == l {
			continue
		}
		other := p.busyIn(window)
		if other < least {
			idlest, least = p, other
		}
		if other > most {
			busiest, most = p, other
		}
	}
	switch {
	case s.busy >= l.least && gives(s.busy, least, s.movers):
		l.give(c, idlest)
	case s.busy < l.least && gathers(s.busy, most, l.least):
		l.give(c, busiest)
	}
}

// summon has other loops accept connections from when there is a crowd of them, or this loop, the first, is busy, until there is none and all have time.
func (l *loop) summon(window, busy int64, crowd int) {
	all := busy
	for _, p := range l.peers[1:] {
		all += p.busyIn(window)
	}
	calm := all <= leisure(l.least) && crowd <= crowdLeast/4
	if l.summons && calm || !l.summons && (busy >= l.least || crowd >= crowdLeast) {
		l.summons = !l.summons
		for _, p := range l.peers[1:] {
			p.heed(l.summons)
		}
	}
}

// portable tells whether give knows all places where the loop has noted the connection.
func (c *Conn) portable() bool {
	return !c.over && c.opening == nil && (c.withheld == nil || !c.withheld.listed) && !c.dir[0].ending && !c.dir[1].ending
}

// give hands a portable connection to another loop. What its sockets are ready for is told there anew.
func (l *loop) give(c *Conn, to *loop) {
	kept := l.again[:0]
	for _, e := range l.again {
		if e.c != c {
			kept = append(kept, e)
		}
	}
	l.again = kept
	for d := range c.dir {
		x := &c.dir[d]
		x.queued = false
		l.buffers.held -= cap(x.buffer)
		if x.place >= 0 { // it will soon be bulk there
			l.unlist(c, d)
			x.gauge.calm()
			x.mark = 0
			setLowat(c.fd[d], 1)
		}
	}
	l.mu.Lock()
	for _, fd := range c.fd {
		watch(l.epoll, unix.EPOLL_CTL_DEL, fd, nil)
	}
	l.vacate(c)
	c.home.Store(to) // whoever asks from outside waits for to from here on
	l.mu.Unlock()
	to.mu.Lock()
	to.given = append(to.given, c)
	closed := to.closed
	to.mu.Unlock()
	if closed {
		to.receive() // for it does so no more
		return
	}
	to.wake()
}

// receive takes in what others have given, and tells whether the loop is closed: not before it has all that was given to it while it was open.
func (l *loop) receive() (closed bool) {
	l.mu.Lock()
	given := l.given
	l.given, closed = nil, l.closed
	l.mu.Unlock()
	for _, c := range given {
		l.mu.Lock()
		err := l.enter(c)
		c.over = err != nil
		l.mu.Unlock()
		if err != nil {
			for _, fd := range c.fd {
				Reset(int(fd))
			}
			if c.done != nil {
				c.done(c, Aborted)
			}
			continue
		}
		for d := range c.dir {
			l.buffers.held += cap(c.dir[d].buffer)
		}
	}
	return closed
}
