// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"spillway/testbed/linkemu"
	"spillway/testbed/traffic"
	"spillway/testbed/world"
)

var none = math.NaN()

// whole is the expectation that a demand lost nothing.
func whole(demand string) Expectation {
	return Expectation{What: demand + ": connections broken or with a wrong octet", Measure: Broken(demand), Is: AtMost, Aim: 0, Bound: 0}
}

// All returns the scenarios, in the order in which one would tell them.
func All() []Scenario {
	return []Scenario{
		Bond("bond-down", "4", false, world.Two(), 24), Bond("bond-up", "4", true, world.Two(), 6),
		Bond("bond-down-v6", "6", false, world.Two(), 12), Bond("bond-up-v6", "6", true, world.Two(), 3),
		Quiet("half", 0.5, false, 1, 6*time.Second), Overflow(false, 3*time.Second, 4*time.Second), Overflow(true, 3*time.Second, 8*time.Second),
		CutMidway(), IPv4Lost(), BlackholeMidway("blackhole", Blackhole), BlackholeMidway("blackhole-up", BlackholeUp), BlackholeMidway("blackhole-down", BlackholeDown),
		RouterKilled(), Reloaded(), NativeMPTCP(), ConcentratorKilled(), ConcentratorKilledBlock(), Thousands(2000),
		Joined("ppp", ppp()), Joined("same-subnet", sameSubnet()), overV6(Joined("ipv6-one-link", v6Only())), Joined("two-and-two", twoAndTwo()), SlowHost(), Faithful(),
		Apart(Overflow(false, 3*time.Second, 4*time.Second)), Apart(CutMidway()), Apart(BlackholeMidway("blackhole", Blackhole)), EachItsOwn(),
	}
}

// Smoke returns the scenarios that every change must pass: one of each kind, within two minutes. `make scenarios` plays all.
func Smoke() []Scenario {
	names := []string{"bond-down", "bond-up-v6", "half", "overflow", "cut", "blackhole", "blackhole-up", "router-killed",
		"concentrator-killed", "concentrator-killed-block", "same-subnet", "each-its-own-user"}
	return slices.DeleteFunc(All(), func(s Scenario) bool { return !slices.Contains(names, s.Name) })
}

// Bond transfers so many MB as fast as it goes.
func Bond(name, family string, up bool, links []world.Link, mb int64) Scenario {
	kind, octets, about := traffic.Get, mb*1_000_000, "an unlimited download uses all links"
	if up {
		kind, about = traffic.Put, "an unlimited upload uses all links"
	}
	return Scenario{
		Name: name, About: about + " (IPv" + family + ")", Links: links,
		Settings: world.Settings{V6Concentrator: family == "6"},
		Demands:  []Demand{{Name: "bulk", Family: family, Demand: traffic.Demand{Kind: kind, Octets: octets}}},
		Expect: []Expectation{
			whole("bulk"),
			{What: "rate of the links' sum, from connect to the last octet", Unit: "%", Measure: Share("bulk", up), Is: AtLeast, Aim: 90, Bound: none},
			{What: "part of the octets that the first mobile link carried", Unit: "%", Measure: PayloadShare("lte"), Is: AtLeast, Aim: 20, Bound: 5},
			{What: "part of the octets that the first link carried", Unit: "%", Measure: PayloadShare(links[0].Name), Is: AtLeast, Aim: 10, Bound: 3},
			{What: "rate", Unit: "Mbit/s", Measure: Mbit("bulk"), Is: AtLeast, Aim: 0, Bound: none},
		},
	}
}

// Joined is Bond by lines of another kind. The rate counts from when the mobile links have joined, as policybench's does: what they take for that is
// the overflow's matter.
func Joined(name string, links []world.Link) Scenario {
	const from, length = 3 * time.Second, 10 * time.Second
	s := Bond(name, "4", false, links, 0)
	s.Demands[0].For = length
	rate := &s.Expect[1]
	rate.What = "rate of the links' sum, after 3 s"
	rate.Measure = func(r *Run) float64 {
		return Received("bulk", from, length-time.Second)(r) * 1e6 / r.sum(false) * 100
	}
	return s
}

