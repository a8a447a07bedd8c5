// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"time"

	"golang.org/x/sys/unix"
)

// Who accepts a connection is whoever of the loops the kernel wakes, and that is the first one for as long as it has time. So eight downloads
// that begin together are one loop's, and one processor's, while others stand idle: a concentrator on two had 1.4 Gbit/s with a quarter of both
// unused, as the relay at the other end waited for it. What a connection will move is not known when it begins. So a loop that moves much more than
// another gives it one of those that move, each shareEvery.

const (
	shareEvery = int64(50 * time.Millisecond)
	shareLeast = 1 << 20 // octets of a loop within shareEvery for which that is worth while: 168 Mbit/s
)

// share is what a loop has moved since a multiple of shareEvery of the clock that all loops have.
type share struct {
	window int64 // its number
	octets uint64
	movers int   // connections that have moved
	last   *Conn // of them
}

// moved counts octets of a connection.
func (s *share) moved(c *Conn, n int) {
	s.octets += uint64(n)
	if turn := uint8(s.window); c.turn != turn || s.last == nil {
		c.turn = turn
		s.movers++
	}
	s.last = c
}

// gives tells whether one of movers connections had better be another loop's: whether the difference is smaller afterwards, or as large the other way
// round. Were it larger, two loops would pass a connection to and fro.
func gives(own, other uint64, movers int) bool {
	return movers > 1 && other < own && (own-other)*uint64(movers) >= 2*own
}

// told is what others read of a window that is over: its number and KiB.
func told(window int64, octets uint64) uint64 {
	return uint64(uint32(window))<<32 | min(octets>>10, 1<<32-1)
}

// loadIn is what the loop has moved lately, octets, when window begins; a loop that sleeps has told nothing.
func (l *loop) loadIn(window int64) uint64 {
	v := l.load.Load()
	if uint32(window)-uint32(v>>32) > 2 {
		return 0
	}
	return v & (1<<32 - 1) << 10
}

// evenOut ends a window, and gives a connection to the loop that has least to do.
func (l *loop) evenOut(window int64) {
	s := l.share
	l.share = share{window: window}
	if s.window != window-1 { // the loop slept
		s.octets = 0
	}
	l.load.Store(told(window-1, s.octets))
	if s.octets < l.least || s.octets == 0 || !s.last.portable() {
		return
	}
	to := l
	least := s.octets
	for _, p := range l.peers {
		if other := p.loadIn(window); p != l && other < least {
			to, least = p, other
		}
	}
	if to != l && gives(s.octets, least, s.movers) {
		l.give(s.last, to)
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
