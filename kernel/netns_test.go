// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"spillway/journal"
	"spillway/mptcp"
	"spillway/testbed/netns"
)

// house is a LAN host, the router, and the Internet behind two links.
type house struct {
	t             *testing.T
	lan, cpe, net *netns.NS
	rec           *Reconciler
	saved         string
}

const (
	server4 = "203.0.113.9"
	server6 = "2001:db8:9::9"
	port    = "80"
)

func newHouse(t *testing.T) *house {
	t.Helper()
	netns.Require(t)
	if _, err := exec.LookPath("nft"); err != nil {
		netns.Missing(t, "needs nft (Debian package nftables)")
	}
	h := &house{t: t, lan: netns.New(t, "lan"), cpe: netns.New(t, "cpe"), net: netns.New(t, "net"), saved: filepath.Join(t.TempDir(), "saved")}
	for _, ns := range []*netns.NS{h.lan, h.cpe, h.net} { // no seconds of waiting for an address to be known as unique
		h.must(ns.Sysctl("net.ipv6.conf.default.accept_dad", "0"))
	}
	h.must(netns.Veth(h.lan, "eth0", h.cpe, "br-lan"))
	h.must(netns.Veth(h.cpe, "dsl", h.net, "dsl"))
	h.must(netns.Veth(h.cpe, "lte", h.net, "lte"))
	h.must(h.lan.Script("addr add 192.168.77.2/24 dev eth0\naddr add fd77::2/64 dev eth0 nodad\nroute add default via 192.168.77.1\nroute add default via fd77::1\n"))
	h.must(h.cpe.Script(`addr add 192.168.77.1/24 dev br-lan
addr add fd77::1/64 dev br-lan nodad
addr add 10.1.1.2/24 dev dsl
addr add fd01::2/64 dev dsl nodad
addr add 10.2.2.2/24 dev lte
addr add fd02::2/64 dev lte nodad
route add default via 10.1.1.1
route add default via fd01::1
`))
	h.must(h.net.Script(`addr add 10.1.1.1/24 dev dsl
addr add fd01::1/64 dev dsl nodad
addr add 10.2.2.1/24 dev lte
addr add fd02::1/64 dev lte nodad
addr add 203.0.113.9/32 dev lo
addr add 203.0.113.10/32 dev lo
addr add 2001:db8:9::9/128 dev lo nodad
addr add 2001:db8:9::10/128 dev lo nodad
route add 192.168.77.0/24 via 10.1.1.2
route add fd77::/64 via fd01::2
`))
	h.must(h.cpe.Sysctl("net.ipv4.ip_forward", "1"))
	h.must(h.cpe.Sysctl("net.ipv6.conf.all.forwarding", "1"))
	h.rec = h.reconciler()
	return h
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// reconciler is what a starting daemon makes.
func (h *house) reconciler() *Reconciler {
	h.t.Helper()
	var rec *Reconciler
	h.must(h.cpe.Do(func() (err error) {
		rec, err = New(Options{Saved: h.saved}, journal.Discard())
		return err
	}))
	h.t.Cleanup(func() { rec.Close() })
	return rec
}

func (h *house) apply(want State) []Op {
	h.t.Helper()
	var ops []Op
	h.must(h.cpe.Do(func() (err error) { ops, err = h.rec.Apply(context.Background(), want); return err }))
	return ops
}

func (h *house) stop() {
	h.t.Helper()
	h.must(h.cpe.Do(func() error { _, err := h.rec.Stop(context.Background()); return err }))
}

func (h *house) index(device string) int {
	h.t.Helper()
	var i *net.Interface
	h.must(h.cpe.Do(func() (err error) { i, err = net.InterfaceByName(device); return err }))
	return i.Index
}

// want is a full state: both links, the LAN's table.
func (h *house) want(table Table) State {
	h.t.Helper()
	rules, err := Render(table)
	h.must(err)
	a := netip.MustParseAddr
	d, l := h.index("dsl"), h.index("lte")
	s := State{
		Ruleset: rules,
		Routes: append(Usual().LocalRoutes(true), Usual().LinkRoute(0, d, a("10.1.1.1"), a("10.1.1.2")), Usual().LinkRoute(0, d, a("fd01::1%dsl"), a("fd01::2")),
			Usual().LinkRoute(1, l, a("10.2.2.1"), a("10.2.2.2")), Usual().LinkRoute(1, l, netip.Addr{}, a("fd02::2"))),
		Rules: slices.Concat(Usual().LocalRules([]string{"br-lan"}, true), Usual().LinkRules(0, a("10.1.1.2")), Usual().LinkRules(0, a("fd01::2")), Usual().LinkRules(1, a("10.2.2.2")), Usual().LinkRules(1, a("fd02::2"))),
		Endpoints: []mptcp.Endpoint{
			Usual().LinkEndpoint(0, d, a("10.1.1.2"), false), Usual().LinkEndpoint(0, d, a("fd01::2%dsl"), false), Usual().LinkEndpoint(1, l, a("10.2.2.2"), true),
		},
		Limits: mptcp.Limits{Subflows: 7, AddAddrs: 1},
	}
	h.must(h.cpe.Do(func() error {
		s.Sysctls = h.rec.Sysctls(SysctlOptions{Devices: []string{"dsl", "lte"}, FastOpenNoCookie: true, ReceiveMax: 64 << 20, StaleLossCount: 2, AcceptMark: true})
		return nil
	}))
	return s
}

// lanTable is the table of a house without rules.
func lanTable() Table { return Table{Interfaces: []string{"br-lan"}} }

// world is everything that we might leave a trace in, as the tools print it.
func (h *house) world() string {
	h.t.Helper()
	var b strings.Builder
	for _, line := range []string{"nft list ruleset", "ip rule", "ip -6 rule", "ip route show table all", "ip -6 route show table all",
		"ip mptcp endpoint", "ip mptcp limits"} {
		args := strings.Fields(line)
		out, err := h.cpe.Output(args[0], args[1:]...)
		h.must(err)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		if args[0] != "nft" {
			slices.Sort(lines)
		}
		fmt.Fprintf(&b, "# %s\n%s\n", line, strings.Join(lines, "\n"))
	}
	h.must(h.cpe.Do(func() error {
		for _, pattern := range []string{"net/mptcp/*", "net/ipv4/tcp_*", "net/ipv4/ip_forward", "net/ipv4/conf/*/*", "net/ipv6/conf/*/forwarding"} {
			files, err := filepath.Glob("/proc/sys/" + pattern)
			if err != nil {
				return err
			}
			for _, file := range files {
				key := strings.TrimPrefix(file, "/proc/sys/")
				if value, err := readSysctl(key); err == nil { // some are for writing only
					fmt.Fprintf(&b, "%s=%s\n", key, value)
				}
			}
		}
		return nil
	}))
	return b.String()
}

// foreign puts things of others into the router, some at our very numbers.
func (h *house) foreign() {
	h.t.Helper()
	h.must(h.cpe.Script(`rule add pref 1001 iif dsl lookup 1
rule add pref 911 from 10.9.9.9 lookup 7701
rule add pref 900 fwmark 0x1 lookup 7700
route add 198.18.0.0/15 via 10.1.1.1 table 7701
route add default via 10.1.1.1 table 1
route add default via 10.1.1.1 dev dsl metric 77 table 7702
mptcp limits set subflows 3 add_addr_accepted 2
mptcp endpoint add 192.168.77.1 dev br-lan signal
`))
	h.must(h.cpe.Run("ip", "-6", "rule", "add", "pref", "912", "from", "fd99::9", "lookup", "main"))
	h.must(h.cpe.Run("nft", "add table inet fw4; add chain inet fw4 forward { type filter hook forward priority filter; }; add table ip spillway"))
	h.must(h.cpe.Sysctl("net.ipv4.conf.dsl.rp_filter", "1"))
}

func diffText(a, b string) string {
	var out strings.Builder
	la, lb := strings.Split(a, "\n"), strings.Split(b, "\n")
	for _, l := range la {
		if !slices.Contains(lb, l) {
			fmt.Fprintln(&out, "-", l)
		}
	}
	for _, l := range lb {
		if !slices.Contains(la, l) {
			fmt.Fprintln(&out, "+", l)
		}
	}
	return out.String()
}

func TestStopLeavesNoTrace(t *testing.T) {
	h := newHouse(t)
	h.foreign()
	before := h.world()
	want := h.want(household())
	if ops := h.apply(want); len(ops) < 20 {
		t.Errorf("the first start did only:\n%s", lines(ops))
	}
	during := h.world()
	traces := []string{"table inet spillway", "lookup 7702", "10.2.2.2 id 253", "subflows 7", "net/ipv4/conf/dsl/rp_filter=2", " 67108864\n"}
	if strings.Contains(before, "net/mptcp/blackhole_timeout=") { // since Linux 6.12
		traces = append(traces, "net/mptcp/blackhole_timeout=0")
	}
	for _, trace := range traces {
		if !strings.Contains(during, trace) {
			t.Errorf("no %q in:\n%s", trace, during)
		}
	}
	if ops := h.apply(want); len(ops) != 0 {
		t.Errorf("a second Apply did:\n%s", lines(ops))
	}
	// Somebody's endpoint that comes after ours gets no number of ours, and stays.
	h.must(h.cpe.Script("mptcp endpoint add fd77::1 dev br-lan subflow\n"))
	if ops := h.apply(want); len(ops) != 0 {
		t.Errorf("after somebody added an endpoint:\n%s", lines(ops))
	}
	h.must(h.cpe.Script("mptcp endpoint del id 2\n"))
	// Killed, and started anew in an unchanged world.
	h.rec.Close()
	h.rec = h.reconciler()
	again := h.want(household())
	if ops := h.apply(again); len(ops) != 0 {
		t.Errorf("a second start did:\n%s", lines(ops))
	}
	if now := h.world(); now != during {
		t.Errorf("a second start changed:\n%s", diffText(during, now))
	}
	h.stop()
	if after := h.world(); after != before {
		t.Errorf("stop left a trace:\n%s", diffText(before, after))
	}
	if left, _ := filepath.Glob(h.saved + "*"); len(left) != 0 {
		t.Errorf("stop left files: %v", left)
	}
}

func TestRepairsOnlyWhatWasBroken(t *testing.T) {
	h := newHouse(t)
	want := h.want(household())
	h.apply(want)
	for _, tt := range []struct{ vandal, want string }{
		{"nft flush ruleset", "nft load table"},
		{"nft delete table inet spillway", "nft load table"},
		{"nft flush chain inet spillway prerouting", "nft load table"},
		{"nft flush table inet spillway", "nft load table"},
		{"ip rule del pref 900", "ip rule add pref 900"},
		{"ip -6 rule del pref 911", "ip -6 rule add pref 911"},
		{"ip route flush table 7701", "ip route add default via 10.1.1.1"},
		{"ip -6 route del default table 7702", "ip -6 route add default dev"},
		{"ip mptcp endpoint del id 253", "ip mptcp endpoint add 10.2.2.2 id 253"},
		{"ip mptcp endpoint change id 253 nobackup", "ip mptcp endpoint change id 253 backup"},
		{"ip mptcp limits set subflows 1", "ip mptcp limits set subflows 7"},
		{"sysctl -w net.ipv4.conf.lte.rp_filter=1", "sysctl net/ipv4/conf/lte/rp_filter=2"},
	} {
		args := strings.Fields(tt.vandal)
		h.must(h.cpe.Run(args[0], args[1:]...))
		if ops := h.apply(want); len(ops) != 1 || !strings.HasPrefix(ops[0].String(), tt.want) {
			t.Errorf("%s: repaired by:\n%swant one: %s", tt.vandal, lines(ops), tt.want)
		}
	}
	h.must(h.cpe.Run("ip", "mptcp", "endpoint", "flush"))
	if ops := h.apply(want); len(ops) != 3 {
		t.Errorf("endpoints flushed: repaired by:\n%s", lines(ops))
	}
	if ops := h.apply(want); len(ops) != 0 {
		t.Errorf("when all is well:\n%s", lines(ops))
	}
}

// A modem is pulled out, and another one takes its name, its address and another index.
func TestDeviceReplaced(t *testing.T) {
	h := newHouse(t)
	want := h.want(lanTable())
	h.apply(want)
	h.must(h.cpe.Script("link del lte\n"))
	// Nobody has told us yet: what can't be is an error of its part.
	err := h.cpe.Do(func() error { _, err := h.rec.Apply(context.Background(), want); return err })
	if err == nil || !strings.Contains(err.Error(), "ip route add default via 10.2.2.1") || strings.Contains(err.Error(), "sysctl") {
		t.Errorf("error: %v", err)
	}
	h.must(netns.Veth(h.cpe, "tmp", h.net, "lte"))
	h.must(h.cpe.Script("link set tmp down\nlink set tmp name lte\nlink set lte up\naddr add 10.2.2.2/24 dev lte\naddr add fd02::2/64 dev lte nodad\n"))
	before := want.Endpoints[2].IfIndex
	want = h.want(lanTable())
	if want.Endpoints[2].IfIndex == before {
		t.Fatal("the new device has the old index: the test tests nothing")
	}
	ops := lines(h.apply(want))
	for _, part := range []string{"ip route add default via 10.2.2.1", "ip mptcp endpoint del id 253", "ip mptcp endpoint add 10.2.2.2 id 253", "sysctl net/ipv4/conf/lte/rp_filter=2"} {
		if !strings.Contains(ops, part) {
			t.Errorf("no %q in:\n%s", part, ops)
		}
	}
	if ops := h.apply(want); len(ops) != 0 {
		t.Errorf("and again:\n%s", lines(ops))
	}
}

// Gateways, devices and sources change under way: the kernel arrives each time in one go, and its table is never empty of a default.
func TestRouteChanges(t *testing.T) {
	h := newHouse(t)
	a := netip.MustParseAddr
	d, l := h.index("dsl"), h.index("lte")
	h.must(h.cpe.Script("addr add 10.1.1.3/24 dev dsl\naddr add fd01::3/64 dev dsl nodad\n"))
	v4 := []Route{
		Usual().LinkRoute(0, d, a("10.1.1.1"), a("10.1.1.2")), Usual().LinkRoute(0, d, a("10.1.1.254"), a("10.1.1.2")), Usual().LinkRoute(0, d, netip.Addr{}, a("10.1.1.2")),
		Usual().LinkRoute(0, d, netip.Addr{}, a("10.1.1.3")), Usual().LinkRoute(0, l, a("10.2.2.1"), a("10.2.2.2")), Usual().LinkRoute(0, d, a("172.31.0.1"), a("10.1.1.3")),
	}
	v6 := []Route{
		Usual().LinkRoute(0, d, a("fd01::1"), a("fd01::2")), Usual().LinkRoute(0, d, a("fe80::1"), a("fd01::2")), Usual().LinkRoute(0, d, netip.Addr{}, a("fd01::2")),
		Usual().LinkRoute(0, d, a("fe80::2"), a("fd01::3")), Usual().LinkRoute(0, l, netip.Addr{}, a("fd02::2")), Usual().LinkRoute(0, l, a("fd02::1"), a("fd02::2")),
	}
	for _, routes := range [][]Route{v4, v6} {
		for _, from := range routes {
			for _, to := range routes {
				h.apply(State{Routes: []Route{from}})
				h.apply(State{Routes: []Route{to}})
				have, err := h.rec.Read()
				h.must(err)
				if !slices.Equal(have.Routes, []Route{to}) {
					t.Errorf("from %v\nto %v\ncame to %v", from, to, have.Routes)
				}
			}
		}
	}
}

func TestConflicts(t *testing.T) {
	h := newHouse(t)
	h.apply(h.want(household()))
	if found, err := h.rec.Conflicts(); len(found) != 0 || err != nil {
		t.Errorf("alone on the router, yet: %q, %v", found, err)
	}
	h.must(h.cpe.Script(`rule add pref 100 from 10.9.9.9 lookup 5
rule add pref 920 from 10.9.9.9 lookup 5
rule add pref 2001 fwmark 0x100/0x3f00 lookup 1
rule add pref 3000 fwmark 0x30000000 lookup 1
mptcp endpoint add 192.168.77.1 dev br-lan subflow
mptcp endpoint add fd77::1 dev br-lan signal
rule add pref 4000 from 10.9.9.9 lookup 7705
mptcp endpoint add 192.168.77.2 dev br-lan id 200 signal
`))
	found, err := h.rec.Conflicts()
	h.must(err)
	all := strings.Join(found, "\n")
	for _, part := range []string{"pref 100 from 10.9.9.9 lookup 5` comes before our rules", "pref 920 from 10.9.9.9 lookup 5` sits among", "pref 3000 fwmark 0x30000000/0xffffffff lookup 1` uses our mark bits 0x30000000", "192.168.77.1 id 1 dev",
		"pref 4000 from 10.9.9.9 lookup 7705` looks into a routing table of ours (7700 to 7732)", "id 200", "one of our ids (192 to 255)", "numbers.priority"} {
		if !strings.Contains(all, part) {
			t.Errorf("no %q in:\n%s", part, all)
		}
	}
	if want := 6; len(found) != want {
		t.Errorf("%d found:\n%s", len(found), all)
	}
}

// Other numbers than the usual: all of ours lie there, nothing collides, and what a killed predecessor with the usual ones left is gone.
func TestOtherNumbers(t *testing.T) {
	h := newHouse(t)
	h.apply(h.want(household())) // and is killed
	h.must(h.cpe.Script("rule add pref 3000 fwmark 0x30000000 lookup 1\n"))
	saved := filepath.Join(t.TempDir(), "saved")
	before, err := os.ReadFile(string(h.rec.saved))
	h.must(err)
	h.must(os.WriteFile(saved, before, 0o600))
	n := Numbers{Mark: 0x00000ff0, Table: 5000, Priority: 400, Endpoint: 100}
	var rec *Reconciler
	h.must(h.cpe.Do(func() (err error) {
		rec, err = New(Options{Saved: saved, Numbers: n}, journal.Discard())
		return err
	}))
	defer rec.Close()
	left, err := h.rec.Read()
	h.must(err)
	if len(left.Rules)+len(left.Routes)+len(left.Endpoints) != 0 {
		t.Errorf("of the predecessor is left:\n%v", left)
	}
	table := household()
	table.Numbers, table.Door4, table.Door6 = n, 4000, 4001
	set, err := Render(table)
	h.must(err)
	if strings.Contains(set.Text(), "0x10000000") || !strings.Contains(set.Text(), "meta mark | 0x100") {
		t.Errorf("marks in:\n%s", set.Text())
	}
	want := State{Ruleset: set, Rules: append(n.LocalRules([]string{"br-lan"}, true), n.LinkRules(1, netip.MustParseAddr("10.2.2.2"))...), Routes: n.LocalRoutes(true)}
	h.must(h.cpe.Do(func() error { _, err := rec.Apply(context.Background(), want); return err }))
	have, err := rec.Read()
	h.must(err)
	have.Sysctls, have.Limits, want.Sysctls = nil, want.Limits, nil
	if !have.equal(want) {
		t.Errorf("holds\n%vwant\n%v", have, want)
	}
	if found, err := rec.Conflicts(); len(found) != 0 || err != nil {
		t.Errorf("collides: %q %v", found, err)
	}
	rules, err := h.cpe.Output("ip", "rule")
	h.must(err)
	if !strings.Contains(rules, "400:") || !strings.Contains(rules, "fwmark 0x100/0x100") || !strings.Contains(rules, "lookup 5002") {
		t.Errorf("rules:\n%s", rules)
	}
	h.must(h.cpe.Do(func() error { _, err := rec.Stop(context.Background()); return err }))
	if rules, err = h.cpe.Output("ip", "rule"); strings.Contains(rules, "400:") || err != nil {
		t.Errorf("after the end:\n%s", rules)
	}
	if _, err := os.Stat(saved); err == nil {
		t.Error("the note of what to restore outlives the end")
	}
}

// A setting that is no longer asked for goes back to what it was while the rest stays.
func TestDroppedSettingGoesBack(t *testing.T) {
	h := newHouse(t)
	h.must(h.cpe.Sysctl("net.ipv4.conf.lte.rp_filter", "1"))
	want := h.want(lanTable())
	h.apply(want)
	delete(want.Sysctls, "net/ipv4/conf/lte/rp_filter")
	want.Limits = mptcp.Limits{}
	ops := lines(h.apply(want))
	if w := "sysctl net/ipv4/conf/lte/rp_filter=1\nip mptcp limits set subflows 2 add_addr_accepted 0\n"; ops != w {
		t.Errorf("did:\n%swant:\n%s", ops, w)
	}
	if ops := h.apply(want); len(ops) != 0 {
		t.Errorf("and again:\n%s", lines(ops))
	}
}

// What fails is named, the rest is done.
func TestApplyGoesOnPastFailures(t *testing.T) {
	h := newHouse(t)
	h.must(h.cpe.Script("mptcp endpoint add 10.1.1.2 id 5 signal\n")) // somebody's, at an address of ours
	want := h.want(lanTable())
	want.Routes = append(want.Routes, Usual().LinkRoute(2, 4711, netip.MustParseAddr("10.3.3.1"), netip.MustParseAddr("10.3.3.3")))
	h.rec.nft = "/nowhere/nft"
	err := h.cpe.Do(func() error { _, err := h.rec.Apply(context.Background(), want); return err })
	for _, part := range []string{"ip route add default via 10.3.3.1", "10.1.1.2 port", "ip mptcp endpoint delete id 5", "/nowhere/nft"} {
		if part = strings.Replace(part, " port", "", 1); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("no %q in: %v", part, err)
		}
	}
	have, err := h.rec.Read()
	h.must(err)
	if len(have.Rules) != len(want.Rules) || len(have.Endpoints) != 2 {
		t.Errorf("the rest was not done:\n%v", have)
	}
	h.rec.nft = findNFT()
	h.must(h.cpe.Script("mptcp endpoint del id 5\n"))
	want.Routes = want.Routes[:len(want.Routes)-1]
	if ops := h.apply(want); len(ops) != 2 {
		t.Errorf("when the cause is gone:\n%s", lines(ops))
	}
}

