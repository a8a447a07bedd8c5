// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"spillway/kernel"
	"spillway/linkmon"
	"spillway/mptcp"
	"spillway/policy"
)

// model is a kernel with connections that obeys orders, as far as it is told to.
type model struct {
	n        kernel.Numbers
	now      time.Time
	links    []steerLink
	subflows []mptcp.Subflow
	s        *steering
	port     uint16
	refuse   bool                       // orders fail
	given    map[string]time.Time       // creations by connection and link
	failed   map[string]int             // ... that were refused
	leaving  map[uint16]time.Time       // since when a subflow has not been wanted, by port
	flags    map[uint16]map[bool]uint64 // MP_PRIO by port
}

const modelLinks = 3

var remote4 = netip.MustParseAddrPort("198.51.100.10:5124")

func newModel() *model {
	n := kernel.Usual()
	m := &model{n: n, now: time.Unix(1e9, 0), s: newSteering(n), port: 1000, given: map[string]time.Time{}, failed: map[string]int{},
		leaving: map[uint16]time.Time{}, flags: map[uint16]map[bool]uint64{}}
	for i := range modelLinks {
		m.links = append(m.links, steerLink{addr4: netip.AddrFrom4([4]byte{10, 0, byte(i), 1}), index: 10 + i,
			id: [2][2]uint8{{n.EndpointID(i, false), n.EndpointID(i+policy.MaxLinks, false)}}})
	}
	return m
}

// all sets what every class shall have.
func (m *model) all(want ...reach) {
	for i, r := range want {
		for class := range m.links[i].want {
			m.links[i].want[class] = r
		}
	}
}

// join adds a subflow that is established.
func (m *model) join(token uint32, link int, mark uint32, first bool) *mptcp.Subflow {
	m.port++
	f := mptcp.Subflow{Token: token, Local: netip.AddrPortFrom(m.links[link].addr4, m.port), Remote: remote4, Established: true, Join: !first, Mark: mark}
	f.TCP.State = 1
	if !first {
		f.LocalID = m.links[link].id[0][0]
	}
	m.subflows = append(m.subflows, f)
	return &m.subflows[len(m.subflows)-1]
}

func (m *model) open(token uint32, link, class int) *mptcp.Subflow {
	return m.join(token, link, classMark(m.n, class), true)
}

// on are a connection's live subflows on a link.
func (m *model) on(token uint32, link int) (out []*mptcp.Subflow) {
	for i := range m.subflows {
		f := &m.subflows[i]
		if f.Token == token && alive(f.TCP.State) && f.Local.Addr() == m.links[link].addr4 {
			out = append(out, f)
		}
	}
	return out
}

// step looks, checks the laws, and obeys. It returns the orders.
func (m *model) step(t *testing.T, after time.Duration) []order {
	t.Helper()
	m.now = m.now.Add(after)
	shown := append([]mptcp.Subflow{}, m.subflows...)
	orders := append([]order{}, m.s.step(m.now, true, m.links, shown)...)
	for i := range m.subflows {
		f := &m.subflows[i]
		port := f.Local.Port()
		l := linkAt(m.links, f.Local.Addr())
		c := m.s.conns[f.Token]
		if l >= 0 && c != nil && m.links[l].reach(c) == reachNone && !m.links[l].dead {
			if m.leaving[port].IsZero() {
				m.leaving[port] = m.now
			}
		} else {
			delete(m.leaving, port)
		}
	}
	for i := range orders {
		if m.s.conns[orders[i].token] == nil {
			t.Fatalf("%+v: about nothing that is known", orders[i])
		}
	}
	for i := range orders {
		if m.s.conns[orders[i].token] == nil {
			continue // of one that had lost its last subflow an order before was refused: it has ended, and this is refused as well
		}
		m.law(t, &orders[i])
		if m.refuse {
			m.s.failed(m.now, &orders[i])
			m.failed[key(&orders[i])]++
			continue
		}
		m.obey(&orders[i])
	}
	return orders
}

