// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"spillway/mptcp"
	"spillway/testbed/netns"
)

func TestInterception(t *testing.T) {
	h := newHouse(t)
	h.server()
	h.must(h.cpe.Sysctl("net.ipv4.conf.br-lan.rp_filter", "1")) // strict, as firewalls like it
	http4, http6 := net.JoinHostPort(server4, port), net.JoinHostPort(server6, port)
	h.expect("before", http4, "server "+http4+" from 192.168.77.2")
	h.expect("before", http6, "server "+http6+" from fd77::2")

	table := lanTable()
	h.apply(h.want(table))
	h.expect("without doors", http4, "server "+http4)

	l4, l6 := h.doors()
	table.Door4, table.Door6 = portOf(l4), portOf(l6)
	h.apply(h.want(table))
	h.expect("doors open", http4, "relay "+http4+" from 192.168.77.2")
	h.expect("doors open", http6, "relay "+http6+" from fd77::2")
	h.expect("the router's own address", "192.168.77.1:80", "refused")
	h.expect("the door itself is no proxy", fmt.Sprintf("192.168.77.1:%d", table.Door4), "refused")
	if got := h.who(http4, true); !strings.HasPrefix(got, "server") {
		t.Errorf("native MPTCP: answered by %q", got)
	}
	hits, err := h.rec.Hits()
	h.must(err)
	if hits[CounterRelayed].Packets < 2 || hits[CounterNative].Packets == 0 {
		t.Errorf("counters: %v", hits)
	}

	table.RelayNative = true
	h.apply(h.want(table))
	if got := h.who(http4, true); !strings.HasPrefix(got, "relay") {
		t.Errorf("native MPTCP that is to be relayed: answered by %q", got)
	}

	// Established connections of either kind outlive every change of the table.
	relayed, err := h.connect(http4, false)
	h.must(err)
	defer relayed.Close()
	hear(relayed)
	table.Rules = []TableRule{{Name: "all", Action: ActionBypass}}
	h.apply(h.want(table))
	h.expect("bypass all", http4, "server "+http4)
	native, err := h.connect(http4, false)
	h.must(err)
	defer native.Close()
	hear(native)
	table.Rules[0].Action = ActionBlock
	h.apply(h.want(table))
	h.expect("block all", http4, "refused")
	h.expect("block all", http6, "refused")
	table.Rules = nil
	table.Refuse = true
	h.apply(h.want(table))
	h.expect("no concentrator works", http4, "refused")
	h.expect("no concentrator works", http6, "refused")
	l4.Close()
	table.Refuse = false
	h.apply(h.want(table))
	h.expect("door closed without a word", http4, "server "+http4)
	for name, c := range map[string]net.Conn{"relayed": relayed, "native": native} {
		fmt.Fprintln(c, "still there")
		if got := hear(c); got != "still there" {
			t.Errorf("%s connection after the changes: %s", name, got)
		}
	}
	h.stop()
	fmt.Fprintln(native, "and now")
	if got := hear(native); got != "and now" {
		t.Errorf("native connection after stop: %s", got)
	}
	h.expect("stopped", http6, "server "+http6)
}

// TestRepeatedSYNGoesItsWay: one that was forwarded while the door was closed does not come to the door when it is repeated.
func TestRepeatedSYNGoesItsWay(t *testing.T) {
	h := newHouse(t)
	h.server()
	l4, l6 := h.doors()
	table := lanTable()
	table.Conntrack = true
	h.apply(h.want(table))
	h.must(h.cpe.Run("nft", "table ip provider { chain out { type nat hook postrouting priority 100; oifname != br-lan masquerade; }; }"))
	h.must(h.net.Run("nft", "table inet lost { chain in { type filter hook input priority 0; tcp flags & (syn | ack) == syn counter drop; }; }"))
	addr, answer := net.JoinHostPort(server4, port), make(chan string, 1)
	go func() { answer <- h.who(addr, false) }()
	for lost, began := "", time.Now(); !strings.Contains(lost, "packets 1 "); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			t.Fatalf("no SYN came: %s", lost)
		}
		var err error
		lost, err = h.net.Output("nft", "list", "table", "inet", "lost")
		h.must(err)
	}
	table.Door4, table.Door6 = portOf(l4), portOf(l6)
	h.apply(h.want(table))
	h.must(h.net.Run("nft", "delete", "table", "inet", "lost"))
	if got := <-answer; !strings.HasPrefix(got, "server") {
		t.Errorf("answered by %q, want the server", got)
	}
	h.expect("a new one", addr, "relay")
}