// Quiet asks for a share of what DSL alone carries: LTE has nothing to do.
func Quiet(name string, share float64, up bool, connections int, length time.Duration) Scenario {
	links := []world.Link{world.DSL(20, 5), world.LTE(40, 20)}
	kind, rate := traffic.Get, links[0].Down.Rate
	if up {
		kind, rate = traffic.Put, links[0].Up.Rate
	}
	return Scenario{
		Name: name, About: "what DSL carries alone costs LTE nothing", Links: links,
		Demands: []Demand{{Name: "paced", Demand: traffic.Demand{Kind: kind, Mbit: share * rate / 1e6, For: length, Connections: connections}}},
		Length:  length,
		Expect: []Expectation{
			whole("paced"),
			// A machine that stands still for a moment looks like a full line: the bound leaves room for one such moment.
			{What: "octets of TCP payload on LTE", Unit: "B", Measure: Payload("lte", time.Nanosecond, 0), Is: AtMost, Aim: 0, Bound: share * rate / 8 * length.Seconds() / 10},
			{What: "TCP segments on LTE", Measure: Segments("lte", time.Nanosecond, 0), Is: AtMost, Aim: 0, Bound: none},
			{What: "rate", Unit: "Mbit/s", Measure: Mbit("paced"), Is: AtLeast, Aim: 0.95 * share * rate / 1e6, Bound: 0.5 * share * rate / 1e6},
		},
	}
}

// Overflow asks for half more than DSL carries, then for less.
func Overflow(up bool, over, under time.Duration) Scenario {
	links := []world.Link{world.DSL(20, 5), world.LTE(40, 20)}
	name, kind, line := "overflow", traffic.Get, links[0].Down.Rate/1e6
	if up {
		name, kind, line = "overflow-up", traffic.Put, links[0].Up.Rate/1e6
	}
	half := 0.75 * line
	return Scenario{
		Name: name, About: fmt.Sprintf("%g Mbit/s against DSL's %g: LTE carries the rest, and none when demand falls to %g", 2*half, line, half),
		Links: links,
		Demands: []Demand{
			{Name: "steady", Demand: traffic.Demand{Kind: kind, Mbit: half, For: over + under}},
			{Name: "extra", Demand: traffic.Demand{Kind: kind, Mbit: half, For: over}},
		},
		Length: over + under,
		Expect: []Expectation{
			whole("steady"), whole("extra"),
			{What: "LTE carries half of the excess after", Unit: "ms", Measure: Since("lte", 0, line/4), Is: AtMost, Aim: 1000, Bound: 1000 * over.Seconds()},
			{What: "DSL used while demand is over it", Unit: "%", Measure: func(r *Run) float64 { return LinkMbit("dsl", over/2, over)(r) / line * 100 }, Is: AtLeast, Aim: 97, Bound: 50},
			{What: "LTE carries a tenth of it until, after demand fell", Unit: "ms", Measure: Until("lte", over, line/20), Is: AtMost, Aim: 5000, Bound: none},
		},
	}
}

// SlowHost is a host at the end of a slow wireless network: it takes less than the links bring, so that what arrives is limited by the
// receive window of a connection that two links carry.
func SlowHost() Scenario {
	const mbit, length = 12.0, 10 * time.Second
	return Scenario{
		Name: "slow-host", About: "both links carry at once, 12 Mbit/s reach the host", Links: world.Two(),
		Settings: world.Settings{Policy: map[string]string{"mode": `"bond"`}},
		Demands:  []Demand{{Name: "bulk", Demand: traffic.Demand{Kind: traffic.Get, For: length}}},
		Events: []Event{{Do: "narrow", Act: func(w *world.World) error {
			return w.OnRouter("tc qdisc add dev " + world.LANDevice + " root tbf rate 12mbit burst 20k latency 100ms")
		}}},
		Expect: []Expectation{
			whole("bulk"),
			{What: "part of what can reach the host", Unit: "%", Measure: func(r *Run) float64 {
				return Received("bulk", 2*time.Second, length-time.Second)(r) / mbit * 100
			}, Is: AtLeast, Aim: 90, Bound: none},
		},
	}
}