func key(o *order) string { return fmt.Sprint(o.token, " ", o.link) }

// law checks one order against the world at the moment it is given.
func (m *model) law(t *testing.T, o *order) {
	t.Helper()
	var subject *mptcp.Subflow
	plain, ours, working := false, false, 0
	for i := range m.subflows {
		f := &m.subflows[i]
		if f.Token != o.token {
			continue
		}
		_, is := m.s.ours(f.Mark)
		ours, plain = ours || is, plain || f.Fallback
		if !alive(f.TCP.State) {
			continue
		}
		if f.Local == netip.AddrPortFrom(o.local.Addr, o.local.Port) {
			subject = f
		} else if l := linkAt(m.links, f.Local.Addr()); l >= 0 && !m.links[l].dead && f.Established {
			working++
		}
	}
	c := m.s.conns[o.token]
	switch {
	case plain:
		t.Fatalf("%+v: the connection is plain TCP", o)
	case !ours && c.lost.IsZero():
		t.Fatalf("%+v: the connection is another program's", o)
	case o.do != orderCreate && subject == nil:
		t.Fatalf("%+v: there is no such subflow", o)
	}
	switch o.do {
	case orderCreate:
		link := &m.links[o.link]
		if link.dead || link.reach(c) < reachSpare || len(m.on(o.token, o.link)) > 0 {
			t.Fatalf("%+v: dead %v, wanted %v, %d there", o, link.dead, link.reach(c), len(m.on(o.token, o.link)))
		}
		if o.local.ID == 0 || o.local.Addr != link.addr4 || o.local.IfIndex != link.index || !o.remote.IsValid() || (o.local.Flags != 0) != (link.reach(c) == reachSpare) {
			t.Fatalf("%+v: not as the link %+v wants it", o, link)
		}
		if last, again := m.given[key(o)]; again && m.now.Sub(last) < retryFirst && m.failed[key(o)] == 0 {
			t.Fatalf("%+v: again after %v", o, m.now.Sub(last))
		}
		m.given[key(o)] = m.now
	case orderTell:
		if o.link < 0 || m.links[o.link].dead || o.backup == (m.links[o.link].reach(c) == reachCarry) {
			t.Fatalf("%+v: wanted %v", o, m.links[o.link].reach(c))
		}
	case orderDrop:
		if o.link >= 0 && m.links[o.link].reach(c) != reachNone {
			t.Fatalf("%+v: it is wanted", o)
		}
		if dead := o.link < 0 || m.links[o.link].dead; working == 0 && (dead || m.now.Sub(m.leaving[o.local.Port]) < leaveMost) {
			t.Fatalf("%+v: it is the last one", o)
		}
	}
}

// obey does what the kernel would.
func (m *model) obey(o *order) {
	if o.do == orderCreate {
		f := m.join(o.token, o.link, m.s.marks[m.s.conns[o.token].mark], false)
		f.Backup, f.LocalID = o.local.Flags != 0, o.local.ID
		return
	}
	for i := range m.subflows {
		if f := &m.subflows[i]; f.Token == o.token && f.Local.Port() == o.local.Port {
			if o.do == orderDrop {
				m.subflows = append(m.subflows[:i], m.subflows[i+1:]...)
				return
			}
			f.Backup = o.backup
			if m.flags[o.local.Port] == nil {
				m.flags[o.local.Port] = map[bool]uint64{}
			}
			m.flags[o.local.Port][o.backup]++
		}
	}
}

// looks takes n steps, a look apart.
func (m *model) looks(t *testing.T, n int) {
	t.Helper()
	for range n {
		m.step(t, look)
	}
}

