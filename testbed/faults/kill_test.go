// SPDX-License-Identifier: Apache-2.0

package faults_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"spillway/testbed/traffic"
	"spillway/testbed/world"
)

// foreign is what others have in the router's kernel: numbers beside ours, and a value that we change.
const foreign = `
nft 'table inet foreign { set s { type ipv4_addr; elements = { 192.0.2.1 }; }; chain c { type filter hook prerouting priority mangle; ip saddr @s counter drop; }; }'
ip rule add pref 905 from 192.0.2.0/24 lookup 100
ip rule add pref 1001 fwmark 0x100/0x3f00 lookup 1
ip -6 rule add pref 20000 from 2001:db8:f::/48 lookup 101
ip route add 192.0.2.0/24 dev lan0 table 100
ip route add blackhole 192.0.2.0/24 table 7777
ip mptcp endpoint add 192.168.1.1 id 7 signal
ip mptcp limits set subflows 3 add_addr_accepted 1
sysctl -qw net.ipv4.tcp_fastopen=2 net.ipv4.conf.lte.rp_filter=1 net.mptcp.blackhole_timeout=3600
`

// look prints the router's kernel as it is.
const look = `
nft -s list ruleset
ip rule; ip -6 rule
ip route show table all; ip -6 route show table all | sed 's/ expires [0-9]*sec//'
ip mptcp endpoint show; ip mptcp limits show
sysctl net.ipv4.tcp_fastopen net.ipv4.tcp_rmem net.mptcp.enabled net.mptcp.blackhole_timeout net.ipv4.conf.all.rp_filter net.ipv4.conf.dsl.rp_filter net.ipv4.conf.lte.rp_filter
`

// TestKilledAtAnyInstant kills the daemon at instants of its start and of its stop. Whatever it left half-done, the LAN has
// the Internet, what is others' is untouched, the next start makes the whole state, and a stop leaves no trace.
func TestKilledAtAnyInstant(t *testing.T) {
	w := world.New(t, world.Config{Links: world.Two()})
	sh := func(script string) string {
		t.Helper()
		out, err := w.CPE.Output("sh", "-ec", script)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	sh(foreign)
	before := sh(look)
	if err := w.StartServer(w.Dir); err != nil {
		t.Fatal(err)
	}
	if err := w.StartConcentrator(); err != nil {
		t.Fatal(err)
	}
	start := func() {
		t.Helper()
		if err := w.Router.Start(w.TOML()); err != nil {
			t.Fatal(err)
		}
		var u world.Usage
		if err := world.WaitFor("rules and endpoints of both links", 10*time.Second, func() (whole bool) {
			u, _ = w.Router.Usage()
			return u.Rules >= 10 && u.Routes >= 6
		}); err != nil {
			t.Fatalf("%v: %+v", err, u)
		}
	}
	start()
	holds := ours(sh(look))
	t.Logf("a running daemon:\n%s", difference(before, holds))
	if err := w.Router.Stop(); err != nil {
		t.Fatal(err)
	}
	if after := sh(look); after != before {
		t.Fatalf("a stop leaves traces:\n%s", difference(before, after))
	}

	config := filepath.Join(w.Dir, "spillway.toml")
	if err := os.WriteFile(config, []byte(w.TOML()), 0o644); err != nil {
		t.Fatal(err)
	}
	check := func(when string, at time.Duration) {
		t.Helper()
		r, err := w.Demand(traffic.Demand{Kind: traffic.Get, Octets: 2000, Timeout: 10 * time.Second})
		if err != nil || r.Failed+r.Bad > 0 {
			t.Errorf("killed %v after %s: the LAN is cut off: %+v, %v", at, when, r, err)
		}
		now := sh("nft -s list table inet foreign; ip rule show pref 905; ip rule show pref 1001; ip -6 rule show pref 20000; ip route show table 100; ip route show table 7777; ip mptcp endpoint show id 7")
		for _, want := range []string{"elements = { 192.0.2.1 }", "905:", "1001:", "20000:", "192.0.2.0/24 dev lan0", "blackhole 192.0.2.0/24", "192.168.1.1 id 7 signal"} {
			if !strings.Contains(now, want) {
				t.Errorf("killed %v after %s: others' %q is gone:\n%s", at, when, want, now)
			}
		}
	}
	for _, at := range []time.Duration{5, 10, 15, 20, 30, 50, 100} {
		at *= time.Millisecond
		p, err := w.Start(w.CPE, "killed", w.Bin.Spillway, "run", "-config", config)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(at)
		p.Kill()
		check("start", at)
	}
	start()
	if now := ours(sh(look)); now != holds {
		t.Errorf("a start after many kills makes another state:\n%s", difference(holds, now))
	}
	for _, at := range []time.Duration{0, 2, 5, 10, 20} {
		at *= time.Millisecond
		u, err := w.Router.Usage()
		if err != nil {
			t.Fatal(err)
		}
		syscall.Kill(u.Pid, syscall.SIGTERM)
		time.Sleep(at)
		w.Router.Kill()
		check("SIGTERM", at)
		start()
		if now := ours(sh(look)); now != holds {
			t.Errorf("a start after a kill %v into a stop makes another state:\n%s", at, difference(holds, now))
		}
	}
	if err := w.Router.Stop(); err != nil {
		t.Fatal(err)
	}
	if after := sh(look); after != before {
		t.Errorf("after kills and a stop, traces are left:\n%s", difference(before, after))
	}
}

// ours leaves out what differs from start to start: the doors' ports, and the mark that is made of them.
func ours(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.Contains(line, "comment") && !strings.Contains(line, "tproxy") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// difference lists lines that only one text has.
func difference(a, b string) string {
	var out strings.Builder
	for _, d := range []struct{ sign, in, notIn string }{{"- ", a, b}, {"+ ", b, a}} {
		for line := range strings.Lines(d.in) {
			if !strings.Contains(d.notIn, line) {
				out.WriteString(d.sign + line)
			}
		}
	}
	return out.String()
}