func TestFastPaths(t *testing.T) {
	h := newHouse(t)
	want := h.want(lanTable())
	h.apply(want)
	endpoints := func() string {
		have, err := h.rec.Read()
		h.must(err)
		var b strings.Builder
		for _, e := range sorted(have.Endpoints, compareEndpoints) {
			fmt.Fprintln(&b, endpointString(e))
		}
		return b.String()
	}
	before := endpoints()
	h.must(h.rec.SetBackup(253, false))
	if got := endpoints(); got != strings.Replace(before, " backup", "", 1) {
		t.Errorf("after nobackup:\n%s", got)
	}
	if ops := lines(h.apply(want)); ops != "ip mptcp endpoint change id 253 backup\n" {
		t.Errorf("the reconciler's idea differs: %s", ops)
	}
	h.must(h.rec.ToggleBackup(253, true))
	if got := endpoints(); got != before {
		t.Errorf("after a toggle:\n%s", got)
	}
	h.must(h.rec.RemoveEndpoint(255))
	h.must(h.rec.RemoveEndpoint(255))
	if got := endpoints(); strings.Contains(got, "id 255 ") {
		t.Errorf("after removal:\n%s", got)
	}
	h.must(h.rec.AddEndpoint(want.Endpoints[0]))
	h.must(h.rec.AddEndpoint(want.Endpoints[0]))
	if ops := h.apply(want); len(ops) != 0 {
		t.Errorf("all is as wanted, yet:\n%s", lines(ops))
	}
	if err := h.rec.SetBackup(251, true); err == nil {
		t.Error("no error for an endpoint that isn't there")
	}
}