// TestMoreThanTheDoorHolds: what comes faster than the door's queue holds goes natively, at once.
func TestMoreThanTheDoorHolds(t *testing.T) {
	h := newHouse(t)
	h.server()
	l4, _ := h.doors()
	table := lanTable()
	table.Door4, table.Burst, table.Conntrack = portOf(l4), 2, true
	h.apply(h.want(table))
	addr := net.JoinHostPort(server4, port)
	began, relayed, native := time.Now(), 0, 0
	for range 64 {
		switch got := h.who(addr, false); {
		case strings.HasPrefix(got, "relay"):
			relayed++
		case strings.HasPrefix(got, "server"):
			native++
		default:
			t.Errorf("answered by %q", got)
		}
	}
	if most := 2 + int(time.Since(began).Seconds()*2*burstsASecond) + 1; relayed < 2 || relayed > most {
		t.Errorf("%d of 64 connections are relayed, %d not; want 2 to %d", relayed, native, most)
	}
}

func TestRulesAct(t *testing.T) {
	h := newHouse(t)
	h.server()
	l4, l6 := h.doors()
	mac := h.macOf(h.lan, "eth0")
	other := mac
	other[5] ^= 1
	rule := func(r TableRule) []TableRule { r.Name = "rule"; return []TableRule{r} }
	const relay, server, refused = "relay", "server", "refused"
	for _, tt := range []struct {
		name     string
		rules    []TableRule
		to4, to6 string
	}{
		{"destination", rule(TableRule{Action: ActionBypass, Dst: prefixes("203.0.113.0/29", "203.0.113.9/32")}), server, relay},
		{"destination v6", rule(TableRule{Action: ActionBlock, Dst: prefixes("2001:db8:9::/48")}), relay, refused},
		{"everything v4", rule(TableRule{Action: ActionBypass, Dst: prefixes("0.0.0.0/0")}), server, relay},
		{"other destination", rule(TableRule{Action: ActionBypass, Dst: prefixes("203.0.113.10/32", "2001:db8:9::10/128")}), relay, relay},
		{"source", rule(TableRule{Action: ActionBypass, Src: prefixes("192.168.77.2/32")}), server, relay},
		{"source v6 and destination v4 never meet", rule(TableRule{Action: ActionBypass, Src: prefixes("fd77::/64"), Dst: prefixes("203.0.113.9/32")}), relay, relay},
		{"port", rule(TableRule{Action: ActionBypass, DstPorts: []PortRange{{79, 81}, {8080, 8080}}}), server, server},
		{"other port", rule(TableRule{Action: ActionBypass, DstPorts: []PortRange{{81, 100}}}), relay, relay},
		{"mac", rule(TableRule{Action: ActionBypass, MAC: []MAC{other, mac}}), server, server},
		{"other mac", rule(TableRule{Action: ActionBypass, MAC: []MAC{other}}), relay, relay},
		{"dscp default", rule(TableRule{Action: ActionBypass, DSCP: []uint8{0, 46}}), server, server},
		{"dscp ef", rule(TableRule{Action: ActionBypass, DSCP: []uint8{46}}), relay, relay},
		{"interface", rule(TableRule{Action: ActionBlock, Interfaces: []string{"br-lan"}}), refused, refused},
		{"other interface", rule(TableRule{Action: ActionBlock, Interfaces: []string{"br-guest"}}), relay, relay},
		{"first match wins", []TableRule{{Name: "a", Action: ActionRelay, Dst: prefixes("203.0.113.9/32")}, {Name: "b", Action: ActionBlock}}, relay, refused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			table := lanTable()
			table.Door4, table.Door6, table.Rules = portOf(l4), portOf(l6), tt.rules
			h.apply(h.want(table))
			h.expect(tt.name, net.JoinHostPort(server4, port), tt.to4)
			h.expect(tt.name, net.JoinHostPort(server6, port), tt.to6)
		})
	}
	hits, err := h.rec.Hits()
	h.must(err)
	if hits["a"].Packets == 0 || hits["b"].Packets == 0 {
		t.Errorf("counters of the last rules: %v", hits)
	}
}

