// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"spillway/convert"
	"spillway/mptcp"
	"spillway/relay/engine"
)

// The lane is the short way of a connection, from the door to being copied without leaving the engine's loop: no goroutine, no
// hand-over, no timer. It is for what happens most: a converter that says yes within 200 ms. Whatever else comes, an error, a
// refusal, silence, is left unread in the socket, and a goroutine takes both sockets over and goes on as if it had been there
// from the beginning (session.carryOn).

// mostAnswer is what is read at once of a converter's answer and what the server has said already, octets.
const mostAnswer = 32 << 10

// quick is a connection on the lane.
type quick struct {
	session
	p     path
	c     *engine.Conn
	fd    int    // towards the LAN host
	up    int    // towards the converter
	hello []byte // the opening, then the LAN host's first octets
	head  int    // octets of the opening
	said  int    // octets of hello that the converter's socket has taken
	began time.Time
	open  bool // the handshake is complete
	fast  bool // the opening left in the SYN. The LAN host's octets never do, see session.converse
	dry   bool // the LAN host's socket was emptied, see engine.Start
}

// begun is what a goroutine finds of a connection that the lane gave up.
type begun struct {
	p     path
	up    *net.TCPConn
	rest  []byte // what is still to be said
	began time.Time
	fast  bool
	heard []byte // of the upstream's answer
	sent  bool   // the upstream may have octets of the LAN host
	hears bool   // some of them are in rest
}

// arrive is called by a loop for each connection to the door.
func (r *Relay) arrive(a engine.Arrival) {
	if a.Err != nil {
		r.log.Debug("relay: accept", "err", a.Err)
		if ranOut(a.Err) {
			go r.runOut(a.Err) // the door's lock may be held by one who waits for this listener
		}
		return
	}
	if r.welcome(a, engine.LocalAddr(a.FD))%spareEvery == 0 {
		r.weigh(a.Waiting())
	}
	if most := r.settings.Load().MaxSessions; r.guests.total() > most/2 {
		if n := a.Waiting(); r.guests.crowded(n, most) {
			r.log.Warn("relay: full, new connections are forwarded natively", "sessions", r.guests.total(), "waiting", n)
			go r.changed()
		}
	}
	if r.guests.full.Load() || r.door.tight.Load() {
		r.sayFull()
	}
}

// welcome counts a connection to dst in and serves it. It returns which one it was, of all since the start.
func (r *Relay) welcome(a engine.Arrival, dst netip.AddrPort) (nth int64) {
	nth = r.count.accepted.Add(1)
	if r.guests.enter(r.settings.Load().MaxSessions) {
		r.count.fullTimes.Add(1)
		r.log.Warn("relay: full, new connections are forwarded natively", "sessions", r.guests.total())
		go r.changed() // not here: door.mu may be held
	}
	q := &quick{session: session{r: r, set: r.settings.Load(), src: a.From, dst: dst}, fd: a.FD} // in one, for the garbage's sake
	s := &q.session
	if len(s.set.Rules) > 0 {
		s.follow(takeMark(a.FD))
	}
	held := r.knocks.claim(s.src, dst)
	if !s.admit() {
		if held != nil {
			go held.discard() // which may wait, as no loop may
		}
		engine.Reset(a.FD)
		r.farewell()
		return
	}
	if held == nil && a.InLoop() && q.onLane(a) {
		return
	}
	go s.proceed(a.FD, held)
	return
}

// onLane begins the connection, and tells whether it could. Otherwise nobody was asked.
func (q *quick) onLane(a engine.Arrival) bool {
	s := &q.session
	links := s.r.plan.Load().links(s.act)
	ups := s.set.order()
	if len(links) == 0 || len(ups) == 0 || s.set.Warm > 0 || s.set.Race == "always" {
		return false
	}
	u := ups[0]
	bypass := s.set.NativeBypass && s.act == Bond
	if u.Protocol != Convert || u.inQuestion() || bypass && s.r.native.knows(s.dst, time.Now()) {
		return false
	}
	q.p, q.began = s.choose(u, u.clean(links)[0]), time.Now()
	if !s.set.IgnoreDSCP {
		q.dscp = savedDSCP(a.FD)
	}
	q.ask = bypass
	var err error
	var local netip.Addr
	var ok bool
	q.cookie = u.theCookie()
	if q.hello, _, err = u.opening(s.dst, q.ask); err != nil {
		return false
	}
	if q.p.addr, local, ok = u.pick(q.p.link); !ok {
		return false
	}
	q.head = len(q.hello)
	q.hear(a.Read)
	q.fast = q.fastOpen(q.p)
	q.up, q.said, err = mptcp.Start(q.p.addr, q.options(q.p, local, q.fast), q.hello[:q.head])
	if err == mptcp.ErrFallback {
		q.noToken(&q.p) // so no MPTCP socket that is none, see engine.Pair.Fell
		q.up, q.said, err = mptcp.Start(q.p.addr, q.options(q.p, local, q.fast), q.hello[:q.head])
	}
	if err != nil {
		s.early.b = q.hello[q.head:]
		return false // the goroutine will see the same, and knows what to do
	}
	if q.c, err = a.Open(q.up, q, false); err != nil {
		engine.Reset(q.up) // the engine closes, or is out of memory
		engine.Reset(q.fd)
		q.gone()
		return true
	}
	return true
}