func TestWatchPokes(t *testing.T) {
	h := newHouse(t)
	want := h.want(household())
	h.apply(want)
	pokes := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- h.cpe.Do(func() error {
			return h.rec.Watch(ctx, func() {
				select {
				case pokes <- struct{}{}:
				default:
				}
			})
		})
	}()
	// Watching has begun when a vandal is noticed; before that the vandal is repeated.
	for _, vandal := range []string{"nft flush table inet spillway", "ip rule del pref 900", "ip -6 route flush table 7701"} {
		noticed := false
		for range 20 {
			h.cpe.Run(strings.Fields(vandal)[0], strings.Fields(vandal)[1:]...)
			select {
			case <-pokes:
				noticed = true
			case <-time.After(500 * time.Millisecond):
			}
			h.apply(want)
			if noticed {
				break
			}
		}
		if !noticed {
			t.Errorf("%s: nobody poked", vandal)
		}
		drain(pokes) // our own repair's notice
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("Watch did not end")
	}
}

func drain(c chan struct{}) {
	for {
		select {
		case <-c:
		case <-time.After(200 * time.Millisecond):
			return
		}
	}
}

// dying is a context that ends after so many looks at it: a daemon killed before its n-th operation.
type dying struct {
	context.Context
	left int
}

func (d *dying) Err() error {
	if d.left--; d.left < 0 {
		return context.Canceled
	}
	return nil
}