func (m *model) expect(t *testing.T, token uint32, want ...string) {
	t.Helper()
	for link, w := range want {
		got := "none"
		switch on := m.on(token, link); {
		case len(on) > 1:
			got = "several"
		case len(on) == 1 && on[0].Backup:
			got = "silent"
		case len(on) == 1:
			got = "carries"
		}
		if got != w {
			t.Errorf("connection %d on link %d: %s, want %s", token, link, got, w)
		}
	}
}

const look = 50 * time.Millisecond

func TestBulkOverflowsAndShortStays(t *testing.T) {
	m := newModel()
	m.all(reachCarry, reachNone, reachNone)
	m.links[1].want[policy.Interactive] = reachSilent
	m.links[1].want[policy.Bulk] = reachCarry
	m.open(1, 0, markAny)
	m.open(2, 0, markAny)
	for range 20 {
		m.on(1, 0)[0].TCP.BytesReceived += 100_000
		m.on(2, 0)[0].TCP.BytesReceived += 300
		m.step(t, look)
	}
	m.expect(t, 1, "carries", "carries", "none")
	m.expect(t, 2, "carries", "none", "none")
	for range 80 { // a minute of silence: it is no bulk any more
		m.step(t, time.Second)
	}
	m.expect(t, 1, "carries", "silent", "none")
	m.links[1].want[policy.Interactive], m.links[1].want[policy.Bulk] = reachNone, reachNone
	m.looks(t, 20)
	m.expect(t, 1, "carries", "none", "none")
}

func TestDeadLinkIsLeftOnceAnotherJoined(t *testing.T) {
	m := newModel()
	m.all(reachCarry, reachNone, reachNone)
	m.open(1, 0, markAny)
	m.step(t, look)
	m.all(reachNone, reachCarry, reachNone)
	m.links[0].dead = true
	if orders := m.step(t, look); len(orders) != 1 || orders[0].do != orderCreate || !m.s.hurried(m.now) {
		t.Fatalf("orders = %+v, hurried %v: one is wanted, in haste", orders, m.s.hurried(m.now))
	}
	orders := m.step(t, look)
	if len(orders) != 1 || orders[0].do != orderDrop || !orders[0].withdraw || orders[0].id != 0 {
		t.Fatalf("orders = %+v: the dead one should go, and the peer be told of its id 0", orders)
	}
	m.expect(t, 1, "none", "carries", "none")
	m.links[0].dead = false
	m.all(reachCarry, reachNone, reachNone)
	m.looks(t, 40)
	m.expect(t, 1, "carries", "none", "none")
}

func TestPlainAndForeignAreLeftAlone(t *testing.T) {
	m := newModel()
	m.all(reachNone, reachCarry, reachCarry)
	m.links[0].dead = true
	m.open(1, 0, markAny).Fallback = true
	m.join(2, 0, 0, true)
	m.join(3, 0, 0x00ff0000, true)
	m.join(4, 1, m.n.MarkLocal()|m.n.MarkDial(), true)
	for range 20 {
		if orders := m.step(t, look); len(orders) > 0 {
			t.Fatalf("orders = %+v", orders)
		}
	}
}

func TestRetriesBackOff(t *testing.T) {
	m := newModel()
	m.refuse = true
	m.all(reachCarry, reachCarry, reachNone)
	m.open(1, 0, markAny)
	orders := 0
	for range 2400 { // two minutes
		orders += len(m.step(t, look))
	}
	if orders < 6 || orders > 16 {
		t.Errorf("%d orders in two minutes of refusals: 6 to 16 wanted", orders)
	}
	ids := map[uint8]bool{}
	m.refuse = false
	for range 1400 {
		for _, o := range m.step(t, look) {
			ids[o.local.ID] = true
		}
	}
	if m.expect(t, 1, "carries", "carries", "none"); len(ids) != 1 {
		t.Errorf("ids %v: one subflow was missing", ids)
	}
}

