// SPDX-License-Identifier: Apache-2.0

package faults_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"spillway/mptcp"
	"spillway/testbed/linkemu"
	"spillway/testbed/netns"
	"spillway/testbed/scenario"
	"spillway/testbed/traffic"
	"spillway/testbed/world"
)

const blackholed = "machine/sysctl blackhole_timeout"

// A fault of the real router, and the check that must name it. The checks' own scenarios, of a made-up world, are in package doctor.
var named = []struct {
	fault, mend func(w *world.World) error
	check       string
	want        string // result
	words       string // in what is said
	again       bool   // the daemon mends it by itself: it is broken anew before each look
}{
	{sh("sysctl -qw net.mptcp.enabled=0"), sh("sysctl -qw net.mptcp.enabled=1"), "machine/mptcp", "fail", "switched off", false},
	{sh("sysctl -qw net.mptcp.blackhole_timeout=3600"), sh("sysctl -qw net.mptcp.blackhole_timeout=0"), blackholed, "fail", "3600", true},
	{sh("sysctl -qw net.ipv4.ip_forward=0"), sh("sysctl -qw net.ipv4.ip_forward=1"), "machine/sysctl ip_forward", "fail", "goes nowhere", false},
	{sh("sysctl -qw net.ipv4.conf.lte.rp_filter=1"), sh("sysctl -qw net.ipv4.conf.lte.rp_filter=2"), "link lte/rp_filter", "fail", "strict", true},
	{sh("ip link set lan0 down"), sh("ip link set lan0 up"), "lan/lan0", "fail", "switched off", false},
	{sh("ip link set lte mtu 1000"), sh("ip link set lte mtu 1500"), "link lte/mtu", "fail", "1000", false},
	{func(w *world.World) error { return w.Lines[1].Cut() }, func(w *world.World) error { return w.Lines[1].Restore() }, "link lte/carrier", "fail", "no carrier", false},
	{sh("ip addr flush dev lte"), func(w *world.World) error { return w.Addresses(1) }, "link lte/address", "fail", "no usable address", false},
	{sh("ip route del default dev lte; ip -6 route del default dev lte"), func(w *world.World) error { return w.Addresses(1) }, "link lte/route", "fail", "no default route", false},
	{box(0, linkemu.Middlebox{StripMPTCP: true}), box(0, linkemu.Middlebox{}), "link dsl/mptcp kept", "fail", "falls back", false},
	{box(0, linkemu.Middlebox{DropSYNData: true}), box(0, linkemu.Middlebox{}), "link dsl/syn data", "warn", "SYN", false},
	{box(1, linkemu.Middlebox{StripJoin: true}), box(1, linkemu.Middlebox{}), "link lte/join", "fail", "second subflow", false},
	{func(w *world.World) error { return w.Providers[0].Script("link set core mtu 1300\n") }, func(w *world.World) error { return w.Providers[0].Script("link set core mtu 1500\n") },
		"link dsl/path mtu", "warn", "1300", false},
	{firewall("", "accept"), firewall(ourLine(), "accept"), "lan/firewall", "fail", "flood", false},
	{func(w *world.World) error { w.KillConcentrator(); return nil }, func(w *world.World) error { return w.StartConcentrator() }, "link dsl/concentrator reachable", "fail", "no TCP connection", false},
	{func(w *world.World) error {
		w.KillConcentrator()
		_, err := w.Demand(traffic.Demand{Kind: traffic.Get, Octets: 100, Timeout: 5 * time.Second}) // somebody must find out
		return err
	}, func(w *world.World) error { return w.StartConcentrator() }, "lan/door", "fail", "closed", false},
}

func sh(line string) func(*world.World) error {
	return func(w *world.World) error { return w.CPE.Run("sh", "-c", line) }
}

func box(link int, b linkemu.Middlebox) func(*world.World) error {
	return func(w *world.World) error { w.Lines[link].Middleboxes(b, b); return nil }
}