// CutMidway takes DSL's carrier in the middle of a download and gives it back.
func CutMidway() Scenario {
	return Scenario{
		Name: "cut", About: "DSL loses carrier in the middle of a download and returns", Links: world.Two(),
		Demands: []Demand{{Name: "bulk", Demand: traffic.Demand{Kind: traffic.Get, Octets: 24_000_000}}},
		Events:  []Event{{At: 1500 * time.Millisecond, Do: Cut, Link: "dsl"}, {At: 3500 * time.Millisecond, Do: Restore, Link: "dsl"}},
		Expect: []Expectation{
			whole("bulk"),
			{What: "longest silence at the application", Unit: "ms", Measure: Stall("bulk"), Is: AtMost, Aim: 150, Bound: 10_000},
			{What: "rate from 1 s after the cut, of LTE's", Unit: "%", Measure: func(r *Run) float64 {
				return Received("bulk", 2500*time.Millisecond, 3500*time.Millisecond)(r) / 40 * 100
			}, Is: AtLeast, Aim: 90, Bound: none},
		},
	}
}

// IPv4Lost takes DSL's IPv4 address away while a download that DSL carries alone is under way, and leaves that of IPv6, in which nobody reaches
// the concentrator.
func IPv4Lost() Scenario {
	return Scenario{
		Name: "ipv4-lost", About: "DSL loses its IPv4 address for 3 s and keeps that of IPv6, and the concentrator has none of these", Links: world.Two(),
		Demands: []Demand{{Name: "paced", Demand: traffic.Demand{Kind: traffic.Get, Mbit: 8, For: 7 * time.Second}}},
		Events: []Event{
			{At: 1500 * time.Millisecond, Do: "lose", Act: func(w *world.World) error { return w.OnRouter("ip -4 addr flush dev dsl") }},
			{At: 4500 * time.Millisecond, Do: "return", Act: func(w *world.World) error { return w.Addresses(0) }},
		},
		Expect: []Expectation{
			whole("paced"),
			{What: "longest silence at the application", Unit: "ms", Measure: Stall("paced"), Is: AtMost, Aim: 1000, Bound: 10_000},
		},
	}
}

// BlackholeMidway silences DSL, its carrier kept.
func BlackholeMidway(name string, which Action) Scenario {
	return Scenario{
		Name: name, About: "DSL goes silent in the middle of a download, its carrier stays", Links: world.Two(),
		Demands: []Demand{{Name: "bulk", Demand: traffic.Demand{Kind: traffic.Get, Octets: 20_000_000}}},
		Events:  []Event{{At: 1500 * time.Millisecond, Do: which, Link: "dsl"}},
		Expect: []Expectation{
			whole("bulk"),
			{What: "longest silence at the application", Unit: "ms", Measure: Stall("bulk"), Is: AtMost, Aim: 700, Bound: 15_000},
		},
	}
}

// RouterKilled ends the daemon without warning: the next connection is forwarded natively; a new daemon adopts what it finds.
func RouterKilled() Scenario {
	const killed, again = time.Second, 2500 * time.Millisecond
	return Scenario{
		Name: "router-killed", About: "SIGKILL of the daemon: the next connection works at once, natively; a restart relays again", Links: world.Two(),
		Demands: []Demand{
			{Name: "cut short", Demand: traffic.Demand{Kind: traffic.Get, Octets: 12_000_000, Timeout: 20 * time.Second}},
			{Name: "during", After: 1, Demand: traffic.Demand{Kind: traffic.Get, Octets: 200_000}},
			{Name: "after", After: 2, Start: 500 * time.Millisecond, Demand: traffic.Demand{Kind: traffic.Get, Octets: 12_000_000}},
		},
		Events: []Event{{At: killed, Do: KillRouter}, {At: again, Do: StartRouter}},
		Expect: []Expectation{
			whole("during"), whole("after"),
			{What: "of 1 download cut short by the kill, ended as if whole", Measure: WithError("cut short", "ended after"), Is: AtMost, Aim: 0, Bound: 0},
			{What: "time to the first octet right after the kill", Unit: "ms", Measure: First("during"), Is: AtMost, Aim: 200, Bound: 5000},
			{What: "LTE octets of a relayed download after the restart", Unit: "B", Measure: Octets("lte", again, 0), Is: AtLeast, Aim: 1_000_000, Bound: 100_000},
		},
	}
}