// Event is the engine's call.
func (q *quick) Event(side int, events uint32) {
	const failed = unix.EPOLLERR | unix.EPOLLHUP
	switch {
	case side == 0 && events&failed != 0: // the LAN host has reset it
		q.c.Drop()
		q.gone()
	case side == 0:
		q.hear(func(most int) ([]byte, error) { return q.c.Read(0, most) })
		q.say()
	case events&failed != 0:
		q.giveUp(nil)
	default:
		if !q.open && events&(unix.EPOLLOUT|unix.EPOLLIN) != 0 {
			q.open = true
			q.c.Hush(1)
		}
		if !q.say() {
			return
		}
		if events&(unix.EPOLLIN|unix.EPOLLRDHUP) != 0 {
			q.answered()
		}
	}
}

// hear reads with read what the LAN host has sent so far. Its end, and what is too much, is read by the engine later.
func (q *quick) hear(read func(most int) ([]byte, error)) {
	q.dry = false
	for room := mostEarly - (len(q.hello) - q.head); room > 0; {
		b, err := read(room)
		if len(b) == 0 || err != nil {
			q.dry = err == unix.EAGAIN
			return
		}
		q.hello = append(q.hello, b...)
		if q.dry = len(b) < room; q.dry { // edge-triggered: what comes later, or more than there is room for, is told or read at the end
			return
		}
		room -= len(b)
	}
}

// say sends what was heard on to the converter, once the handshake is complete; false when that has failed, and the goroutine looks why.
func (q *quick) say() bool {
	for q.open && q.said < len(q.hello) {
		n, err := q.c.Write(1, q.hello[q.said:])
		if err == unix.EAGAIN || err == unix.EINPROGRESS {
			q.c.Want(1)
			return true
		}
		if err != nil {
			q.giveUp(nil)
			return false
		}
		q.said += n
	}
	return true
}

// answered reads the converter's answer, and with it what the server has said already.
func (q *quick) answered() {
	b, err := q.c.Read(1, mostAnswer)
	if err == unix.EAGAIN {
		return
	}
	m, used, perr := convert.Parse(b)
	if err != nil || perr != nil || m.Error != nil {
		q.giveUp(b)
		return
	}
	if convert.MPTCPCapable(m.ExtendedHeader) {
		q.r.native.learn(q.dst, time.Now().Add(q.set.NativeLife))
	}
	now := time.Now()
	if q.fast && q.p.u.trusts(q.p.link.Name, now) {
		q.r.count.fastOpen(mptcp.Outcome{SYNDataAcked: true, MPTCP: true})
	} else if q.fast {
		if o, err := mptcp.InspectFD(q.up); err == nil {
			q.judge(o, q.p)
		}
	}
	q.p.u.answered(now.Sub(q.began))
	q.p.u.good()
	q.begin(b[used:], len(b) < mostAnswer)
}

// begin has the engine copy, what the server has said first. dry: the converter's socket was emptied.
func (q *quick) begin(said []byte, dry bool) {
	f := q.flow(q.p, q.said-q.head)
	f.conn.Store(q.c)
	q.r.flows.add(f)
	q.r.count.relayed.Add(1)
	pair := q.pair(f)
	pair.Fell = q.fellBack(q.up, q.p)
	q.c.Begin(pair, engine.Start{Up: q.hello[q.said:], Down: said, Drained: [2]bool{q.dry, dry}}, q.plainTCP(q.p))
}

// giveUp leaves the lane. heard was read of the upstream.
func (q *quick) giveUp(heard []byte) {
	q.c.Release()
	s := &q.session
	s.early.b = q.hello[q.head:]
	s.begun = &begun{p: q.p, rest: q.hello[q.said:], began: q.began, fast: q.fast, heard: slices.Clone(heard), sent: q.said > q.head, hears: q.said < len(q.hello)}
	up, err := engine.ConnOf(q.up)
	if err != nil {
		engine.Reset(q.fd)
		q.gone()
		return
	}
	s.begun.up = up
	go s.proceed(q.fd, nil)
}

// Late is the engine's call after 200 ms.
func (q *quick) Late() { q.giveUp(nil) }

// Soon is for those who call Conn.Soon.
func (q *quick) Soon() {}

// Ended is the engine's call when it closes.
func (q *quick) Ended(engine.End) { q.gone() }

// gone counts out what never came to be copied.
func (q *quick) gone() {
	q.r.guests.rise(q.src.Addr())
	q.r.farewell()
}