func TestDomainSets(t *testing.T) {
	h := newHouse(t)
	h.server()
	l4, l6 := h.doors()
	table := lanTable()
	table.Door4, table.Door6 = portOf(l4), portOf(l6)
	table.Rules = []TableRule{{Name: "tv", Action: ActionBypass, DomainSet: "tv"}}
	h.apply(h.want(table))
	http4, http6 := net.JoinHostPort(server4, port), net.JoinHostPort(server6, port)
	h.expect("empty set", http4, "relay")
	add := func(ttl time.Duration, addrs ...netip.Addr) {
		h.must(h.cpe.Do(func() error { return h.rec.AddDomain(context.Background(), "tv", addrs, ttl) }))
	}
	a4, a6 := netip.MustParseAddr(server4), netip.MustParseAddr(server6)
	add(10*time.Minute, a4, a6)
	add(20*time.Minute, a4)
	h.must(h.cpe.Run("nft", "add element inet spillway tv4 { 203.0.113.77 }")) // as dnsmasq does
	h.expect("in the set", http4, "server")
	h.expect("in the set", http6, "server")
	hits, err := h.rec.Hits()
	h.must(err)

	// The table is replaced: elements, their times and the counters go on, by another process too.
	h.rec.Close()
	h.rec = h.reconciler()
	table.Rules = append(table.Rules, TableRule{Name: "more", Action: ActionBypass, DstPorts: []PortRange{{9, 9}}})
	if ops := lines(h.apply(h.want(table))); !strings.HasPrefix(ops, "nft load") {
		t.Fatalf("did: %s", ops)
	}
	elements, err := readElements(h.rec.nfnl, "tv4")
	h.must(err)
	left := map[netip.Addr]time.Duration{}
	for _, e := range elements {
		left[e.addr] = e.ttl
	}
	if d := left[a4]; d < 15*time.Minute || d > 20*time.Minute {
		t.Errorf("%v stays for %v of 20 m", a4, d)
	}
	if d := left[netip.MustParseAddr("203.0.113.77")]; d < 23*time.Hour || d > 24*time.Hour {
		t.Errorf("dnsmasq's element stays for %v of a day", d)
	}
	again, err := h.rec.Hits()
	h.must(err)
	if again["tv"] != hits["tv"] || again["tv"].Packets < 2 {
		t.Errorf("hits %v, before the replacement %v", again, hits)
	}
	h.expect("after the replacement", http6, "server")
}

func TestConcentratorIsNotForTheLAN(t *testing.T) {
	h := newHouse(t)
	h.server()
	l4, l6 := h.doors()
	table := lanTable()
	table.Door4, table.Door6 = portOf(l4), portOf(l6)
	table.Concentrators = []netip.AddrPort{netip.MustParseAddrPort("203.0.113.10:8080"), netip.MustParseAddrPort("[2001:db8:9::10]:8080")}
	h.apply(h.want(table))
	h.expect("its service", "203.0.113.10:8080", "refused")
	h.expect("its service", "[2001:db8:9::10]:8080", "refused")
	h.expect("its other ports, natively", "203.0.113.10:80", "server 203.0.113.10:80")
	h.expect("another server", "203.0.113.9:8080", "relay")
	table.OpenConcentrators = true
	h.apply(h.want(table))
	h.expect("open to the LAN, natively", "203.0.113.10:8080", "server")
	h.expect("open to the LAN, natively", "[2001:db8:9::10]:8080", "server")
}

