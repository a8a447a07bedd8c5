// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

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

const (
	server4 = "203.0.113.9"
	server6 = "2001:db8:9::9"
	port    = "80"
)
