// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"spillway/mptcp"
)

var (
	dsl  = netip.MustParseAddr("10.1.1.2")
	lte  = netip.MustParseAddr("10.2.2.2")
	lte6 = netip.MustParseAddr("2001:db8:2::2")
)

// two is a router with a DSL and an LTE link, LTE on standby.
func two() State {
	return State{
		Ruleset: Ruleset{Mark: "aaaa prerouting:9"},
		Routes: slices.Concat(Usual().LocalRoutes(false), []Route{
			Usual().LinkRoute(0, 3, netip.MustParseAddr("10.1.1.1"), dsl),
			Usual().LinkRoute(1, 4, netip.Addr{}, lte),
			Usual().LinkRoute(1, 4, netip.MustParseAddr("fe80::1"), lte6),
		}),
		Rules: slices.Concat(Usual().LocalRules([]string{"br-lan"}, false), Usual().LinkRules(0, dsl), Usual().LinkRules(1, lte), Usual().LinkRules(1, lte6)),
		Endpoints: []mptcp.Endpoint{
			{ID: Usual().EndpointID(0, false), Addr: dsl, IfIndex: 3, Flags: mptcp.FlagSubflow},
			{ID: Usual().EndpointID(1, false), Addr: lte, IfIndex: 4, Flags: mptcp.FlagSubflow | mptcp.FlagBackup},
		},
		Limits:  mptcp.Limits{Subflows: 8, AddAddrs: 0},
		Sysctls: map[string]string{"net/ipv4/conf/wwan0/rp_filter": "2"},
	}
}