// Networks behind other devices of the router are not the concentrator's business.
func TestOtherNetworksAreLeftAlone(t *testing.T) {
	h := newHouse(t)
	h.server()
	h.must(netns.Veth(h.cpe, "vpn", h.net, "vpn"))
	h.must(h.cpe.Script("addr add 10.8.0.1/24 dev vpn\naddr add fd08::1/64 dev vpn nodad\n"))
	h.must(h.net.Script("addr add 10.8.0.2/24 dev vpn\naddr add fd08::2/64 dev vpn nodad\n"))
	l4, l6 := h.doors()
	table := lanTable()
	table.Door4, table.Door6 = portOf(l4), portOf(l6)
	table.Links = []string{"dsl", "lte"}
	h.apply(h.want(table))
	h.expect("behind the vpn", "10.8.0.2:80", "server")
	h.expect("behind the vpn", "[fd08::2]:80", "server")
	h.expect("behind the links", "203.0.113.9:80", "relay")
	h.expect("behind the links", "[2001:db8:9::9]:80", "relay")
	h.must(h.cpe.Script("route del default via 10.1.1.1\nroute del default via fd01::1\n"))
	h.expect("without a default route", "203.0.113.9:80", "relay")
	h.expect("without a default route", "[2001:db8:9::9]:80", "relay")
	h.must(h.cpe.Script("route add default via 10.2.2.1\n"))
	h.expect("default by the other link", "203.0.113.9:80", "relay")
}

// Each link's source address leaves by its link: bound by address alone, the harder case.
func TestSourceRouting(t *testing.T) {
	h := newHouse(t)
	h.server()
	h.apply(h.want(lanTable()))
	leavesBy(t, h.cpe, "10.1.1.2", server4, "dsl")
	leavesBy(t, h.cpe, "10.2.2.2", server4, "lte")
	leavesBy(t, h.cpe, "fd01::2", server6, "dsl")
	leavesBy(t, h.cpe, "fd02::2", server6, "lte")
	leavesBy(t, h.cpe, "10.2.2.2", "192.168.77.2", "br-lan") // an answer to the LAN stays in the house
	leavesBy(t, h.cpe, "192.168.77.1", server4, "dsl")       // main's default is as it was
	var got string
	h.must(h.cpe.Do(func() error {
		c, err := mptcp.Dial(t.Context(), netip.MustParseAddrPort("203.0.113.9:80"), mptcp.DialOptions{Local: netip.MustParseAddr("10.2.2.2"), PlainTCP: true})
		if err == nil {
			defer c.Close()
			got = hear(c)
		}
		return err
	}))
	if !strings.HasSuffix(got, "from 10.2.2.2") {
		t.Errorf("a connection from LTE's address: %q", got)
	}
}