// TestDoctorNamesRealFaults breaks one thing after the other on a router that runs.
func TestDoctorNamesRealFaults(t *testing.T) {
	links := world.Two()
	links[1].Role = "primary" // it carries, so that it is asked over
	w := world.New(t, world.Config{Links: links})
	if err := (scenario.Scenario{}).Ready(w); err != nil {
		t.Fatal(err)
	}
	type check struct{ Name, Result, What, Remedy, Command string }
	ask := func() (all map[string]check, failed []string) {
		t.Helper()
		answer, err := w.Router.Control("doctor", nil)
		if err != nil {
			t.Fatal(err)
		}
		var d struct{ Checks []check }
		if err := json.Unmarshal(answer, &d); err != nil {
			t.Fatal(err)
		}
		all = map[string]check{}
		for _, c := range d.Checks {
			all[c.Name] = c
			if c.Result == "fail" {
				failed = append(failed, c.Name+": "+c.What)
			}
		}
		return all, failed
	}
	healthy := func(after string) {
		t.Helper()
		var failed []string
		if err := world.WaitFor("", 3*time.Minute, func() bool { _, failed = ask(); return len(failed) == 0 }); err != nil {
			t.Fatalf("after %s doctor still says %q", after, failed)
		}
	}
	healthy("the start")
	_, err := os.Stat("/proc/sys/net/mptcp/blackhole_timeout")
	known := err == nil
	if !known {
		t.Log("without " + blackholed + ": this kernel does not switch MPTCP off by itself (Linux 6.12 does)")
	}
	for _, f := range named {
		if f.check == blackholed && !known {
			continue
		}
		if err := f.fault(w); err != nil {
			t.Fatal(err)
		}
		var c check
		if world.WaitFor("", 2*time.Minute, func() bool {
			if f.again {
				f.fault(w)
			}
			all, _ := ask()
			c = all[f.check]
			return c.Result == f.want && strings.Contains(c.What, f.words)
		}) != nil {
			t.Errorf("%s: %s, %q; want %s with %q", f.check, c.Result, c.What, f.want, f.words)
		} else if c.Remedy == "" || c.Command == "" {
			t.Errorf("%s names no remedy or no command: %+v", f.check, c)
		} else {
			t.Logf("%s %s: %s", c.Result, f.check, c.What)
		}
		if err := f.mend(w); err != nil {
			t.Fatal(err)
		}
		healthy("the end of " + f.check)
	}
}

// TestDoctorFindsNothingWhereConnectionsAreTreatedApart: there the kernel adds no subflow by itself, and the daemon only to the relay's.
func TestDoctorFindsNothingWhereConnectionsAreTreatedApart(t *testing.T) {
	if !mptcp.Probe().Apart {
		netns.Missing(t, "subflows made by the userspace path manager keep no flag and no device (Linux 6.12)")
	}
	links := world.Two()
	links[1].Role = "primary"
	w := world.New(t, world.Config{Links: links, Settings: world.Settings{Policy: map[string]string{"path_manager": `"user"`}}})
	if err := (scenario.Scenario{}).Ready(w); err != nil {
		t.Fatal(err)
	}
	var bad, joins []string
	err := world.WaitFor("", time.Minute, func() bool {
		answer, err := w.Router.Control("doctor", nil)
		if err != nil {
			t.Fatal(err)
		}
		var d struct {
			Checks []struct{ Name, Result, What string }
		}
		if err := json.Unmarshal(answer, &d); err != nil {
			t.Fatal(err)
		}
		bad, joins = nil, nil
		for _, c := range d.Checks {
			if c.Result == "fail" {
				bad = append(bad, c.Name+": "+c.What)
			}
			if strings.HasSuffix(c.Name, "/join") && c.Result == "ok" {
				joins = append(joins, c.Name)
			}
		}
		return len(bad) == 0 && len(joins) == 2
	})
	if err != nil {
		t.Errorf("doctor says %q; joins that are well: %q", bad, joins)
	}
}
