// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"time"

	"spillway/mptcp"
	"spillway/policy"
)

const (
	// A connection is bulk once it has moved what the first link carries in half a second, between bulkLeast and bulkMost octets. A
	// bulkFade-th of that is taken off each second, and it is bulk until nothing is left of twice as much. So pictures of a page are not
	// bulk, a film is, and what trickles for days is not.
	bulkLeast = 8 << 10
	bulkKnown = 64 << 10 // where the link's capacity is not known
	bulkMost  = 256 << 10
	bulkFade  = 32
	// A subflow is made again after retryFirst, then twice as long each time up to 1<<retryMost as long, until one has lasted.
	retryFirst = time.Second
	retryMost  = 6
	lasted     = 30 * time.Second
	// A subflow that a working link loses is empty when nothing has moved for emptyFor; it goes after emptyMost in any case.
	emptyFor  = 300 * time.Millisecond
	emptyMost = 5 * time.Second
	// MP_PRIO is a bare acknowledgement and is not repeated when lost. So after checkAfter its effect is looked at for checkFor.
	againAfter = 500 * time.Millisecond
	checkAfter = time.Second
	checkFor   = 500 * time.Millisecond
	checkMost  = 3
	silentMost = 8 << 10  // octets that a silent subflow may carry meanwhile
	movesMuch  = 64 << 10 // of a connection, of which a subflow that carries should have some
)

// steered is one connection.
type steered struct {
	look   uint32 // when it was seen last
	flows  []int  // of the look's subflows
	mark   int
	remote netip.AddrPort
	moved  uint64 // octets, of all subflows at the last look
	volume int64  // octets of late
	bulk   bool
	at     time.Time // of the last look
	lost   time.Time // when it lost a subflow; its end is told otherwise
	on     []steeredOn
}

// steeredOn is a connection on one link.
type steeredOn struct {
	port   uint16 // of the subflow, which tells it from its successor
	born   time.Time
	moved  uint64
	still  time.Time // since when nothing has moved
	gone   time.Time // since when it shall be none
	create time.Time // none is made before
	tries  uint8     // since one lasted
	other  uint8     // which of the link's ids: the kernel refuses the one it knows for another address
	told   bool      // the flag told last
	again  time.Time // it is not told again before
	check  time.Time // whether it had an effect
	sure   bool      // what was on its way has had its time
	base   uint64    // octets received then
	all    uint64    // ... by the whole connection
	resent uint8
}

// octets are those that a subflow has moved.
func octets(f *mptcp.Subflow) uint64 { return f.TCP.BytesReceived + f.TCP.BytesAcked }

// seen is what a look shows of one connection.
type seen struct {
	on              [policy.MaxLinks]*mptcp.Subflow
	strays          []*mptcp.Subflow // their address is gone
	moved, received uint64
	ready           bool // one is established
	working         int  // established where the link works
}

// gather takes a connection's subflows; false: it is plain TCP, which has no other way.
func (c *steered) gather(x *seen, links []steerLink, subflows []mptcp.Subflow) bool {
	for _, i := range c.flows {
		f := &subflows[i]
		if f.Fallback {
			return false
		}
		if !alive(f.TCP.State) {
			continue
		}
		x.moved, x.received = x.moved+octets(f), x.received+f.TCP.BytesReceived
		up := carries(f)
		if up || !c.remote.IsValid() {
			c.remote = f.Remote
		}
		x.ready = x.ready || up
		l := linkAt(links, f.Local.Addr())
		if l < 0 {
			x.strays = append(x.strays, f)
			continue
		}
		if x.on[l] == nil || up {
			x.on[l] = f
		}
		if up && !links[l].dead {
			x.working++
		}
	}
	return true
}

// carries tells whether a subflow is established, and neither end of it has been closed.
func carries(f *mptcp.Subflow) bool { return f.Established && f.TCP.State == 1 }

// connection compares one connection.
func (s *steering) connection(now time.Time, fresh bool, token uint32, c *steered, links []steerLink, subflows []mptcp.Subflow) {
	var x seen
	if !c.gather(&x, links, subflows) {
		return
	}
	c.lost = time.Time{}
	if fresh {
		c.weigh(now, s.bulk, x.moved)
	}
	if !x.ready {
		return // its handshake is under way, or it ends
	}
	staying := 0 // where the plan wants them
	for l := range links {
		if f := x.on[l]; f != nil && carries(f) && links[l].reach(c) >= reachSilent {
			staying++
		}
	}
	for l := range links {
		link, f, m := &links[l], x.on[l], &c.on[l]
		want := link.reach(c)
		if f == nil {
			if m.gone = (time.Time{}); want >= reachSpare {
				s.create(now, token, c, l, link)
				if x.working == 0 {
					s.haste = now.Add(hasteFor)
				}
			}
			continue
		}
		m.follow(now, fresh, f)
		switch {
		case want != reachNone:
			m.gone = time.Time{}
			s.tell(now, token, l, m, f, want != reachCarry, staying > 1, x.received)
		case link.dead && x.working > 0:
			s.drop(now, token, c, l, f, subflows, true)
		case link.dead:
			// The connection waits here for whatever joins first.
		default:
			s.leave(now, token, c, l, f, subflows, staying > 0, x.received)
		}
	}
	for _, f := range x.strays {
		if x.working > 0 {
			s.drop(now, token, c, -1, f, subflows, true)
		}
	}
}