// Two modems that hand out the same subnet behind the same gateway address.
func TestSourceRoutingInOneSubnet(t *testing.T) {
	netns.Require(t)
	cpe, modemA, modemB := netns.New(t, "cpe"), netns.New(t, "a"), netns.New(t, "b")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(netns.Veth(cpe, "dsl", modemA, "eth0"))
	must(netns.Veth(cpe, "lte", modemB, "eth0"))
	for _, m := range []*netns.NS{modemA, modemB} {
		must(m.Script("addr add 192.168.1.1/24 dev eth0\naddr add 203.0.113.9/32 dev lo\n"))
	}
	must(cpe.Script("addr add 192.168.1.10/24 dev dsl\naddr add 192.168.1.20/24 dev lte\nroute add default via 192.168.1.1 dev dsl\n"))
	h := &house{t: t, cpe: cpe, saved: t.TempDir() + "/saved"}
	h.rec = h.reconciler()
	gateway, a, b := netip.MustParseAddr("192.168.1.1"), netip.MustParseAddr("192.168.1.10"), netip.MustParseAddr("192.168.1.20")
	want := State{
		Routes: []Route{Usual().LinkRoute(0, h.index("dsl"), gateway, a), Usual().LinkRoute(1, h.index("lte"), gateway, b)},
		Rules:  append(Usual().LinkRules(0, a), Usual().LinkRules(1, b)...),
	}
	h.apply(want)
	leavesBy(t, cpe, "192.168.1.10", "203.0.113.9", "dsl")
	leavesBy(t, cpe, "192.168.1.20", "203.0.113.9", "lte")
	for addr, modem := range map[string]*netns.NS{"192.168.1.10": modemA, "192.168.1.20": modemB} {
		var l net.Listener
		must(modem.Do(func() (err error) { l, err = net.Listen("tcp4", "203.0.113.9:80"); return err }))
		greet(t, l, "behind "+addr)
		var got string
		must(cpe.Do(func() error {
			// The device as well, as the relay binds it: two links with one subnet answer ARP for each other.
			device := map[string]string{"192.168.1.10": "dsl", "192.168.1.20": "lte"}[addr]
			c, err := mptcp.Dial(t.Context(), netip.MustParseAddrPort("203.0.113.9:80"), mptcp.DialOptions{Local: netip.MustParseAddr(addr), Device: device, PlainTCP: true})
			if err == nil {
				defer c.Close()
				got = hear(c)
			}
			return err
		}))
		if !strings.HasPrefix(got, "behind "+addr) {
			t.Errorf("from %s: %q", addr, got)
		}
	}
}

func leavesBy(t *testing.T, ns *netns.NS, from, to, device string) {
	t.Helper()
	out, err := ns.Output("ip", "route", "get", to, "from", from)
	if err != nil || !strings.Contains(out, " dev "+device+" ") {
		t.Errorf("%s to %s does not leave by %s: %s %v", from, to, device, out, err)
	}
}

// Ten thousand prefixes and a reload with one more, in one transaction each.
func TestManyPrefixes(t *testing.T) {
	h := newHouse(t)
	h.server()
	l4, l6 := h.doors()
	table := lanTable()
	table.Door4, table.Door6 = portOf(l4), portOf(l6)
	rule := TableRule{Name: "country", Action: ActionBypass}
	for i := range 10_000 {
		rule.Dst = append(rule.Dst, netip.PrefixFrom(netip.AddrFrom4([4]byte{100, byte(i >> 7), byte(i << 1), 0}), 24))
	}
	table.Rules = []TableRule{rule}
	begin := time.Now()
	h.apply(h.want(table))
	t.Logf("10,000 prefixes rendered, loaded and verified in %v", time.Since(begin))
	h.expect("not among them", "203.0.113.9:80", "relay")
	table.Rules[0].Dst = append(rule.Dst, netip.MustParsePrefix("203.0.113.0/24"))
	begin = time.Now()
	h.apply(h.want(table))
	t.Logf("reloaded in %v", time.Since(begin))
	h.expect("among them", "203.0.113.9:80", "server")
	begin = time.Now()
	want := h.want(table)
	rendered := time.Since(begin)
	begin = time.Now()
	if ops := h.apply(want); len(ops) != 0 {
		t.Errorf("unchanged, yet:\n%s", lines(ops))
	}
	t.Logf("unchanged: rendered in %v, read and compared in %v", rendered, time.Since(begin))
}

