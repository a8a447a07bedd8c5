// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	openFor   = int64(200 * time.Millisecond) // how long an opening may stay with a loop
	mostTaken = 4                             // connections accepted before others get their turn, while nobody waits in vain
)

// Arrival is a connection that a loop has accepted, or why it could not.
type Arrival struct {
	FD   int // non-blocking; belongs to who is called
	From netip.AddrPort
	Err  error // then there is no FD
	loop *loop
	ln   *Listener
}

// InLoop tells whether a loop has accepted it, and calls.
func (a Arrival) InLoop() bool { return a.loop != nil }

// Waiting tells how many more wait to be accepted.
func (a Arrival) Waiting() (n int) {
	a.ln.Control(func(fd int) { n = Waiting(fd) })
	return n
}

// Waiting tells how many connections wait to be accepted from a listening socket.
func Waiting(fd int) int {
	info, err := unix.GetsockoptTCPInfo(fd, unix.SOL_TCP, unix.TCP_INFO)
	if err != nil {
		return 0
	}
	return int(info.Unacked)
}

// Listener is a listening socket that the loops accept from.
type Listener struct {
	engine *Engine
	fn     func(Arrival)
	id     int32 // in the events of all loops: -2 and below

	mu sync.Mutex
	fd int // -1: closed
}

// Listen has the loops accept from a non-blocking listening socket, which belongs to the listener. fn is called by a loop for each
// connection, and must not block.
func (e *Engine) Listen(fd int, fn func(Arrival)) (*Listener, error) {
	ln := &Listener{engine: e, fn: fn, fd: fd}
	for i, l := range e.loops {
		if err := l.attend(ln); err != nil {
			for _, l := range e.loops[:i] {
				l.leave(ln)
			}
			return nil, err
		}
	}
	return ln, nil
}

// Control runs fn with the descriptor while it is certain to be open; it returns false when it is closed.
func (ln *Listener) Control(fn func(fd int)) bool {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if ln.fd < 0 {
		return false
	}
	fn(ln.fd)
	return true
}

// Close closes the socket. Connections that were accepted before may still come.
func (ln *Listener) Close() {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if ln.fd < 0 {
		return
	}
	for _, l := range ln.engine.loops {
		l.leave(ln) // by hand: a duplicate in another process would keep it in the set
	}
	unix.Close(ln.fd)
	ln.fd = -1
}

func (l *loop) attend(ln *Listener) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	k := 0
	for k < len(l.doors) && l.doors[k] != nil {
		k++
	}
	// All loops number their listeners alike, as they come and go together.
	ln.id = int32(-2 - k)
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLEXCLUSIVE, Fd: ln.id}
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, ln.fd, &ev); err != nil {
		return fmt.Errorf("epoll listener: %w", err)
	}
	if k == len(l.doors) {
		l.doors = append(l.doors, nil)
	}
	l.doors[k] = ln
	return nil
}

func (l *loop) leave(ln *Listener) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.doors[-2-ln.id] = nil
	if !l.closed {
		unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, ln.fd, nil)
	}
}

// accept takes some of those who wait; the rest wakes the loop again at once.
func (l *loop) accept(id int32) {
	l.mu.Lock()
	ln := l.doors[-2-id]
	l.mu.Unlock()
	if ln == nil {
		return
	}
	for range l.take {
		a := Arrival{loop: l, ln: ln}
		open := ln.Control(func(fd int) { a.FD, a.From, a.Err = Accept(fd) })
		switch {
		case !open:
			return
		case a.Err == unix.EAGAIN:
			l.take = 1 // to find nobody costs the kernel a file: next time one is taken, and the others the time after
			return
		case a.Err == unix.ECONNABORTED, a.Err == unix.EINTR:
			continue
		case a.Err != nil: // out of descriptors or memory, and the listener stays readable
			ln.fn(a)
			time.Sleep(time.Millisecond)
			return
		}
		ln.fn(a)
	}
	l.take = min(2*l.take, mostTaken)
}