// Killed before any operation of its start or stop, then started again and stopped: the state converges and no trace stays.
func TestKilledAtEachStep(t *testing.T) {
	h := newHouse(t)
	h.foreign()
	before := h.world()
	one := func() State { // one of everything is enough
		s := h.want(lanTable())
		s.Routes, s.Rules, s.Endpoints = s.Routes[1:3], s.Rules[1:4], s.Endpoints[:1]
		for key := range s.Sysctls {
			if key != "net/ipv4/conf/dsl/rp_filter" && key != "net/ipv4/tcp_fastopen" {
				delete(s.Sysctls, key)
			}
		}
		return s
	}
	want := one()
	steps := len(h.apply(want))
	h.stop()
	for step := range steps {
		for _, state := range []State{want, {}} { // killed while starting, then killed while stopping
			h.cpe.Do(func() error {
				_, err := h.rec.Apply(&dying{context.Background(), step}, state)
				return err
			})
			h.rec.Close()
			h.rec = h.reconciler()
			again := one()
			h.apply(again)
			if ops := h.apply(again); len(ops) != 0 {
				t.Fatalf("killed at step %d, then started: a second Apply did:\n%s", step, lines(ops))
			}
		}
		h.stop()
		if after := h.world(); after != before {
			t.Fatalf("killed at step %d, then started and stopped:\n%s", step, diffText(before, after))
		}
	}
	t.Logf("%d steps of start and stop", steps)
}

