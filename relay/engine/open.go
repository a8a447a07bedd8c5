// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"spillway/sockopt"
)

const (
	openFor   = int64(200 * time.Millisecond) // how long an opening may stay with a loop
	soonIs    = int64(10 * time.Millisecond)  // what Conn.Soon waits
	mostTaken = 16                            // connections accepted before others get their turn, while nobody waits in vain
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
	info, err := sockopt.TCPInfo(fd)
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
	if l.heeds {
		if err := ln.watched(l.epoll, unix.EPOLL_CTL_ADD); err != nil {
			return fmt.Errorf("epoll listener: %w", err)
		}
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
	if l.heeds && !l.closed {
		ln.watched(l.epoll, unix.EPOLL_CTL_DEL)
	}
}

// heed has the loop accept from all listeners, or leave them to others.
func (l *loop) heed(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.heeds == on {
		return
	}
	l.heeds = on
	op := unix.EPOLL_CTL_DEL
	if on {
		op = unix.EPOLL_CTL_ADD
	}
	for _, ln := range l.doors {
		if ln != nil {
			ln.watched(l.epoll, op) // an error leaves it to the others
		}
	}
}

// watched puts the socket into a loop's epoll set, or takes it out. The loop's mu is held: Close leaves all loops before it closes the socket.
func (ln *Listener) watched(epoll, op int) error {
	return unix.EpollCtl(epoll, op, ln.fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLEXCLUSIVE, Fd: ln.id})
}

// accept takes some of those who wait, or one where little else has happened; the rest wakes the loop again at once.
func (l *loop) accept(id int32, little bool) {
	l.mu.Lock()
	ln := l.doors[-2-id]
	l.mu.Unlock()
	if ln == nil {
		return
	}
	most := l.most
	if little { // they come one after the other
		most = 1
	}
	for range most {
		a := Arrival{loop: l, ln: ln}
		open := ln.Control(func(fd int) { a.FD, a.From, a.Err = Accept(fd) })
		switch {
		case !open:
			return
		case a.Err == unix.EAGAIN:
			l.most = 1 // to find nobody costs the kernel a file: next time one is taken, and the others the time after
			return
		case a.Err == unix.ECONNABORTED, a.Err == unix.EINTR:
			continue
		case a.Err != nil: // out of descriptors or memory, and the listener stays readable
			ln.fn(a)
			time.Sleep(time.Millisecond)
			return
		}
		if !little {
			l.share.crowd++
		}
		ln.fn(a)
	}
	if !little {
		l.most = min(2*l.most, mostTaken)
	}
}

// Opening is what becomes of a pair before it is copied. All are called by the loop, and must not block.
type Opening interface {
	Event(side int, events uint32) // something came from a socket (0: LAN, 1: upstream), which is to be read until it is empty
	Late()                         // it has been here for 200 ms, or Hasten was called: it must begin, end or leave now
	Soon()                         // 10 ms have passed since Conn.Soon
	Ended(End)                     // the engine closes
}

// Start is what the opening leaves to be copied.
type Start struct {
	Up   []byte // octets for upstream that it would not take yet
	Down []byte // octets for the LAN side; they leave together with what upstream has by now
	Own  int    // so many of Down are not upstream's, and not counted
	// Drained: the last read of a socket (0: LAN, 1: upstream) was shorter than it might have been, so that an event tells of what comes after.
	Drained [2]bool
}

// line is openings that are looked at after a while, all after equally long, so that they are in order.
type line []opening

type opening struct {
	c  *Conn
	at int64
}

// next tells when the first is due, without those that have begun or left.
//
//go:noinline
func (n *line) next() (at int64, waits bool) {
	i := 0
	for i < len(*n) && ((*n)[i].c.opening == nil || (*n)[i].c.over) {
		i++
	}
	clear((*n)[:i])
	if *n = (*n)[i:]; len(*n) == 0 {
		*n = nil
		return 0, false
	}
	return (*n)[0].at, true
}

// due takes one out whose time has come; nil: none.
func (n *line) due(now int64) Opening {
	if at, waits := n.next(); !waits || at > now {
		return nil
	}
	o := (*n)[0].c.opening
	(*n)[0] = opening{}
	*n = (*n)[1:]
	return o
}

// Open puts an accepted connection and its upstream socket under the loop's care, to be told of what comes. Call Begin,
// Release or Drop from one of o's functions. both: the accepted socket's writability is told too; on MPTCP an edge of it says that the
// handshake is complete. On an error both sockets are still the caller's.
func (a Arrival) Open(up int, o Opening, both bool) (*Conn, error) {
	l := a.loop
	c := &Conn{loop: l, fd: [2]int32{int32(a.FD), int32(up)}, opening: o}
	for d := range c.dir {
		c.dir[d].limit, c.dir[d].place = scratchSize, -1
	}
	c.out = [2]bool{both, true} // tells of the handshake's end
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.enter(c); err != nil {
		return nil, err
	}
	l.openings = append(l.openings, opening{c, l.now + openFor})
	return c, nil
}

// Read takes what the accepted socket has, most octets or 64 KiB, without waiting. They are good until the engine is called again.
func (a Arrival) Read(most int) ([]byte, error) { return a.loop.take(int32(a.FD), most) }

// Read takes what a socket of an opening (0: LAN, 1: upstream) has, as Arrival.Read does.
func (c *Conn) Read(side, most int) ([]byte, error) { return c.loop.take(c.fd[side], most) }

