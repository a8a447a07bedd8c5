// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"golang.org/x/sys/unix"

	"spillway/sockopt"
)

// strictFrom is how many octets make what goes upstream an upload, octets. From then on, until its end has come, upstream's socket ends in a
// reset whoever closes it: the kernel itself, say, after this process was killed. What was cut short must not look whole. Requests are shorter,
// tell their own end, and are spared the calls.
const strictFrom = 4 << 10

// handle acts on one event of one socket.
func (l *loop) handle(c *Conn, side int, events uint32) {
	from, to := &c.dir[side], 1-side // the direction that this socket feeds, and the one that feeds it
	if events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR|unix.EPOLLPRI) != 0 {
		from.hup = true
	}
	if c.opening != nil {
		c.opening.Event(side, events)
		return
	}
	if events&unix.EPOLLOUT != 0 && c.dir[to].held != nil {
		l.flush(c, to)
	}
	if c.over {
		return
	}
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR|unix.EPOLLPRI) != 0 {
		if from.gauge.bulk {
			l.look(c, side, false)
		} else {
			l.pump(c, side)
		}
	}
	if c.over || events&unix.EPOLLERR == 0 {
		return
	}
	// The error may wait behind octets that the other side does not take, or behind an end that was read before.
	if failed, err := sockopt.Int(int(c.fd[side]), unix.SOL_SOCKET, unix.SO_ERROR); err != nil || failed != 0 {
		l.finish(c, Failed)
	}
}

// pump copies an attentive direction until its source is empty or its destination full, or goes on with a bulk one.
func (l *loop) pump(c *Conn, d int) {
	n := l.move(c, d, c.dir[d].gauge.bulk && !c.dir[d].hup)
	if n > 0 && !c.over {
		l.passed(c, d, n)
	}
}

// passed tells the gauges of octets that came outside the clock.
func (l *loop) passed(c *Conn, d, n int) {
	x := &c.dir[d]
	if l.onset.moved(l.now, n) {
		l.tellBulk()
	}
	if x.gauge.bulk {
		l.found(c, d, n)
		return
	}
	if !x.prompt && !x.eof && !x.hup && x.gauge.read(l.now, n) { // in this order: who is bulk must be on the clock
		l.promote(c, d)
		return
	}
	if back := 1 - d; c.dir[back].gauge.bulk {
		l.turn(c, back)
	}
}

// look copies what a bulk direction has, at the tick or because its mark was reached, and returns the octets read.
func (l *loop) look(c *Conn, d int, clock bool) int {
	n := l.move(c, d, !c.dir[d].hup)
	if c.over {
		return n
	}
	x := &c.dir[d]
	if x.held != nil { // the destination is the slow one now: its writability is our clock
		x.gauge.empty = 0
		return n
	}
	x.gauge.hurry = l.hurry
	if x.eof || !x.gauge.look(l.now, n, clock) {
		l.demote(c, d)
		return n
	}
	l.follow(c, d)
	return n
}

// found tells the gauge of octets that came outside the clock.
func (l *loop) found(c *Conn, d, n int) {
	if c.dir[d].gauge.look(l.now, n, false) {
		l.follow(c, d)
	} else {
		l.demote(c, d)
	}
}

// follow does what the gauge of a bulk direction says.
func (l *loop) follow(c *Conn, d int) {
	x := &c.dir[d]
	l.nextTick = min(l.nextTick, x.gauge.due)
	if x.mark != x.gauge.mark {
		x.mark = x.gauge.mark
		setLowat(c.fd[d], x.mark)
	}
}

// turn looks at a bulk direction because its opposite spoke: an answer may follow, and must not wait for the tick.
func (l *loop) turn(c *Conn, d int) {
	x := &c.dir[d]
	if x.held != nil || x.queued {
		return
	}
	n := l.move(c, d, true)
	if c.over {
		return
	}
	if n > 0 {
		l.found(c, d, n)
		return
	}
	x.gauge.turned()
	l.demote(c, d)
}

func (l *loop) promote(c *Conn, d int) {
	x := &c.dir[d]
	if len(l.bulk) == 0 {
		l.nextTick = x.gauge.due
		l.tellBulk()
	}
	x.place = int32(len(l.bulk))
	l.bulk = append(l.bulk, entry{c, d})
	l.follow(c, d)
}

// tellBulk calls what OnBulk has named.
func (l *loop) tellBulk() {
	if fn := l.onBulk.Load(); fn != nil {
		(*fn)()
	}
}

// demote makes a direction attentive. Raising the low mark raised no event for what came in between, so look once
// more after lowering it.
func (l *loop) demote(c *Conn, d int) {
	l.unlist(c, d)
	x := &c.dir[d]
	x.gauge.bulk = false
	if x.eof {
		return
	}
	x.mark = 0
	setLowat(c.fd[d], 1)
	if n := l.move(c, d, false); n > 0 && !c.over {
		x.gauge.read(l.now, n)
		x.gauge.bulk = false // at the earliest with the next event
	}
}

// unlist takes a direction off the clock.
//
//go:noinline
func (l *loop) unlist(c *Conn, d int) {
	i := c.dir[d].place
	if i < 0 {
		return
	}
	end := len(l.bulk) - 1
	moved := l.bulk[end]
	l.bulk[i] = moved
	moved.c.dir[moved.d].place = i
	l.bulk[end] = entry{}
	l.bulk = l.bulk[:end]
	c.dir[d].place = -1
}

