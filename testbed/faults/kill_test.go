// SPDX-License-Identifier: Apache-2.0

package faults_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"spillway/testbed/traffic"
	"spillway/testbed/world"
)

// foreign is what others have in the router's kernel: numbers beside ours, and values that we change, as far as it knows them (-e).
const foreign = `
nft 'table inet foreign { set s { type ipv4_addr; elements = { 192.0.2.1 }; }; chain c { type filter hook prerouting priority mangle; ip saddr @s counter drop; }; }'
ip rule add pref 905 from 192.0.2.0/24 lookup 100
ip rule add pref 1001 fwmark 0x100/0x3f00 lookup 1
ip -6 rule add pref 20000 from 2001:db8:f::/48 lookup 101
ip route add 192.0.2.0/24 dev lan0 table 100
ip route add blackhole 192.0.2.0/24 table 7777
ip mptcp endpoint add 192.168.1.1 id 7 signal
ip mptcp limits set subflows 3 add_addr_accepted 1
sysctl -eqw net.ipv4.tcp_fastopen=2 net.ipv4.conf.lte.rp_filter=1 net.mptcp.blackhole_timeout=3600
`

// look prints the router's kernel as it is.
const look = `
nft -s list ruleset
ip rule; ip -6 rule
ip route show table all; ip -6 route show table all | sed 's/ expires [0-9]*sec//'
ip mptcp endpoint show; ip mptcp limits show
sysctl -e net.ipv4.tcp_fastopen net.ipv4.tcp_rmem net.mptcp.enabled net.mptcp.blackhole_timeout net.ipv4.conf.all.rp_filter net.ipv4.conf.dsl.rp_filter net.ipv4.conf.lte.rp_filter
`

// TestKilledAtEveryStep kills the daemon at each system call of its start and of its stop by which it changes something. Whatever
// it left half-done, the LAN has the Internet, what is others' is untouched, the next start makes the whole state, and a stop
// leaves no trace. KILL_EVERY=1 (`make kills`) takes all steps, else it is each ninth, others in each of the two.
func TestKilledAtEveryStep(t *testing.T) {
	every := int64(9)
	if n, err := strconv.ParseInt(os.Getenv("KILL_EVERY"), 10, 32); err == nil {
		every = max(1, n)
	}
	w := world.New(t, world.Config{Links: world.Two()})
	k := killing{T: t, w: w}
	k.sh(foreign)
	k.before = k.sh(look)
	if err := w.StartServer(w.Dir); err != nil {
		t.Fatal(err)
	}
	if err := w.StartConcentrator(); err != nil {
		t.Fatal(err)
	}
	k.start()
	k.holds = ours(k.sh(look))
	t.Logf("a running daemon:\n%s", difference(k.before, k.holds))
	k.stop("an ordinary stop")

	starts, stops := k.steps()
	if len(starts) < 15 || len(stops) < 8 {
		t.Fatalf("a start has the steps %q, a stop %q: fewer than can be", starts, stops)
	}
	t.Logf("%d steps of the start, %d of the stop; killed at every %d.", len(starts), len(stops), every)
	for n := int64(1); n <= int64(len(starts)); n += every {
		k.point("start", n, starts[n-1], k.traced(n))
	}
	for n := min(every/2+1, int64(len(stops))); n <= int64(len(stops)); n += every {
		d := k.traced(0)
		k.up(d)
		d.count.Store(0)
		d.dead.Store(n)
		unix.Kill(int(d.pid.Load()), unix.SIGTERM)
		k.point("stop", n, stops[n-1], d)
	}
}

// killing is the world of TestKilledAtEveryStep and what its router's kernel holds without and with a daemon.
type killing struct {
	*testing.T
	w             *world.World
	before, holds string
}

func (k *killing) sh(script string) string {
	k.Helper()
	out, err := k.w.CPE.Output("sh", "-ec", script)
	if err != nil {
		k.Fatal(err)
	}
	return out
}

// start starts a daemon that nobody traces.
func (k *killing) start() {
	k.Helper()
	if err := k.w.Router.Start(k.w.TOML()); err != nil {
		k.Fatal(err)
	}
	k.whole()
}