// Write gives a socket of an opening what it takes, without waiting.
func (c *Conn) Write(side int, b []byte) (int, error) {
	n, e := write(c.fd[side], b)
	if e != 0 {
		return 0, e
	}
	return n, nil
}

func (l *loop) take(fd int32, most int) ([]byte, error) {
	n, e := read(fd, l.scratch[:min(most, len(l.scratch))])
	if e != 0 {
		return nil, e
	}
	return l.scratch[:n], nil
}

// Soon has the opening's Soon called after 10 ms, if it is one still.
func (c *Conn) Soon() { c.loop.soon = append(c.loop.soon, opening{c, c.loop.now + soonIs}) }

// Begin ends the opening: both ways are copied from now on as p says (its sockets are known), after what s holds. plain: upstream is TCP.
func (c *Conn) Begin(p Pair, s Start, plain bool) {
	l := c.loop
	c.opening, c.done = nil, p.Done
	c.idle, c.half = uint32(p.Idle/time.Second), uint32(p.HalfClosed/time.Second)
	c.last.Store(l.second())
	c.toward(p.Far, plain)
	c.allow(&p)
	if p.Fell {
		c.fell.since(c.fd[1])
	}
	if len(s.Up) > 0 {
		c.dir[0].buffer = l.buffers.hold(s.Up)
		c.dir[0].held = c.dir[0].buffer
		l.want(c, 1)
	}
	switch {
	case len(s.Down) > 0 && !c.fell.on:
		l.first(c, s)
	case len(s.Down) == 0 || l.pass(c, 1, s.Down, s.Own): // what a fallen-back socket has is looked at more closely: move does
		l.pump(c, 1)
	}
	switch {
	case c.over:
	case c.dir[0].held != nil:
		l.flush(c, 0) // the opening may have been told that there is room, and did not use it
	case !s.Drained[0] || c.dir[0].hup:
		l.pump(c, 0)
	}
}

// first gives the LAN side s.Down, and what upstream has, in one: a segment less, and the other end is woken once.
func (l *loop) first(c *Conn, s Start) {
	x := &c.dir[1]
	k, most, came, e := copy(l.scratch, s.Down), len(l.scratch), 1, unix.Errno(0)
	if c.withheld != nil {
		most = min(most, k+c.withheld.room(0, 0, most)) // nothing is under way yet
	}
	for more := !s.Drained[1] || x.hup; more && k < most && came > 0; more = x.hup {
		if came, e = read(c.fd[1], l.scratch[k:most]); came > 0 {
			k += came
		}
	}
	if k > s.Own {
		c.last.Store(l.second())
	}
	x.eof = came == 0 && e == 0
	l.pass(c, 1, l.scratch[:k], s.Own)
	switch {
	case c.over:
		return
	case e != 0 && e != unix.EAGAIN:
		l.finish(c, Failed)
		return
	case x.eof:
		l.passEnd(c, 1) // or when what is held has gone
	}
	if k > s.Own && !c.over {
		l.passed(c, 1, k-s.Own)
	}
	if k == most && !c.over {
		l.pump(c, 1)
	}
}

// Release ends the opening; both sockets are the caller's again.
func (c *Conn) Release() {
	l := c.loop
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget(c)
	for _, fd := range c.fd {
		watch(l.epoll, unix.EPOLL_CTL_DEL, fd, nil)
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
func (l *loop) want(c *Conn, side int) { l.tell(c, side, true) }

// tell says whether a socket's writability is told from now on: with mu, for Nudge.
//
//go:noinline
func (l *loop) tell(c *Conn, side int, out bool) {
	if c.out[side] == out {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c.out[side] = out
	l.watch(c, side)
}

// Want has an opening's Event called once a socket that took no more, after Hush, is writable again.
func (c *Conn) Want(side int) { c.loop.want(c, side) }

// Hush ends the telling of a socket's writability, until it takes no more: the handshake is complete. TCP tells of it only after a write
// that was refused, but MPTCP at each acknowledgement of its data (mptcp_write_space, net/mptcp/protocol.h), and so would wake us once for
// each request and each answer.
func (c *Conn) Hush(side int) { c.loop.tell(c, side, false) }

// watch says anew what wakes us for a socket.
func (l *loop) watch(c *Conn, side int) {
	ev := c.event(side)
	watch(l.epoll, unix.EPOLL_CTL_MOD, c.fd[side], &ev)
}

// event is what wakes us for a socket, and how we know whom it concerns.
//
//go:noinline
func (c *Conn) event(side int) unix.EpollEvent {
	events := uint32(interest)
	if !c.out[side] {
		events &^= unix.EPOLLOUT
	}
	return unix.EpollEvent{Events: events, Fd: c.slot<<1 | int32(side), Pad: int32(c.gen)}
}

// Nudge has the loop told anew, and so an opening's Event called, of what a socket that is watched for writability is ready for. It may be
// called from anywhere.
func (c *Conn) Nudge(side int) {
	l := c.lock()
	defer l.mu.Unlock()
	if c.over || !c.out[side] {
		return
	}
	l.watch(c, side)
}

// lateOnes tells openings that their time has come.
func (l *loop) lateOnes() {
	for o := l.soon.due(l.now); o != nil; o = l.soon.due(l.now) {
		o.Soon()
	}
	l.late(l.now)
}

// late tells openings whose time comes until then.
func (l *loop) late(until int64) {
	for o := l.openings.due(until); o != nil; o = l.openings.due(until) {
		o.Late()
	}
}