// move copies from source to destination and returns the octets read. It empties the source, as edge-triggered events demand: a short read says that
// nothing is left, and what comes afterwards is told, of MPTCP as well (mptcp_recvmsg, net/mptcp/protocol.c, ends short only when it found neither its own queue
// nor a subflow's with more, while it held the socket). An end that was told of is read by itself, unless once: the clock will come again.
func (l *loop) move(c *Conn, d int, once bool) (total int) {
	x := &c.dir[d]
	src := c.fd[d]
	for x.held == nil && !x.eof {
		limit := int(x.limit)
		if l.buffers.held > mostHeld {
			limit = smallRead
		}
		if d == 1 && c.withheld != nil {
			if limit = l.allowed(c, limit); limit == 0 {
				return total
			}
		}
		n, e := read(src, l.scratch[:limit])
		if d == 1 && c.fell.on && e == 0 {
			n, e = c.fell.whole(src, l.scratch, n)
		}
		switch {
		case e == unix.EAGAIN:
			return total
		case e == errLost:
			l.finish(c, Lost)
			return total
		case e != 0:
			l.finish(c, Failed)
			return total
		case n == 0:
			x.eof = true
			l.passEnd(c, d)
			return total
		}
		total += n
		l.share.moved(c, n)
		c.last.Store(l.second())
		if !l.pass(c, d, l.scratch[:n], 0) {
			return total
		}
		x.limit = min(scratchSize, x.limit*2)
		if n < limit && (once || !x.hup) {
			return total
		}
		if total >= fairShare {
			if !x.queued {
				x.queued = true
				l.again = append(l.again, entry{c, d})
			}
			return total
		}
	}
	return total
}

// pass writes octets of the scratch buffer, of which the first own are not counted, and holds what the destination does not take. It tells
// whether it took all.
func (l *loop) pass(c *Conn, d int, b []byte, own int) bool {
	x := &c.dir[d]
	if d == 0 && !x.strict && x.moved.Load()+uint64(len(b)) >= strictFrom { // before they leave: we may be killed right after
		x.strict = EndsInReset(int(c.fd[1])) == nil
	}
	w, e := writeAll(c.fd[1-d], b)
	if e != 0 && e != unix.EAGAIN {
		l.finish(c, Failed)
		return false
	}
	l.tally(c, d, max(0, w-own))
	if w == len(b) {
		return true
	}
	x.buffer = l.buffers.hold(b[w:])
	x.held = x.buffer
	x.limit = max(leastRead, x.limit/2)
	l.want(c, 1-d)
	return false
}

// lookFor is the octets between two looks for a line far away (reserve.go): 0.1 s of 20 Mbit/s.
const lookFor = 1 << 18

// tally adds octets that a direction has moved.
func (l *loop) tally(c *Conn, d, n int) {
	x := &c.dir[d]
	before := x.moved.Load()
	after := before + uint64(n)
	x.moved.Store(after)
	if d == 1 {
		l.delivered.Add(uint64(n))
	}
	if far := c.dir[1].careful; !c.settled && (far || x.careful) && before/lookFor != after/lookFor {
		c.settled = c.unlikeLines(far)
	}
}

// flush writes what is held and, when it is gone, goes on reading.
func (l *loop) flush(c *Conn, d int) {
	x := &c.dir[d]
	w, e := writeAll(c.fd[1-d], x.held)
	if e != 0 && e != unix.EAGAIN {
		l.finish(c, Failed)
		return
	}
	l.tally(c, d, w)
	if w > 0 {
		c.last.Store(l.second())
	}
	if x.held = x.held[w:]; len(x.held) > 0 {
		return
	}
	l.buffers.release(x.buffer)
	x.held, x.buffer = nil, nil
	if x.eof {
		l.passEnd(c, d)
		return
	}
	if x.gauge.bulk {
		l.look(c, d, false)
	} else {
		l.pump(c, d)
	}
}

// passEnd tells the destination that no more will come, once all that came has been written.
func (l *loop) passEnd(c *Conn, d int) {
	x := &c.dir[d]
	if x.held != nil || x.shut || l.waits(c, d) {
		return
	}
	x.shut = true
	if d == 1 {
		lingers(int(c.fd[0]), false) // what is on its way to the LAN host arrives, whatever becomes of us
	} else if x.strict {
		lingers(int(c.fd[1]), false)
	}
	if c.dir[1-d].shut {
		l.finish(c, Closed)
		return
	}
	if shutWrite(c.fd[1-d]) != 0 {
		l.finish(c, Failed)
	}
}

// finish closes both sockets: politely when both directions ended, else with a reset.
func (l *loop) finish(c *Conn, end End) {
	l.mu.Lock()
	if c.over {
		l.mu.Unlock()
		return
	}
	l.forget(c)
	l.mu.Unlock()
	for d := range c.dir {
		x := &c.dir[d]
		l.unlist(c, d)
		if x.buffer != nil {
			l.buffers.release(x.buffer)
			x.held, x.buffer = nil, nil
		}
	}
	for side, fd := range c.fd {
		switch {
		case end != Closed:
			Reset(int(fd))
		case side == 1 && c.byLines():
			l.part(fd)
		default:
			closeFD(fd)
		}
	}
	switch {
	case c.opening != nil:
		c.opening.Ended(end)
	case c.done != nil:
		c.done(c, end)
	}
}
