// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"time"

	"spillway/kernel"
	"spillway/linkmon"
	"spillway/mptcp"
	"spillway/policy"
)

// With policy.path_manager = "user" the plan is carried out on each connection by itself: what its class shall have on each link is
// compared with the subflows that the kernel shows, and commands follow. Pure, and without a picture of its own of the
// world: a lost event, or a command that failed, is seen at the next look.

// reach is what a connection shall have on one link.
type reach uint8

const (
	reachNone   reach = iota // no subflow: what is there goes
	reachSilent              // what is there falls silent; nothing new
	reachSpare               // a silent subflow
	reachCarry               // a subflow that carries
)

// The classes of policy.Class, as a size.
const steerClasses = int(policy.Unmetered) + 1

// steerLink is one link as a connection sees it.
type steerLink struct {
	addr4, addr6 netip.Addr
	index        int         // of the device
	id           [2][2]uint8 // address ids by family (IPv6: 1), the usual one and another for when the kernel has that for an earlier address
	dead         bool        // nothing can be told over it
	want         [steerClasses]reach
}

// A connection's class is in the mark of its sockets: the kernel copies it to each subflow, and a successor of the daemon reads it too.
const (
	markAny     = iota // interactive or bulk, by what it moves
	markBond           // rule "bond"
	markPrimary        // rule "primary"
	markNoLTE          // rule "no-lte"
	markCount
)

// classMark is the mark of the relay's connections with one of these.
func classMark(n kernel.Numbers, class int) uint32 { return n.MarkDial() | n.RuleMark(class) }

// steerLinks joins what was decided with what was sensed, for each link.
func steerLinks(n kernel.Numbers, plan *policy.Plan, views []pathView, links []linkmon.Link) []steerLink {
	out := make([]steerLink, len(links))
	for i := range out {
		l := &links[i]
		s := &out[i]
		s.index, s.dead = l.Index, views[i].dead
		if l.Route4 {
			s.addr4 = l.Addr4
		}
		if l.Route6 {
			s.addr6 = l.Addr6
		}
		for family := range s.id {
			s.id[family] = [2]uint8{n.EndpointID(i, family == 1), n.EndpointID(i+policy.MaxLinks, family == 1)}
		}
	}
	for class := range steerClasses {
		allowed := uint32(0)
		for _, i := range plan.Allowed(policy.Class(class)) {
			allowed |= 1 << i
		}
		for i := range out {
			out[i].want[class] = reachOf(policy.Class(class), &plan.Links[i], views[i].plan, allowed>>i&1 != 0)
		}
	}
	return out
}

// reachOf is what a class shall have on a link. now is the link's state but for a moment: at rest, or to be ready as another is in doubt.
func reachOf(c policy.Class, l *policy.LinkPlan, now policy.State, allowed bool) reach {
	if c == policy.Pinned && l.Metered && l.Role != policy.First {
		allowed = false // in mode "bond" every link serves as a primary, but this rule is to save the metered ones
	}
	switch {
	case c == policy.Unmetered && l.Metered:
		return reachNone
	case allowed && (!l.Resting || c == policy.Bonded):
		return reachCarry
	case now == policy.Standby && !l.Draining && l.Role <= policy.Standby && c != policy.Pinned:
		return reachSpare
	case l.Role >= policy.Standby:
		return reachSilent
	}
	return reachNone
}

// steering is what is remembered of connections between two looks.
type steering struct {
	marks  [markCount]uint32
	mask   uint32 // the bits of a mark that tell ours
	conns  map[uint32]*steered
	looks  uint32
	bulk   int64     // octets from which on a connection is bulk
	haste  time.Time // until then somebody waits for what the next look shows
	orders []order
}

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

// order is one command about one connection.
type order struct {
	do       orderKind
	token    uint32
	link     int
	local    mptcp.Endpoint
	remote   netip.AddrPort
	backup   bool
	withdraw bool  // tell the peer over other subflows that the address is gone
	id       uint8 // which it knows by this number
}

type orderKind uint8

const (
	orderCreate orderKind = iota
	orderTell             // MP_PRIO
	orderDrop
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
	// lostFor is how long one is remembered that has lost its last subflow.
	lostFor = time.Minute
	// ordersMost are given at once: each is a call of the kernel, and links must be watched meanwhile.
	ordersMost = 256
	hasteFor   = time.Second
)

func newSteering(n kernel.Numbers) *steering {
	s := &steering{conns: map[uint32]*steered{}, mask: n.Mark, bulk: bulkKnown}
	for i := range s.marks {
		s.marks[i] = classMark(n, i)
	}
	return s
}

// ours tells a connection of the relay's, its predecessors' too, from another program's.
func (s *steering) ours(mark uint32) (class int, ours bool) {
	for i, m := range s.marks {
		if mark&s.mask == m {
			return i, true
		}
	}
	return 0, false
}

// hurried tells whether somebody waits for the next look.
func (s *steering) hurried(now time.Time) bool { return now.Before(s.haste) }