// A disk that takes no file keeps nobody from bonding, and a normal stop restores all the same.
func TestUnwritableDisk(t *testing.T) {
	h := newHouse(t)
	before := h.world()
	h.rec.saved = "/proc/nowhere/saved"
	err := h.cpe.Do(func() error { _, err := h.rec.Apply(context.Background(), h.want(lanTable())); return err })
	if err == nil || !strings.Contains(err.Error(), "sysctls would not be restored after a crash") {
		t.Errorf("error: %v", err)
	}
	if during := h.world(); !strings.Contains(during, "net/ipv4/conf/lte/rp_filter=2") {
		t.Errorf("sysctls were not set:\n%s", during)
	}
	h.must(h.cpe.Do(func() error { _, err := h.rec.Stop(context.Background()); return err }))
	if after := h.world(); after != before {
		t.Errorf("stop left a trace:\n%s", diffText(before, after))
	}
}

// Every golden table is one that nft takes.
func TestGoldenTablesLoad(t *testing.T) {
	h := newHouse(t)
	files, err := filepath.Glob("testdata/*.nft")
	h.must(err)
	if len(files) == 0 {
		t.Fatal("no golden tables")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			if filepath.Base(file) == "held.nft" {
				if err := h.cpe.Do(func() error { return h.rec.CanQueue(t.Context()) }); err != nil {
					t.Skip(err)
				}
			}
			if err := h.cpe.Run("nft", "-f", file); err != nil {
				t.Error(err)
			}
		})
	}
}
