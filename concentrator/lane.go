// SPDX-License-Identifier: Apache-2.0

package concentrator

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"spillway/convert"
	"spillway/mptcp"
	"spillway/relay/engine"
)

// The lane is the short way of a session, from accept to being copied without leaving the engine's loop: no goroutine, no timer, no
// hand-over. It is for what happens most: a message that came whole in the SYN, a server that answers, a client whose handshake ends
// within 200 ms. Whatever else comes goes to a goroutine (session.proceed), which finds what was done in begun.

// quick is a session on the lane.
type quick struct {
	*session
	c       *engine.Conn
	fd      int // the client's
	server  int
	message *convert.Message
	data    []byte // of the client's, that came with the message
	began   time.Time
	there   bool // the server has accepted
	ready   bool // the client's handshake was seen to be complete, with out
	out     mptcp.Outcome
	said    int         // octets of the client's, with the message
	dry     bool        // the client's socket was emptied, see engine.Start
	holds   bool        // the answer, for the server's first octets to go with it
	soon    bool        // the engine was asked for Soon
	waited  bool        // for the client's handshake, as the server was faster
	waits   atomic.Bool // and still does
}

// begun is what a goroutine finds of a session that the lane gave up.
type begun struct {
	head    []byte // octets of the client's that were read; message is nil then
	message *convert.Message
	data    []byte
	server  int
	at      time.Time // when the server was asked
	waited  bool
}

// onLane begins the session, and tells whether it could. Otherwise no server was asked.
func (ses *session) onLane(a engine.Arrival) bool {
	b, err := a.Read(openingLen)
	if len(b) == 0 || err != nil {
		return false // it comes later, or never: read again
	}
	buf := append(make([]byte, 0, len(b)), b...)
	m, used, err := convert.Parse(buf)
	if err != nil || m.Error != nil || m.Connect == nil || m.Connect.Options != nil || ses.s.judge(ses.from, m, buf[:used], ses.accepted) != nil || !ses.seat() {
		ses.begun = &begun{head: buf}
		return false
	}
	q := &quick{session: ses, fd: a.FD, message: m, data: buf[used:], said: len(buf), dry: len(buf) < openingLen, began: ses.accepted}
	q.holds = q.dry && len(q.data) > 0
	if q.server, _, err = ses.s.begin(m.Connect.Addr, mptcp.DialOptions{PlainTCP: true}, nil); err != nil {
		ses.begun = &begun{head: buf}
		return false // the goroutine will see the same, and knows what to say
	}
	if q.c, err = a.Open(q.server, q, true); err != nil {
		q.Ended(engine.Aborted) // the engine closes, or is out of memory
		engine.Reset(q.server)
		engine.Reset(q.fd)
	}
	return true
}

// Event is the engine's call.
func (q *quick) Event(side int, events uint32) {
	const failed = unix.EPOLLERR | unix.EPOLLHUP
	switch {
	case side == 0 && events&failed != 0: // the client has reset it
		q.drop()
		return
	case side == 1 && q.there:
		if q.holds {
			q.Soon()
		}
		return // read when the client has its answer
	case side == 1 && events&failed != 0:
		q.giveUp()
		return
	case side == 1 && events&unix.EPOLLOUT != 0:
		q.there = true
		q.connected()
		if !q.pass() {
			return
		}
		q.holds = q.holds && events&unix.EPOLLIN == 0
	case side == 0 && events&unix.EPOLLIN != 0:
		if q.hear(); q.there && !q.pass() {
			return
		}
	}
	switch {
	case !q.there:
	case !q.holds:
		q.answer()
	case !q.soon:
		q.soon = true
		q.c.Soon()
		q.complete() // now, while the server is busy
	}
}

// hear reads what the client says after its message, for the server. The router's first octets come with the end of the handshake or soon after,
// and so often before the server is there, or its answer. What is too much, and the client's end, is left to the engine, after the answer.
func (q *quick) hear() {
	b, err := q.c.Read(0, max(0, openingLen-q.said))
	q.said += len(b)
	q.data = append(q.data, b...)
	if q.dry = err == unix.EAGAIN; !q.dry {
		q.dry = len(b) > 0 && q.said < openingLen
		q.holds = q.dry
	}
}

// Soon is the engine's call after 10 ms: it ends the holding back of the answer. A server that was given a request soon says something, and
// then the answer goes with it: a segment less on the lines, and the router is woken once. Nobody waits for the answer meanwhile: what else the client
// says goes to the server as well.
func (q *quick) Soon() {
	if q.holds {
		q.holds = false
		q.answer()
	}
}

// pass is hand without waiting: what the server's socket does not take the engine writes.
func (q *quick) pass() bool {
	if len(q.data) == 0 {
		return true
	}
	n, err := q.c.Write(1, q.data)
	if n > 0 {
		q.early.Add(uint32(n))
		q.data = q.data[n:]
	}
	if err != nil && err != unix.EAGAIN {
		q.giveUp()
		return false
	}
	return true
}

// answer answers when the client's handshake is complete (established.go says why not before). An edge of the client's socket tells of
// that: the kernel wakes those who wait for it when the third ACK changes its state. A look now and then is for kernels that don't.
func (q *quick) answer() {
	err := q.complete()
	if err == nil && !q.ready {
		if q.waited = true; !q.waits.Swap(true) {
			q.s.young.lookLater(q)
		}
		return
	}
	q.waits.Store(false)
	if err != nil {
		q.giveUp()
		return
	}
	var room [64]byte
	b, err := q.reply(q.message).Append(room[:0])
	if err != nil {
		q.s.debug("answer", "client", q.from, "err", err)
		q.drop()
		return
	}
	if q.waited {
		q.s.stats.handshakeWaits.Add(1)
		q.s.clients.sawHandshake(q.key, time.Since(q.accepted))
	}
	q.count(q.out)
	q.s.stats.sessions.Add(1)
	q.conn.Store(q.c)
	if q.push {
		q.s.young.pushLater(young{c: q.c})
	}
	engine.EndsInReset(q.fd)
	q.c.Hush(0)
	q.c.Begin(q.pair(), engine.Start{Up: q.data, Down: b, Own: len(b), Drained: [2]bool{0: q.dry}}, true)
}

// complete looks whether the client's handshake is complete, unless it was before.
func (q *quick) complete() (err error) {
	if q.ready {
		return nil
	}
	if !q.s.waits {
		q.out, err = mptcp.InspectFD(q.fd)
		q.ready = err == nil
		return err
	}
	if q.out, err = mptcp.HandshakeFD(q.fd); err != nil || !q.out.Established {
		return err
	}
	in, fell := mptcp.InfoFD(q.fd)
	q.out.MPTCP, q.ready = fell == nil, keyed(in, fell)
	return nil
}

// Late is the engine's call after 200 ms.
func (q *quick) Late() { q.giveUp() }

// giveUp leaves the lane. Nothing was read that the goroutine needs.
func (q *quick) giveUp() {
	q.waits.Store(false)
	q.c.Release()
	q.begun = &begun{message: q.message, data: q.data, server: q.server, at: q.began, waited: q.waited}
	go q.proceed(q.fd)
}

// drop ends the session with a reset of both sides.
func (q *quick) drop() {
	q.waits.Store(false)
	q.c.Drop()
	q.s.forget(q.session)
}

// Ended is the engine's call when it closes.
func (q *quick) Ended(engine.End) {
	q.waits.Store(false)
	q.s.forget(q.session)
}