// The kernel may know an id for an address that the link had before.
func TestRefusedIDIsReplacedAtOnce(t *testing.T) {
	m := newModel()
	m.all(reachCarry, reachCarry, reachNone)
	m.open(1, 0, markAny)
	m.refuse = true
	first := m.step(t, look)
	m.refuse = false
	second := m.step(t, look)
	if len(first) != 1 || len(second) != 1 || first[0].local.ID == second[0].local.ID {
		t.Errorf("orders %+v, then %+v: the same with another id is wanted", first, second)
	}
}

func TestLostPriorityIsRepeated(t *testing.T) {
	m := newModel()
	m.all(reachCarry, reachCarry, reachNone)
	m.open(1, 0, markAny)
	m.step(t, look)
	m.step(t, look)
	m.expect(t, 1, "carries", "carries", "none")
	m.all(reachCarry, reachSilent, reachNone)
	port := m.on(1, 1)[0].Local.Port()
	for i := range 200 { // the peer has not heard: it goes on
		if i < 100 {
			m.on(1, 1)[0].TCP.BytesReceived += 20_000
		}
		m.step(t, look)
	}
	if n := m.flags[port][true]; n < 2 || n > checkMost+1 {
		t.Errorf("told %d times to be silent, want 2 to %d", n, checkMost+1)
	}
	m.all(reachCarry, reachCarry, reachNone)
	for range 200 {
		m.on(1, 0)[0].TCP.BytesReceived += 20_000
		m.step(t, look)
	}
	if n := m.flags[port][false]; n < 2 || n > checkMost+1 {
		t.Errorf("told %d times to carry, want 2 to %d", n, checkMost+1)
	}
}

func TestLastSubflowIsMadeAnew(t *testing.T) {
	m := newModel()
	m.all(reachCarry, reachNone, reachNone)
	m.open(1, 0, markAny)
	m.open(2, 0, markAny)
	m.step(t, look)
	m.subflows = nil // both are gone; of one it was told that it lives on
	if !m.s.lost(m.now, 1) || m.s.lost(m.now, 77) {
		t.Fatal("connection 1 is known, 77 is not")
	}
	m.step(t, look)
	m.expect(t, 1, "carries", "none", "none")
	m.expect(t, 2, "none", "none", "none")
	if len(m.s.conns) != 1 {
		t.Errorf("%d connections are remembered", len(m.s.conns))
	}
}

func TestReachOfClasses(t *testing.T) {
	n := kernel.Usual()
	dsl := policy.LinkPlan{Role: policy.First, Available: true, Primary: true}
	lte := policy.LinkPlan{Role: policy.Active, Available: true, Metered: true}
	links := []linkmon.Link{{Addr4: netip.MustParseAddr("10.0.0.1"), Route4: true}, {Addr4: netip.MustParseAddr("10.0.1.1"), Route4: true}}
	of := func(lte policy.LinkPlan) (out [steerClasses]reach) {
		plan := policy.Plan{Links: []policy.LinkPlan{dsl, lte}}
		views := []pathView{{plan: dsl.Role}, {plan: lte.Role}}
		if lte.Resting {
			views[1].plan = policy.Standby
		}
		got := steerLinks(n, &plan, views, links)
		for class, r := range got[0].want {
			if r != reachCarry {
				t.Errorf("class %d on the first link: %v", class, r)
			}
		}
		return got[1].want
	}
	resting, spare, draining, off, shut := lte, lte, lte, lte, lte
	resting.Resting = true
	spare.Role, draining.Role, off.Role, shut.Role = policy.Standby, policy.Standby, policy.Off, policy.Off
	draining.Draining, shut.Available = true, false
	for _, x := range []struct {
		what string
		lte  policy.LinkPlan
		want [steerClasses]reach // interactive, bulk, pinned, bonded, unmetered
	}{
		{"overflow", lte, [...]reach{reachSilent, reachCarry, reachSilent, reachCarry, reachNone}},
		{"rests", resting, [...]reach{reachSilent, reachSilent, reachSilent, reachCarry, reachNone}},
		{"stands by", spare, [...]reach{reachSpare, reachSpare, reachSilent, reachCarry, reachNone}},
		{"empties", draining, [...]reach{reachSilent, reachSilent, reachSilent, reachCarry, reachNone}},
		{"off", off, [...]reach{reachNone, reachNone, reachNone, reachCarry, reachNone}},
		{"must not", shut, [steerClasses]reach{}},
	} {
		if got := of(x.lte); got != x.want {
			t.Errorf("%s: %v, want %v", x.what, got, x.want)
		}
	}
}