// Opening is what becomes of a pair before it is copied. All are called by the loop, and must not block.
type Opening struct {
	Event func(side int, events uint32) // something came from a socket (0: LAN, 1: upstream), which is to be read until it is empty
	Both  bool                          // the accepted socket's writability is told too: on MPTCP an edge of it says that the handshake is complete
	Late  func()                        // it has been here for 200 ms: it must begin, end or leave now
	Ended func(End)                     // the engine closes
}

// opening is one that a loop will look at.
type opening struct {
	c  *Conn
	at int64
}

// Open puts an accepted connection and its upstream socket under the loop's care, to be told of what comes. Call Begin,
// Release or Drop from one of o's functions. On an error both sockets are still the caller's.
func (a Arrival) Open(up int, o *Opening) (*Conn, error) {
	l := a.loop
	c := &Conn{loop: l, fd: [2]int32{int32(a.FD), int32(up)}, opening: o}
	for d := range c.dir {
		c.dir[d].limit, c.dir[d].place = scratchSize, -1
	}
	c.out = [2]bool{o.Both, true} // tells of the handshake's end
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.enter(c); err != nil {
		return nil, err
	}
	l.openings = append(l.openings, opening{c, l.now + openFor})
	return c, nil
}

// Begin ends the opening: both ways are copied from now on as p says (its sockets are known), after rest, octets of the LAN host that
// upstream would not take yet. plain: upstream is TCP.
func (c *Conn) Begin(p Pair, rest []byte, plain bool) {
	l := c.loop
	c.opening, c.done = nil, p.Done
	c.idle, c.half, c.last = uint32(p.Idle/time.Second), uint32(p.HalfClosed/time.Second), l.second()
	c.toward(p.Far, plain)
	c.dir[1].room = int32(p.Room)
	if p.Fell {
		c.fell.since(c.fd[1])
	}
	if len(rest) > 0 {
		c.dir[0].buffer = l.buffers.hold(rest)
		c.dir[0].held = c.dir[0].buffer
	}
	l.pump(c, 1)
	if !c.over {
		l.pump(c, 0)
	}
}

// Release ends the opening; both sockets are the caller's again.
func (c *Conn) Release() {
	l := c.loop
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget(c)
	for _, fd := range c.fd {
		unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, int(fd), nil)
	}
}

// Drop ends the opening with a reset of both sides.
func (c *Conn) Drop() {
	c.loop.mu.Lock()
	c.loop.forget(c)
	c.loop.mu.Unlock()
	for _, fd := range c.fd {
		Reset(int(fd))
	}
}

// want adds writability to what wakes us for a socket. The kernel looks at once, so that nothing is missed.
func (l *loop) want(c *Conn, side int) {
	if c.out[side] {
		return
	}
	c.out[side] = true
	ev := unix.EpollEvent{Events: interest, Fd: c.slot<<1 | int32(side), Pad: int32(c.gen)}
	unix.EpollCtl(l.epoll, unix.EPOLL_CTL_MOD, int(c.fd[side]), &ev)
}

// Nudge has the loop told anew, and so an opening's Event called, of what a socket that is watched for writability is ready for. It may be
// called from anywhere.
func (c *Conn) Nudge(side int) {
	c.loop.mu.Lock()
	defer c.loop.mu.Unlock()
	if c.over || !c.out[side] {
		return
	}
	ev := unix.EpollEvent{Events: interest, Fd: c.slot<<1 | int32(side), Pad: int32(c.gen)}
	unix.EpollCtl(c.loop.epoll, unix.EPOLL_CTL_MOD, int(c.fd[side]), &ev)
}

// lateOnes ends the wait of openings whose time has passed. All may stay equally long, so that they are in order.
func (l *loop) lateOnes() {
	i := 0
	for ; i < len(l.openings); i++ {
		o := l.openings[i]
		if o.c.opening == nil || o.c.over {
			continue
		}
		if o.at > l.now {
			break
		}
		o.c.opening.Late()
	}
	clear(l.openings[:i])
	if l.openings = l.openings[i:]; len(l.openings) == 0 {
		l.openings = nil
	}
}