// An MPTCP connection's subflows leave by their links, and the fast paths move it between them while it lives.
func TestSubflowsFollowTheEndpoints(t *testing.T) {
	h := newHouse(t)
	if h.rec.PathManager() == nil {
		netns.Missing(t, "needs a kernel with MPTCP")
	}
	h.server()
	h.must(h.net.Script("mptcp limits set subflows 8 add_addr_accepted 8\n"))
	want := h.want(lanTable())
	h.apply(want)
	var c *net.TCPConn
	var diag *mptcp.Diag
	h.must(h.cpe.Do(func() (err error) {
		if diag, err = mptcp.OpenDiag(); err != nil {
			return err
		}
		c, err = mptcp.Dial(t.Context(), netip.MustParseAddrPort("203.0.113.9:80"), mptcp.DialOptions{Local: netip.MustParseAddr("10.1.1.2"), Device: "dsl"})
		return err
	}))
	defer diag.Close()
	defer c.Close()
	hear(c)
	// carried waits until the connection's established subflows are these.
	carried := func(when string, want ...string) {
		t.Helper()
		var got []string
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			got = nil
			subflows, err := diag.Subflows(mptcp.Which{})
			h.must(err)
			for _, s := range subflows {
				if s.Established && s.Remote.Addr().String() == server4 {
					line := s.Local.Addr().String()
					if s.Backup {
						line += " backup"
					}
					got = append(got, line)
				}
			}
			slices.Sort(got)
			if slices.Equal(got, want) {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: subflows %q, want %q", when, got, want)
		}
		fmt.Fprintln(c, when)
		if got := hear(c); got != when {
			t.Errorf("%s: the connection says %q", when, got)
		}
	}
	sent := func(device string) (octets string) {
		t.Helper()
		out, err := h.cpe.Output("cat", "/sys/class/net/"+device+"/statistics/tx_packets")
		h.must(err)
		return strings.TrimSpace(out)
	}
	carried("both links", "10.1.1.2", "10.2.2.2 backup")
	h.must(h.rec.SetBackup(Usual().EndpointID(1, false), false))
	carried("overflow", "10.1.1.2", "10.2.2.2")
	h.must(h.rec.ToggleBackup(Usual().EndpointID(1, false), true))
	carried("overflow ends", "10.1.1.2", "10.2.2.2 backup")
	h.must(h.rec.RemoveEndpoint(Usual().EndpointID(0, false)))
	carried("the primary dies", "10.2.2.2 backup")
	before := sent("lte")
	carried("on the other", "10.2.2.2 backup")
	if after := sent("lte"); after == before {
		t.Errorf("packets sent by lte: %s before and after", before)
	}
	h.must(h.rec.AddEndpoint(want.Endpoints[0]))
	carried("the primary is back", "10.1.1.2", "10.2.2.2 backup")
	if ops := h.apply(want); len(ops) != 0 {
		t.Errorf("all is as wanted, yet:\n%s", lines(ops))
	}
	h.must(h.rec.RemoveEndpoint(Usual().EndpointID(1, false)))
	carried("on demand", "10.1.1.2")
	// The endpoint goes before the initial subflows (id 0): as long as it is there, the kernel makes a subflow from it whenever another is added.
	h.must(h.rec.RemoveEndpoint(Usual().EndpointID(0, false)))
	h.must(h.rec.PathManager().Remove(0, netip.MustParseAddr("10.1.1.2")))
	h.must(h.rec.AddEndpoint(want.Endpoints[2]))
	carried("resumed", "10.2.2.2 backup")
}

// TestDomainSetsAreThereForBothFamilies, also of a rule for hosts of one, and while its hours are over: whoever fills them does so in one transaction,
// and dnsmasq only when it asks its own name server.
func TestDomainSetsAreThereForBothFamilies(t *testing.T) {
	h := newHouse(t)
	table := lanTable()
	noon := time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)
	table.Rules = []TableRule{
		{Name: "tv", Action: ActionBypass, Src: prefixes("192.168.77.2/32"), DomainSet: "tv"},
		{Name: "night", Action: ActionBypass, DomainSet: "night", Window: Window{From: 22 * time.Hour, To: 23 * time.Hour}},
	}
	h.apply(h.want(table.At(noon)))
	for _, set := range []string{"tv", "night"} {
		addrs := []netip.Addr{netip.MustParseAddr(server4), netip.MustParseAddr(server6)}
		if err := h.cpe.Do(func() error { return h.rec.AddDomain(context.Background(), set, addrs, time.Hour) }); err != nil {
			t.Errorf("%s: %v", set, err)
		}
	}
	h.apply(h.want(table.At(noon.Add(10 * time.Hour))))
	if elements, err := readElements(h.rec.nfnl, "night6"); len(elements) != 1 || err != nil {
		t.Errorf("as its hours begin there are %v, error %v", elements, err)
	}
}