// FuzzSteering plays what the bytes say, holds the laws at each order, and wants it to settle on what is wanted once the world is calm.
func FuzzSteering(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Add([]byte{0x00, 0x11, 0x52, 0x93, 0x04, 0x24, 0x44, 0x05, 0x06, 0x17, 0x08, 0x09, 0x0a, 0xfb})
	f.Add([]byte("dsl falls, lte carries, dsl returns, and all that again"))
	f.Add([]byte("\x00\x117ZCCC#7789080")) // without a subflow, and refused on two links in one step
	f.Fuzz(func(t *testing.T, b []byte) {
		m := newModel()
		m.all(reachCarry, reachNone, reachNone)
		tokens := uint32(0)
		for _, x := range b[:min(len(b), 200)] {
			arg := int(x >> 4)
			link := arg % modelLinks
			switch x & 15 {
			case 0, 1:
				tokens++
				m.open(tokens, link, arg%markCount)
			case 2:
				m.links[link].dead = !m.links[link].dead
			case 3, 4:
				for class := range m.links[link].want {
					m.links[link].want[class] = reach(arg+class) % (reachCarry + 1)
				}
			case 5:
				m.all(reachCarry, reach(arg&3), reach(arg>>2))
			case 6, 7:
				for i := range m.subflows {
					m.subflows[i].TCP.BytesReceived += uint64(arg) << 14
				}
			case 8:
				if len(m.subflows) > 0 { // the peer resets one
					gone := m.subflows[arg%len(m.subflows)]
					m.subflows = append(m.subflows[:arg%len(m.subflows)], m.subflows[arg%len(m.subflows)+1:]...)
					m.s.lost(m.now, gone.Token)
				}
			case 9:
				m.refuse = !m.refuse
			case 10: // another address
				m.links[link].addr4 = netip.AddrFrom4([4]byte{10, byte(1 + arg), byte(link), 1})
			case 11:
				if len(m.subflows) > 0 {
					m.subflows[arg%len(m.subflows)].Established = arg&1 == 0
				}
			case 12:
				m.join(90000+tokens, link, 0, true)
			default:
				m.step(t, time.Duration(1+arg)*look)
			}
			m.step(t, look)
		}
		m.refuse = false
		for i := range m.links {
			m.links[i].dead = false
		}
		for i := range m.subflows {
			m.subflows[i].Established = true
		}
		m.all(reachCarry, reachSpare, reachNone)
		for range 130 {
			m.step(t, time.Second)
		}
		for token, c := range m.s.conns {
			if c.look == m.s.looks {
				m.expect(t, token, "carries", "silent", "none")
			}
		}
		for range 20 {
			if orders := m.step(t, time.Second); len(orders) > 0 {
				t.Fatalf("not calm: %+v", orders)
			}
		}
	})
}

// 1,000 connections at rest, and one step when the plan changes.
func BenchmarkSteering(b *testing.B) {
	m := newModel()
	m.all(reachCarry, reachNone, reachNone)
	for i := range 1000 {
		m.open(uint32(i+1), 0, markAny)
	}
	m.s.step(m.now, true, m.links, m.subflows)
	b.ReportAllocs()
	for b.Loop() {
		m.now = m.now.Add(look)
		m.s.step(m.now, true, m.links, m.subflows)
	}
}