// step compares and gives orders, the most urgent first within a connection; fresh tells that the subflows were looked at anew. It notes
// in the subflows what it ordered.
func (s *steering) step(now time.Time, fresh bool, links []steerLink, subflows []mptcp.Subflow) []order {
	s.looks++
	s.orders = s.orders[:0]
	for i := range subflows {
		mark, ours := s.ours(subflows[i].Mark)
		if !ours {
			continue
		}
		token := subflows[i].Token
		c := s.conns[token]
		if c == nil || len(c.on) != len(links) {
			c = &steered{at: now, on: make([]steeredOn, len(links))}
			s.conns[token] = c
		}
		if c.look != s.looks {
			c.look, c.flows = s.looks, c.flows[:0]
		}
		c.mark = mark
		c.flows = append(c.flows, i)
	}
	for i := range subflows {
		if c := s.conns[subflows[i].Token]; c != nil && c.look == s.looks && len(c.flows) > 0 && c.flows[0] == i {
			if len(s.orders) >= ordersMost {
				s.haste = now.Add(hasteFor)
				break
			}
			s.connection(now, fresh, subflows[i].Token, c, links, subflows)
		}
	}
	for token, c := range s.conns {
		switch {
		case c.look == s.looks:
		case c.lost.IsZero() || now.Sub(c.lost) >= lostFor || len(c.on) != len(links):
			delete(s.conns, token)
		default:
			for l := range links {
				if links[l].reach(c) >= reachSpare {
					s.create(now, token, c, l, &links[l])
				}
			}
		}
	}
	return s.orders
}

// reach is what a connection shall have on the link.
func (l *steerLink) reach(c *steered) reach {
	if l.dead {
		return reachNone
	}
	class := policy.Interactive
	switch {
	case c.mark == markBond:
		class = policy.Bonded
	case c.mark == markPrimary:
		class = policy.Pinned
	case c.mark == markNoLTE:
		class = policy.Unmetered
	case c.bulk:
		class = policy.Bulk
	}
	return l.want[class]
}

// lost notes that a living connection lost a subflow, and tells whether it is ours.
func (s *steering) lost(now time.Time, token uint32) bool {
	c := s.conns[token]
	if c != nil {
		c.lost = now
	}
	return c != nil
}

// failed notes that an order was refused.
func (s *steering) failed(now time.Time, o *order) {
	c := s.conns[o.token]
	switch {
	case c == nil || o.do != orderCreate:
	case c.look != s.looks:
		delete(s.conns, o.token) // it has ended
	default:
		m := &c.on[o.link]
		if m.other ^= 1; m.tries&1 == 1 {
			m.create = now
		}
	}
}

// octets are those that a subflow has moved.
func octets(f *mptcp.Subflow) uint64 { return f.TCP.BytesReceived + f.TCP.BytesAcked }

// connection compares one connection.
func (s *steering) connection(now time.Time, fresh bool, token uint32, c *steered, links []steerLink, subflows []mptcp.Subflow) {
	var on [policy.MaxLinks]*mptcp.Subflow
	var strays []*mptcp.Subflow // their address is gone
	var moved, received uint64
	ready := false
	staying, working := 0, 0 // established: where the plan wants them, where the link works
	for _, i := range c.flows {
		f := &subflows[i]
		if f.Fallback {
			return // plain TCP has no other way
		}
		if !alive(f.TCP.State) {
			continue
		}
		moved, received = moved+octets(f), received+f.TCP.BytesReceived
		up := f.Established && f.TCP.State == 1
		if up || !c.remote.IsValid() {
			c.remote = f.Remote
		}
		ready = ready || up
		l := linkAt(links, f.Local.Addr())
		if l < 0 {
			strays = append(strays, f)
			continue
		}
		if on[l] == nil || up {
			on[l] = f
		}
		if up && !links[l].dead {
			working++
		}
	}
	c.lost = time.Time{}
	if fresh {
		c.weigh(now, s.bulk, moved)
	}
	if !ready {
		return // its handshake is under way, or it ends
	}
	for l := range links {
		if f := on[l]; f != nil && f.Established && f.TCP.State == 1 && links[l].reach(c) >= reachSilent {
			staying++
		}
	}
	for l := range links {
		link, f, m := &links[l], on[l], &c.on[l]
		want := link.reach(c)
		if f == nil {
			if m.gone = (time.Time{}); want >= reachSpare {
				s.create(now, token, c, l, link)
				if working == 0 {
					s.haste = now.Add(hasteFor)
				}
			}
			continue
		}
		m.follow(now, fresh, f)
		switch {
		case want != reachNone:
			m.gone = time.Time{}
			s.tell(now, token, l, m, f, want != reachCarry, staying > 1, received)
		case link.dead && working > 0:
			s.drop(now, token, c, l, f, subflows, true)
		case link.dead:
			// The connection waits here for whatever joins first.
		default:
			s.leave(now, token, c, l, f, subflows, staying > 0, received)
		}
	}
	for _, f := range strays {
		if working > 0 {
			s.drop(now, token, c, -1, f, subflows, true)
		}
	}
}

// linkAt is the link with this address; -1: none.
func linkAt(links []steerLink, a netip.Addr) int {
	for i := range links {
		if links[i].addr4 == a || links[i].addr6 == a {
			return i
		}
	}
	return -1
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
	if !f.Established || f.TCP.State != 1 {
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