func TestDiff(t *testing.T) {
	for _, tt := range []struct {
		name string
		from State
		edit func(*State) // of two(), the state wanted
		want string
	}{
		{"nothing to do", two(), func(*State) {}, ""},
		{"first start: what subflows need, then subflows, then LAN traffic", State{Sysctls: map[string]string{"net/ipv4/conf/wwan0/rp_filter": "0"}}, func(*State) {}, `
sysctl net/ipv4/conf/wwan0/rp_filter=2
ip mptcp limits set subflows 8 add_addr_accepted 0
ip route add local default dev 1 table 7700
ip route add default via 10.1.1.1 dev 3 src 10.1.1.2 table 7701 initrwnd 10 window 4194240
ip route add default dev 4 src 10.2.2.2 table 7702 initrwnd 10 window 4194240
ip -6 route add default via fe80::1 dev 4 src 2001:db8:2::2 table 7702 initrwnd 10 window 4194240
ip rule add pref 900 iif br-lan fwmark 0x10000000/0x10000000 lookup 7700
ip rule add pref 901 fwmark 0x10000000/0x10000000 lookup 254 suppress_prefixlength 0
ip rule add pref 910 from 10.1.1.2 lookup 254 suppress_prefixlength 0
ip rule add pref 911 from 10.1.1.2 lookup 7701
ip rule add pref 912 from 10.2.2.2 lookup 254 suppress_prefixlength 0
ip -6 rule add pref 912 from 2001:db8:2::2 lookup 254 suppress_prefixlength 0
ip rule add pref 913 from 10.2.2.2 lookup 7702
ip -6 rule add pref 913 from 2001:db8:2::2 lookup 7702
ip mptcp endpoint add 10.1.1.2 id 255 dev 3 subflow
ip mptcp endpoint add 10.2.2.2 id 253 dev 4 subflow backup
nft load table inet spillway (aaaa prerouting:9)
`},
		{"a sysctl whose device has not come yet", func() State { s := two(); s.Sysctls = nil; return s }(), func(*State) {}, ""},
		{"overflow: only the flag", two(), func(s *State) { s.Endpoints[1].Flags = mptcp.FlagSubflow }, `
ip mptcp endpoint change id 253 nobackup
`},
		{"failover: LTE carries before DSL goes", two(), func(s *State) {
			s.Endpoints = []mptcp.Endpoint{{ID: Usual().EndpointID(1, false), Addr: lte, IfIndex: 4, Flags: mptcp.FlagSubflow}}
			s.Routes = slices.Delete(s.Routes, 1, 2)
			s.Rules = slices.Delete(s.Rules, 2, 4)
		}, `
ip mptcp endpoint change id 253 nobackup
ip mptcp endpoint del id 255 10.1.1.2
ip rule del pref 910 from 10.1.1.2 lookup 254 suppress_prefixlength 0
ip rule del pref 911 from 10.1.1.2 lookup 7701
ip route del default via 10.1.1.1 dev 3 src 10.1.1.2 table 7701 initrwnd 10 window 4194240
`},
		{"failover with the door moving: nft last", two(), func(s *State) {
			s.Endpoints = s.Endpoints[1:]
			s.Ruleset.Mark = "bbbb prerouting:7"
		}, `
ip mptcp endpoint del id 255 10.1.1.2
nft load table inet spillway (bbbb prerouting:7)
`},
		{"swap of roles: promote, then demote", two(), func(s *State) {
			s.Endpoints[0].Flags |= mptcp.FlagBackup
			s.Endpoints[1].Flags = mptcp.FlagSubflow
		}, `
ip mptcp endpoint change id 253 nobackup
ip mptcp endpoint change id 255 backup
`},
		{"new address by DHCP: the id is free before it is used again", two(), func(s *State) {
			a := netip.MustParseAddr("10.1.1.77")
			s.Endpoints[0].Addr = a
			s.Routes[1].Src = a
			s.Rules[2].From, s.Rules[3].From = a, a
		}, `
ip route add default via 10.1.1.1 dev 3 src 10.1.1.77 table 7701 initrwnd 10 window 4194240
ip rule add pref 910 from 10.1.1.77 lookup 254 suppress_prefixlength 0
ip rule add pref 911 from 10.1.1.77 lookup 7701
ip mptcp endpoint del id 255 10.1.1.2
ip mptcp endpoint add 10.1.1.77 id 255 dev 3 subflow
ip rule del pref 910 from 10.1.1.2 lookup 254 suppress_prefixlength 0
ip rule del pref 911 from 10.1.1.2 lookup 7701
ip route del default via 10.1.1.1 dev 3 src 10.1.1.2 table 7701 initrwnd 10 window 4194240
`},
		{"links swapped their addresses", two(), func(s *State) {
			s.Endpoints[0].Addr, s.Endpoints[1].Addr = lte, dsl
		}, `
ip mptcp endpoint del id 255 10.1.1.2
ip mptcp endpoint del id 253 10.2.2.2
ip mptcp endpoint add 10.2.2.2 id 255 dev 3 subflow
ip mptcp endpoint add 10.1.1.2 id 253 dev 4 subflow backup
`},
		{"device re-created with another index", two(), func(s *State) { s.Endpoints[1].IfIndex = 9 }, `
ip mptcp endpoint del id 253 10.2.2.2
ip mptcp endpoint add 10.2.2.2 id 253 dev 9 subflow backup
`},
		{"door moved", two(), func(s *State) { s.Ruleset.Mark = "bbbb prerouting:9" }, `
nft load table inet spillway (bbbb prerouting:9)
`},
		{"stop: LAN traffic first, settings last", two(), func(s *State) {
			*s = State{Limits: mptcp.Limits{Subflows: 2}, Sysctls: map[string]string{"net/ipv4/conf/wwan0/rp_filter": "1"}}
		}, `
nft delete table inet spillway
ip mptcp endpoint del id 255 10.1.1.2
ip mptcp endpoint del id 253 10.2.2.2
ip rule del pref 900 iif br-lan fwmark 0x10000000/0x10000000 lookup 7700
ip rule del pref 901 fwmark 0x10000000/0x10000000 lookup 254 suppress_prefixlength 0
ip rule del pref 910 from 10.1.1.2 lookup 254 suppress_prefixlength 0
ip rule del pref 911 from 10.1.1.2 lookup 7701
ip rule del pref 912 from 10.2.2.2 lookup 254 suppress_prefixlength 0
ip -6 rule del pref 912 from 2001:db8:2::2 lookup 254 suppress_prefixlength 0
ip rule del pref 913 from 10.2.2.2 lookup 7702
ip -6 rule del pref 913 from 2001:db8:2::2 lookup 7702
ip route del local default dev 1 table 7700
ip route del default via 10.1.1.1 dev 3 src 10.1.1.2 table 7701 initrwnd 10 window 4194240
ip route del default dev 4 src 10.2.2.2 table 7702 initrwnd 10 window 4194240
ip -6 route del default via fe80::1 dev 4 src 2001:db8:2::2 table 7702 initrwnd 10 window 4194240
sysctl net/ipv4/conf/wwan0/rp_filter=1
ip mptcp limits set subflows 2 add_addr_accepted 0
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := two()
			tt.edit(&want)
			if got := lines(Diff(tt.from, want)); got != strings.TrimPrefix(tt.want, "\n") {
				t.Errorf("got:\n%s\nwant:\n%s", got, tt.want)
			}
		})
	}
}

func TestStatePrints(t *testing.T) {
	s := State{Routes: Usual().LocalRoutes(true), Rules: Usual().LinkRules(0, dsl), Sysctls: map[string]string{"net/a": ""}}
	want := `ip route local default dev 1 table 7700
ip -6 route local default dev 1 table 7700
ip rule pref 910 from 10.1.1.2 lookup 254 suppress_prefixlength 0
ip rule pref 911 from 10.1.1.2 lookup 7701
sysctl net/a=
`
	if got := s.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func lines(ops []Op) string {
	var b strings.Builder
	for _, op := range ops {
		fmt.Fprintln(&b, op)
	}
	return b.String()
}

// perform is a kernel made of a value, with the kernel's refusals.
func perform(s *State, op Op) error {
	switch op.Kind {
	case SetSysctl:
		s.Sysctls[op.Key] = op.Value
	case SetLimits:
		s.Limits = op.Limits
	case AddRoute:
		if slices.Contains(s.Routes, op.Route) {
			return fmt.Errorf("%v: exists", op)
		}
		s.Routes = append(s.Routes, op.Route)
	case DelRoute:
		return remove(&s.Routes, func(r Route) bool { return r == op.Route })
	case AddRule:
		if slices.Contains(s.Rules, op.Rule) {
			return fmt.Errorf("%v: exists", op)
		}
		s.Rules = append(s.Rules, op.Rule)
	case DelRule:
		return remove(&s.Rules, func(r Rule) bool { return r == op.Rule })
	case AddEndpoint:
		e := op.Endpoint
		if slices.ContainsFunc(s.Endpoints, func(h mptcp.Endpoint) bool { return h.ID == e.ID || h.Addr == e.Addr && h.Port == e.Port }) {
			return fmt.Errorf("%v: exists", op)
		}
		s.Endpoints = append(s.Endpoints, e)
	case DelEndpoint:
		return remove(&s.Endpoints, func(h mptcp.Endpoint) bool { return h.ID == op.Endpoint.ID })
	case SetFlags:
		i := slices.IndexFunc(s.Endpoints, func(h mptcp.Endpoint) bool { return h.ID == op.Endpoint.ID })
		if i < 0 {
			return fmt.Errorf("%v: no such endpoint", op)
		}
		s.Endpoints[i].Flags = s.Endpoints[i].Flags&^mutableFlags | op.Endpoint.Flags&mutableFlags
	case LoadTable:
		s.Ruleset = op.Ruleset
	case DelTable:
		s.Ruleset = Ruleset{}
	}
	return nil
}

func remove[T any](s *[]T, which func(T) bool) error {
	i := slices.IndexFunc(*s, which)
	if i < 0 {
		return fmt.Errorf("remove from %v: not there", *s)
	}
	*s = slices.Delete(slices.Clone(*s), i, i+1)
	return nil
}

// random makes a state that a kernel could hold: ids and addresses of endpoints are unique.
func random(r *rand.Rand) State {
	s := State{Sysctls: map[string]string{}, Limits: mptcp.Limits{Subflows: 1 + r.Uint32N(3), AddAddrs: r.Uint32N(2)}}
	if r.IntN(3) > 0 {
		s.Ruleset.Mark = fmt.Sprint("m", r.IntN(3))
	}
	for _, key := range []string{"net/a", "net/b"} { // both, always: Diff does not forget one
		s.Sysctls[key] = fmt.Sprint(r.IntN(2))
	}
	addr := func() netip.Addr {
		return []netip.Addr{dsl, lte, lte6, netip.MustParseAddr("10.3.3.3")}[r.IntN(4)]
	}
	for range r.IntN(5) {
		route := Usual().LinkRoute(r.IntN(3), 3+r.IntN(3), netip.Addr{}, addr())
		if !slices.Contains(s.Routes, route) {
			s.Routes = append(s.Routes, route)
		}
		for _, rule := range Usual().LinkRules(r.IntN(3), addr())[r.IntN(2):] {
			if !slices.Contains(s.Rules, rule) {
				s.Rules = append(s.Rules, rule)
			}
		}
		e := mptcp.Endpoint{ID: Usual().EndpointID(r.IntN(4), r.IntN(2) > 0), Addr: addr(), IfIndex: r.IntN(3),
			Flags: mptcp.FlagSubflow | mptcp.EndpointFlags(r.IntN(2))*mptcp.FlagBackup | mptcp.EndpointFlags(r.IntN(2))*mptcp.FlagSignal}
		perform(&s, Op{Kind: AddEndpoint, Endpoint: e})
	}
	return s
}

// FuzzDiff checks the laws of Diff: its operations, in order, are all possible and lead from have to want; what is there
// needs none; no moment is without an endpoint while both ends have one and an id or address is not reused; after any
// failure a second run arrives.
func FuzzDiff(f *testing.F) {
	for seed := range uint64(64) {
		f.Add(seed, uint8(seed))
	}
	f.Fuzz(func(t *testing.T, seed uint64, fail uint8) {
		r := rand.New(rand.NewPCG(seed, 1))
		have, want := random(r), random(r)
		if ops := Diff(want, want); len(ops) != 0 {
			t.Fatalf("nothing differs, yet:\n%s", lines(ops))
		}
		ops := Diff(have, want)
		got := clone(have)
		for _, op := range ops {
			if err := perform(&got, op); err != nil {
				t.Fatalf("%v, in:\n%s", err, lines(ops))
			}
		}
		if !got.equal(want) {
			t.Fatalf("got:\n%v\nwant:\n%v\nby:\n%s", got, want, lines(ops))
		}
		if ops := Diff(got, want); len(ops) != 0 {
			t.Fatalf("a second run does:\n%s", lines(ops))
		}
		broken := clone(have)
		for i, op := range ops {
			if i != int(fail)%max(1, len(ops)) { // this one fails, and what depends on it may
				perform(&broken, op)
			}
		}
		for _, op := range Diff(broken, want) {
			perform(&broken, op)
		}
		if !broken.equal(want) {
			t.Fatalf("after a failed operation %d and a second run:\n%v\nwant:\n%v", fail, broken, want)
		}
	})
}

func clone(s State) State {
	s.Routes, s.Rules, s.Endpoints, s.Sysctls = slices.Clone(s.Routes), slices.Clone(s.Rules), slices.Clone(s.Endpoints), maps.Clone(s.Sysctls)
	return s
}

// A link that shall carry gets its flag or endpoint before another loses its own.
func TestMakeBeforeBreak(t *testing.T) {
	active := func(s State) (n int) {
		for _, e := range s.Endpoints {
			if e.Flags&mptcp.FlagBackup == 0 {
				n++
			}
		}
		return n
	}
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 2))
		have, want := random(r), random(r)
		if active(have) == 0 || active(want) == 0 {
			continue
		}
		ops := Diff(have, want)
		reused := false // an id or address that must be freed first is a break that the kernel forces
		for _, op := range ops {
			reused = reused || op.Kind == DelEndpoint && slices.ContainsFunc(want.Endpoints, func(w mptcp.Endpoint) bool {
				return w.ID == op.Endpoint.ID || w.Addr == op.Endpoint.Addr
			})
		}
		got := clone(have)
		for _, op := range ops {
			if perform(&got, op); active(got) == 0 && !reused {
				t.Fatalf("no link carries after %v in:\n%s", op, lines(ops))
			}
		}
	}
}

func TestNumbersStayApart(t *testing.T) {
	seen := map[uint8]bool{}
	for link := range MaxLinks {
		for _, v6 := range []bool{false, true} {
			id := Usual().EndpointID(link, v6)
			if gotLink, gotV6, ok := Usual().LinkOfEndpoint(id); seen[id] || !ok || gotLink != link || gotV6 != v6 {
				t.Errorf("endpoint id %d of link %d v6 %t: %d, %t, %t, seen %t", id, link, v6, gotLink, gotV6, ok, seen[id])
			}
			seen[id] = true
		}
		for _, r := range Usual().LinkRules(link, dsl) {
			if !Usual().ourPriority(r.Priority) || r.Priority >= 1001 {
				t.Errorf("%v: not at a priority of ours, or behind mwan3's", r)
			}
		}
	}
	for id := range uint8(int(Usual().Endpoint) - EndpointCount + 1) {
		if _, _, ok := Usual().LinkOfEndpoint(id); ok {
			t.Errorf("id %d, which the kernel gives to others, counts as ours", id)
		}
	}
}