// whole waits for the rules and routes of both links.
func (k *killing) whole() {
	k.Helper()
	var out string
	if err := world.WaitFor("rules and routes of both links", time.Minute, func() bool {
		out = k.sh("ip -d rule; ip -6 -d rule; ip route show table all; ip -6 route show table all")
		return strings.Count(out, "proto 213") >= 16
	}); err != nil {
		k.Fatalf("%v:\n%s", err, out)
	}
}

// stop stops it; nothing of it may be left.
func (k *killing) stop(when string) {
	k.Helper()
	if err := k.w.Router.Stop(); err != nil {
		k.Errorf("stop after %s: %v", when, err)
	}
	if after := k.sh(look); after != k.before {
		k.Errorf("a stop after %s leaves traces:\n%s", when, difference(k.before, after))
	}
}

// traced starts a daemon under the tracer, to be killed at a step; 0: at none.
func (k *killing) traced(dead int64) *traced {
	k.Helper()
	config := filepath.Join(k.w.Dir, "spillway.toml")
	if err := os.WriteFile(config, []byte(k.w.TOML()), 0o644); err != nil {
		k.Fatal(err)
	}
	d, err := trace(k, k.w.CPE.Command(k.w.Bin.Spillway, "run", "-config", config), dead)
	if err != nil {
		k.Fatal(err)
	}
	k.Cleanup(func() { d.kill(k) })
	return d
}

// up waits until a traced daemon has made everything, and goes on until it makes no more steps.
func (k *killing) up(d *traced) {
	k.Helper()
	if err := world.WaitFor("the traced daemon's door", 2*time.Minute, func() bool {
		s, err := k.w.Router.Status()
		return err == nil && s.Doors.Open
	}); err != nil {
		k.Fatal(err)
	}
	k.whole()
	for last := int64(-1); d.count.Load() != last; {
		last = d.count.Load()
		time.Sleep(300 * time.Millisecond)
	}
}

// steps lets a daemon start and stop, and names what it did.
func (k *killing) steps() (starts, stops []string) {
	k.Helper()
	d := k.traced(0)
	k.up(d)
	starts = k.taken(d)
	unix.Kill(int(d.pid.Load()), unix.SIGTERM)
	select {
	case <-d.ended:
	case <-time.After(time.Minute):
		k.Fatal("a traced daemon does not stop")
	}
	return starts, k.taken(d)
}

// taken are the names of the steps so far that nobody has asked for yet.
func (k *killing) taken(d *traced) (all []string) {
	for {
		select {
		case name := <-d.names:
			all = append(all, strings.ReplaceAll(name, k.w.Dir+"/", ""))
		default:
			return all
		}
	}
}

// point waits until a daemon has died at a step, and looks at what follows.
func (k *killing) point(of string, n int64, name string, d *traced) {
	k.Helper()
	select {
	case <-d.ended:
	case <-time.After(20 * time.Second):
		k.Logf("%s, step %d: not reached this time", of, n)
		d.kill(k)
	}
	what := fmt.Sprintf("a kill at step %d of the %s (%s)", n, of, name)
	r, err := k.w.Demand(traffic.Demand{Kind: traffic.Get, Octets: 2000, Timeout: time.Minute})
	if err != nil || r.Failed+r.Bad > 0 {
		k.Errorf("%s: the LAN is cut off: %+v, %v", what, r, err)
	}
	now := k.sh("nft -s list table inet foreign; ip rule show pref 905; ip rule show pref 1001; ip -6 rule show pref 20000; ip route show table 100; ip route show table 7777; ip mptcp endpoint show id 7")
	for _, want := range []string{"elements = { 192.0.2.1 }", "905:", "1001:", "20000:", "192.0.2.0/24 dev lan0", "blackhole 192.0.2.0/24", "192.168.1.1 id 7 signal"} {
		if !strings.Contains(now, want) {
			k.Errorf("%s: others' %q is gone:\n%s", what, want, now)
		}
	}
	left := strings.Count(difference(k.before, k.sh(look)), "\n")
	k.start()
	if now := ours(k.sh(look)); now != k.holds {
		k.Errorf("a start after %s makes another state:\n%s", what, difference(k.holds, now))
	}
	k.stop(what)
	k.Logf("%-5s %3d  %-60s LAN served in %4.0f ms; %2d lines of the kernel's state differ; the next start and stop mend it", of, n, name, r.Done.Max, left)
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