// bulkFrom is from how many octets on a connection is bulk, on a link with these capacities in bit/s; 0: not known.
func bulkFrom(down, up float64) int64 {
	if down > 0 && (up <= 0 || down < up) {
		up = down
	}
	if up <= 0 {
		return bulkKnown
	}
	return min(max(int64(min(up, 1e9))/16, bulkLeast), bulkMost)
}

// weigh tells bulk from interactive by what moved since the last look.
func (c *steered) weigh(now time.Time, from int64, moved uint64) {
	if d := now.Sub(c.at).Milliseconds(); d > 0 {
		c.volume = max(0, c.volume-min(d, 1<<20)*from/1000/bulkFade)
	}
	if moved > c.moved {
		c.volume = min(2*from, c.volume+int64(min(moved-c.moved, bulkMost)))
	}
	c.moved, c.at = moved, now
	c.bulk = c.volume >= from || c.bulk && c.volume > 0
}

// follow brings what is remembered of a subflow up to date.
func (m *steeredOn) follow(now time.Time, fresh bool, f *mptcp.Subflow) {
	if m.port != f.Local.Port() {
		*m = steeredOn{port: f.Local.Port(), born: now, still: now, create: m.create, tries: m.tries, other: m.other}
	}
	if moved := octets(f); fresh && moved != m.moved {
		m.moved, m.still = moved, now
	}
	if f.Established && now.Sub(m.born) >= lasted {
		m.tries = 0
	}
}

// create orders a subflow, unless one was ordered of late.
func (s *steering) create(now time.Time, token uint32, c *steered, l int, link *steerLink) {
	m := &c.on[l]
	a, family := link.addr4, 0
	if c.remote.Addr().Is6() {
		a, family = link.addr6, 1
	}
	if now.Before(m.create) || !a.IsValid() || !c.remote.IsValid() {
		return
	}
	m.create = now.Add(retryFirst << min(m.tries, retryMost))
	m.tries = min(m.tries+1, 250)
	e := mptcp.Endpoint{ID: link.id[family][m.other], Addr: a, IfIndex: link.index}
	if link.reach(c) < reachCarry {
		e.Flags = mptcp.FlagBackup
	}
	s.orders = append(s.orders, order{do: orderCreate, token: token, link: l, local: e, remote: c.remote})
}

// tell makes a subflow silent or lets it carry, and repeats that while it has no effect. received is what the whole connection was sent.
func (s *steering) tell(now time.Time, token uint32, l int, m *steeredOn, f *mptcp.Subflow, silent, others bool, received uint64) {
	if !carries(f) {
		return
	}
	got := f.TCP.BytesReceived
	switch {
	case f.Backup != silent:
		if m.told == silent && now.Before(m.again) {
			return
		}
		m.resent = 0
	case m.check.IsZero() || now.Before(m.check):
		return
	case !m.sure: // what was on its way has arrived
		m.sure, m.base, m.all, m.check = true, got, received, now.Add(checkFor)
		return
	case silent && others && got > m.base+silentMost, !silent && got == m.base && received > m.all+movesMuch:
		if m.resent++; m.resent >= checkMost {
			m.check = time.Time{}
		}
	default:
		m.check = time.Time{}
		return
	}
	if m.resent < checkMost {
		m.check = now.Add(checkAfter)
	}
	f.Backup, m.told, m.sure, m.again = silent, silent, false, now.Add(againAfter)
	s.orders = append(s.orders, order{do: orderTell, token: token, link: l, local: at(f), remote: f.Remote, backup: silent})
}

// leave empties a subflow on a link that works, and then drops it. The last one a connection has stays for leaveMost.
func (s *steering) leave(now time.Time, token uint32, c *steered, l int, f *mptcp.Subflow, subflows []mptcp.Subflow, others bool, received uint64) {
	m := &c.on[l]
	if m.gone.IsZero() {
		m.gone = now
	}
	s.tell(now, token, l, m, f, true, others, received)
	waited := now.Sub(m.gone)
	empty := f.TCP.Unacked == 0 && f.TCP.NotSent == 0 && now.Sub(m.still) >= emptyFor
	if others && waited >= emptyFor && (empty || waited >= emptyMost) || waited >= leaveMost {
		s.drop(now, token, c, l, f, subflows, false)
	}
}

// drop orders the end of a subflow. The peer is told of the address unless another subflow goes by the same number.
func (s *steering) drop(now time.Time, token uint32, c *steered, l int, f *mptcp.Subflow, subflows []mptcp.Subflow, withdraw bool) {
	for _, i := range c.flows {
		if o := &subflows[i]; o != f && alive(o.TCP.State) && o.LocalID == f.LocalID {
			withdraw = false
		}
	}
	f.TCP.State = stateClosed
	s.orders = append(s.orders, order{do: orderDrop, token: token, link: l, local: at(f), remote: f.Remote, withdraw: withdraw, id: f.LocalID})
}

const stateClosed = 7 // TCP_CLOSE of include/net/tcp_states.h

// at is a subflow's own end.
func at(f *mptcp.Subflow) mptcp.Endpoint {
	return mptcp.Endpoint{Addr: f.Local.Addr(), Port: f.Local.Port()}
}
