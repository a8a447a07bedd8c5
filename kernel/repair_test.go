// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"spillway/testbed/netns"
)

func TestRepairsOnlyWhatWasBroken(t *testing.T) {
	h := newHouse(t)
	want := h.want(household())
	h.apply(want)
	for _, tt := range []struct{ vandal, want string }{
		{"nft flush ruleset", "nft load table"},
		{"nft delete table inet spillway", "nft load table"},
		{"nft flush chain inet spillway prerouting", "nft load table"},
		{"nft flush table inet spillway", "nft load table"},
		{"nft add table inet spillway { flags dormant; }", "nft load table"},
		{"nft chain inet spillway prerouting { policy drop; }", "nft load table"},
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

// A kernel that counts the uses of chains otherwise than Render does, as future ones may, has the table loaded once, and a flushed chain noticed all the same.
func TestKernelThatCountsOtherwise(t *testing.T) {
	h := newHouse(t)
	want := h.want(household())
	want.Ruleset.Mark += " more:1"
	h.apply(want)
	if ops := h.apply(want); len(ops) != 0 {
		t.Errorf("when all is well:\n%s", lines(ops))
	}
	if have, err := h.rec.Read(); err != nil || have.Ruleset.Mark != want.Ruleset.Mark {
		t.Errorf("the kernel's table is told as %q, want %q; %v", have.Ruleset.Mark, want.Ruleset.Mark, err)
	}
	h.must(h.cpe.Run("nft", "flush", "chain", "inet", "spillway", "prerouting"))
	if ops := h.apply(want); len(ops) != 1 {
		t.Errorf("a flushed chain: repaired by:\n%s", lines(ops))
	}
	other := h.want(lanTable())
	h.apply(other)
	if have, err := h.rec.Read(); err != nil || have.Ruleset.Mark != other.Ruleset.Mark {
		t.Errorf("another table is told as %q, want %q; %v", have.Ruleset.Mark, other.Ruleset.Mark, err)
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
		Usual().LinkRoute(0, d, a("fe80::1"), a("10.1.1.2")), // IPv4 by an IPv6 gateway
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