// ConcentratorKilled ends the concentrator: connections go direct within 3 s.
func ConcentratorKilled() Scenario {
	return Scenario{
		Name: "concentrator-killed", About: "the concentrator dies: new connections go natively within 3 s", Links: world.Two(),
		Demands: []Demand{
			{Name: "cut short", Demand: traffic.Demand{Kind: traffic.Get, Octets: 12_000_000, Timeout: 20 * time.Second}},
			{Name: "at once", After: 1, Demand: traffic.Demand{Kind: traffic.Get, Octets: 20_000}},
			{Name: "after 3 s", After: 1, Start: 3 * time.Second, Demand: traffic.Demand{Kind: traffic.Get, Octets: 100_000, Connections: 5}},
		},
		Events: []Event{{At: time.Second, Do: KillConcentrator}},
		Expect: []Expectation{
			whole("after 3 s"),
			{What: "of 1 download cut short by the kill, ended as if whole", Measure: WithError("cut short", "ended after"), Is: AtMost, Aim: 0, Bound: 0},
			{What: "connections that fail in the first instant", Measure: Refused("at once"), Is: AtMost, Aim: 0, Bound: 1},
		},
	}
}

// ConcentratorKilledBlock is the same for those who would rather have nothing than an unbonded connection.
func ConcentratorKilledBlock() Scenario {
	return Scenario{
		Name: "concentrator-killed-block", About: "the concentrator dies and on_concentrator_down is block: connections are refused", Links: world.Two(),
		Settings: world.Settings{Policy: map[string]string{"on_concentrator_down": `"block"`}},
		Demands: []Demand{
			{Name: "before", Demand: traffic.Demand{Kind: traffic.Get, Octets: 20_000}},
			{Name: "after 3 s", After: 1, Start: 3 * time.Second, Demand: traffic.Demand{Kind: traffic.Get, Octets: 20_000, Connections: 5, Timeout: 10 * time.Second}},
		},
		Events: []Event{{At: time.Second, Do: KillConcentrator}},
		Expect: []Expectation{
			whole("before"),
			{What: "of 5 connections refused", Measure: Refused("after 3 s"), Is: AtLeast, Aim: 5, Bound: 5},
		},
	}
}

// Thousands opens many connections within four seconds, holds them until all are open, then checks every octet of each. The
// requests come as evenly as the connections, so that no queue overflows: this is about the relay, not about lossy lines.
func Thousands(n int) Scenario {
	return Scenario{
		Name: "thousands", About: "thousands of connections at once, each octet checked", Links: world.Two(),
		Demands: []Demand{{Name: "many", Demand: traffic.Demand{Kind: traffic.Get, Connections: n, Octets: 3000, Every: 4 * time.Second / time.Duration(n), Hold: 5 * time.Second, Timeout: 90 * time.Second}}},
		Expect:  []Expectation{whole("many")},
	}
}

// overV6 reaches the concentrator over IPv6, whatever the LAN speaks.
func overV6(s Scenario) Scenario {
	s.Settings.V6Concentrator = true
	return s
}

func ppp() []world.Link {
	links := world.Two()
	links[0].Kind, links[1].Kind = linkemu.PPP, linkemu.PPP
	return links
}

// sameSubnet is two modems of the same make: both call themselves 192.168.8.1 and translate addresses.
func sameSubnet() []world.Link {
	links := world.Two()
	for i := range links {
		links[i].Network, links[i].NAT, links[i].NoV6, links[i].Host = netip.MustParsePrefix("192.168.8.0/24"), true, true, uint8(2+i)
	}
	return links
}

func v6Only() []world.Link {
	links := world.Two()
	links[1].NoV4 = true
	return links
}

func twoAndTwo() []world.Link {
	links := []world.Link{world.DSL(8, 2), world.DSL(8, 2), world.LTE(16, 8), world.LTE(16, 8)}
	for i, name := range []string{"dsl", "dsl2", "lte", "lte2"} {
		links[i].Name = name
	}
	links[1].Role = "primary"
	return links
}
