// SPDX-License-Identifier: Apache-2.0

// Package policybench is what the policy promises, as scenarios whose expectations carry keys: DSL first, LTE only for
// what overflows, failover nobody notices. Lines are DSL 20/5 Mbit/s with 15 ms and LTE 40/20 Mbit/s with 35 ms unless said.
package policybench

import (
	"fmt"
	"math"
	"time"

	"spillway/testbed/linkemu"
	"spillway/testbed/scenario"
	"spillway/testbed/traffic"
	"spillway/testbed/world"
)

func lines() []world.Link { return []world.Link{world.DSL(20, 5), world.LTE(40, 20)} }

const goodput = scenario.Goodput

// All is one round. length is how long the quiet scenarios last.
func All(length time.Duration) []scenario.Scenario {
	all := quiet(length)
	all = append(all, overflow(false), overflow(true), bond(false), bond(true))
	all = append(all, web()...)
	all = append(all, carrier("dsl", "busy"), carrier("dsl", "off"), carrier("lte", "off"), recovery())
	for _, how := range []scenario.Action{scenario.Blackhole, scenario.BlackholeUp, scenario.BlackholeDown} {
		all = append(all, blackhole(how, "dsl"))
	}
	all = append(all, blackhole(scenario.Blackhole, "lte"))
	return append(all, comeback(), flapping(), idle(1000), scenario.Crowd(1000), satellites())
}

func figure(key, what, unit string, is scenario.Comparison, aim float64, measure func(*scenario.Run) float64) scenario.Expectation {
	return scenario.Expectation{Key: key, What: what, Unit: unit, Is: is, Aim: aim, Bound: math.NaN(), Measure: measure}
}

// whole says that nothing of a demand broke; every scenario has it.
func whole(demand string) scenario.Expectation {
	return figure("broken", demand+": connections broken or with a wrong octet", "", scenario.AtMost, 0, scenario.Broken(demand))
}

// quiet is demand that DSL carries alone: 25, 50 and 85 % of what it can carry as payload, down and up, one and eight connections.
func quiet(length time.Duration) (all []scenario.Scenario) {
	for _, percent := range []int{25, 50, 85} {
		for _, up := range []bool{false, true} {
			for _, connections := range []int{1, 8} {
				s := scenario.Quiet(fmt.Sprintf("quiet-%d", percent), float64(percent)/100*goodput, up, connections, length)
				s.About = fmt.Sprintf("%d %% of DSL, %s, %d connections", percent, map[bool]string{false: "down", true: "up"}[up], connections)
				s.Links = lines()
				s.Expect = []scenario.Expectation{
					whole("paced"),
					figure(fmt.Sprintf("lte_bytes_at_%d", percent), "octets of TCP payload on LTE", "B", scenario.AtMost, 0, scenario.Payload("lte", time.Nanosecond, 0)),
					figure(fmt.Sprintf("lte_segments_at_%d", percent), "TCP segments on LTE", "", scenario.AtMost, 0, scenario.Segments("lte", time.Nanosecond, 0)),
				}
				all = append(all, s)
			}
		}
	}
	return all
}

// overflow is half more than DSL carries, then three quarters of it. LTE carries in turns of about a second, so shares are taken over many of
// them: of four or five it is chance with which half of one they begin and end, which was 10 % of LTE's part.
func overflow(up bool) scenario.Scenario {
	const from, over, under = 4 * time.Second, 20 * time.Second, 8 * time.Second
	s := scenario.Overflow(up, over, under)
	line, pre := 20.0, ""
	if up {
		line, pre = 5, "up_"
	}
	excess := 1.5*line - line*goodput // the demand is payload, the line's rate packets
	s.Expect = []scenario.Expectation{
		whole("steady"), whole("extra"),
		figure("overflow_"+pre+"enter_ms", "LTE carries 80 % of the excess, after DSL was full", "ms", scenario.AtMost, 1000, func(r *scenario.Run) float64 {
			return scenario.Since("lte", 0, 0.8*excess)(r) - scenario.Since("dsl", 0, 0.9*line)(r)
		}),
		figure("overflow_"+pre+"share_error", "LTE's payload against the excess", "%", scenario.AtMost, 10, func(r *scenario.Run) float64 {
			carried := scenario.Payload("lte", from, over)(r) * 8 / (over - from).Seconds() / 1e6
			return math.Abs(carried/excess-1) * 100
		}),
		figure(pre+"dsl_used", "DSL's use meanwhile", "%", scenario.AtLeast, 97, func(r *scenario.Run) float64 {
			return scenario.LinkMbit("dsl", from, over)(r) / line * 100
		}),
		figure("overflow_"+pre+"leave_ms", "LTE empty, after demand fell", "ms", scenario.AtMost, 5000, scenario.Until("lte", over, 0.1)),
	}
	return s
}

// bond is unlimited demand.
func bond(up bool) scenario.Scenario {
	kind, name, sum := traffic.Get, "bond-down", 60.0
	if up {
		kind, name, sum = traffic.Put, "bond-up", 25.0
	}
	const from, length = 3 * time.Second, 10 * time.Second
	return scenario.Scenario{
		Name: name, About: "unlimited demand", Links: lines(),
		Demands: []scenario.Demand{{Name: "bulk", Demand: traffic.Demand{Kind: kind, For: length}}},
		Expect: []scenario.Expectation{
			whole("bulk"),
			figure(map[bool]string{false: "bond_share", true: "bond_up_share"}[up], "goodput of the most that both lines can carry, after 3 s", "%", scenario.AtLeast, 95,
				func(r *scenario.Run) float64 {
					return scenario.Received("bulk", from, length-time.Second)(r) / (sum * goodput) * 100
				}),
		},
	}
}

// web is two hundred short requests beside an unlimited download: over both links, and over DSL alone without us.
func web() []scenario.Scenario {
	demands := []scenario.Demand{
		{Name: "bulk", Demand: traffic.Demand{Kind: traffic.Get, For: 14 * time.Second}},
		{Name: "web", Start: 2 * time.Second, Demand: traffic.Demand{Kind: traffic.Web, Connections: 200, Parallel: 20, Every: 50 * time.Millisecond}},
	}
	latency := func(key string) []scenario.Expectation {
		return []scenario.Expectation{whole("web"), figure(key, "median time of a short request beside bulk", "ms", scenario.AtMost, math.Inf(1), scenario.Median("web"))}
	}
	return []scenario.Scenario{
		{Name: "web-dsl", About: "short requests beside bulk, DSL alone, no relay", Links: lines()[:1], Native: true, Demands: demands, Expect: latency("web_ms_dsl_alone")},
		{Name: "web-bonded", About: "short requests beside bulk, both links", Links: lines(), Demands: demands, Expect: latency("web_ms_bonded")},
	}
}

// carrier takes one link's carrier under load. With policy.standby "busy" LTE's subflows are there already; without (the default, for it
// costs LTE nothing) they have to join first, which takes two round trips of LTE's: 140 ms before the peer can be told, and 70 until data comes.
func carrier(link, standby string) scenario.Scenario {
	s := scenario.Scenario{
		Name: "carrier-" + link, About: link + " loses carrier under load, standby " + standby, Links: lines(),
		Settings: world.Settings{Policy: map[string]string{"standby": `"` + standby + `"`}},
		Demands:  []scenario.Demand{{Name: "paced", Demand: traffic.Demand{Kind: traffic.Get, Mbit: 12, For: 6 * time.Second}}},
		Events:   []scenario.Event{{At: 3 * time.Second, Do: scenario.Cut, Link: link}},
		Expect: []scenario.Expectation{
			whole("paced"),
			figure("stall_carrier_ms", "longest silence at the LAN's application", "ms", scenario.AtMost, 150, scenario.Stall("paced")),
		},
	}
	if link == "dsl" && standby == "off" {
		s.Name += "-on-demand"
		s.Expect[1] = figure("stall_carrier_on_demand_ms", "longest silence at the LAN's application", "ms", scenario.AtMost, math.Inf(1), scenario.Stall("paced"))
	}
	if link == "lte" {
		s.Demands[0].Mbit = 30 // so that LTE carries
		s.Expect[1] = figure("stall_carrier_lte_ms", "longest silence at the LAN's application", "ms", scenario.AtMost, 150, scenario.Stall("paced"))
	}
	return s
}

// recovery is how soon the surviving link is full.
func recovery() scenario.Scenario {
	const cut = 4 * time.Second
	return scenario.Scenario{
		Name: "recovery", About: "DSL loses carrier under unlimited demand", Links: lines(),
		Demands: []scenario.Demand{{Name: "bulk", Demand: traffic.Demand{Kind: traffic.Get, For: cut + 5*time.Second}}},
		Events:  []scenario.Event{{At: cut, Do: scenario.Cut, Link: "dsl"}},
		Expect: []scenario.Expectation{
			whole("bulk"),
			figure("recovery_ms", "the application has 90 % of LTE's rate, after the cut", "ms", scenario.AtMost, 2000, func(r *scenario.Run) float64 {
				for at := cut; at < cut+4*time.Second; at += traffic.Step {
					if scenario.Received("bulk", at, at+4*traffic.Step)(r) >= 0.9*40*goodput {
						return float64((at - cut).Milliseconds())
					}
				}
				return math.Inf(1)
			}),
			figure("stall_carrier_bulk_ms", "longest silence at the LAN's application", "ms", scenario.AtMost, 700, scenario.Stall("bulk")),
		},
	}
}

// blackhole silences a link.
func blackhole(how scenario.Action, link string) scenario.Scenario {
	s := scenario.Scenario{
		Name: string(how), About: link + " goes silent under load, its carrier stays", Links: lines(),
		Demands: []scenario.Demand{{Name: "paced", Demand: traffic.Demand{Kind: traffic.Get, Mbit: 12, For: 7 * time.Second}}},
		Events:  []scenario.Event{{At: 3 * time.Second, Do: how, Link: link}},
		Expect: []scenario.Expectation{
			whole("paced"),
			figure("stall_blackhole_ms", "longest silence at the LAN's application", "ms", scenario.AtMost, 700, scenario.Stall("paced")),
		},
	}
	if link == "lte" {
		s.Name += "-lte"
		s.Demands[0].Mbit = 30 // so that LTE carries
		s.Expect[1].Key = "stall_blackhole_lte_ms"
	}
	return s
}

// comeback is DSL's return.
func comeback() scenario.Scenario {
	const cut, back, holdUp = 2 * time.Second, 4 * time.Second, 3 * time.Second
	return scenario.Scenario{
		Name: "comeback", About: "DSL returns under load, hold_up 3 s", Links: lines(),
		Settings: world.Settings{Policy: map[string]string{"hold_up": `"3s"`}},
		Demands:  []scenario.Demand{{Name: "paced", Demand: traffic.Demand{Kind: traffic.Get, Mbit: 12, For: back + holdUp + 8*time.Second}}},
		Events:   []scenario.Event{{At: cut, Do: scenario.Cut, Link: "dsl"}, {At: back, Do: scenario.Restore, Link: "dsl"}},
		Expect: []scenario.Expectation{
			whole("paced"),
			figure("return_ms", "DSL carries 5 Mbit/s again, after hold_up", "ms", scenario.AtMost, 1500, scenario.Since("dsl", back+holdUp, 5)),
			figure("return_lte_empty_ms", "LTE empty, after hold_up", "ms", scenario.AtMost, 5000, scenario.Until("lte", back+holdUp, 0.1)),
		},
	}
}

// flapping is a DSL line that comes and goes once a second for a minute, after LTE was alone for a while.
func flapping() scenario.Scenario {
	const cut, flaps, length = time.Second, 20 * time.Second, 80 * time.Second
	alone := scenario.Received("bulk", cut+3*time.Second, flaps)
	s := scenario.Scenario{
		Name: "flapping", About: "DSL flaps once a second for 60 s", Links: lines(),
		Demands: []scenario.Demand{{Name: "bulk", Demand: traffic.Demand{Kind: traffic.Get, For: length}}},
		Events:  []scenario.Event{{At: cut, Do: scenario.Cut, Link: "dsl"}},
		Expect: []scenario.Expectation{
			whole("bulk"),
			figure("flap_promotions", "DSL was taken into use", "times", scenario.AtMost, 2, scenario.Promotions("dsl", cut)),
			figure("flap_alone", "goodput of LTE alone before, of what it can carry", "%", scenario.AtLeast, math.Inf(-1), func(r *scenario.Run) float64 {
				return alone(r) / (40 * goodput) * 100
			}),
			figure("flap_share", "goodput, of that of LTE alone", "%", scenario.AtLeast, 90, func(r *scenario.Run) float64 {
				return scenario.Received("bulk", flaps, length-time.Second)(r) / alone(r) * 100
			}),
		},
	}
	for at := flaps; at < length-time.Second; at += time.Second {
		s.Events = append(s.Events, scenario.Event{At: at, Do: scenario.Restore, Link: "dsl"}, scenario.Event{At: at + 500*time.Millisecond, Do: scenario.Cut, Link: "dsl"})
	}
	return s
}

// idle is many connections that do nothing beside a little traffic. What they cost is the difference to that traffic alone, before they
// are opened: relaying it has its own price, and is not what is asked for here.
func idle(n int) scenario.Scenario {
	const alone, opened, end = 10 * time.Second, 16 * time.Second, 26 * time.Second
	before := scenario.Processor(2*time.Second, alone)
	return scenario.Scenario{
		Name: "idle", About: fmt.Sprintf("%d connections that rest, beside 1 Mbit/s", n), Links: lines(),
		Demands: []scenario.Demand{
			{Name: "little", Demand: traffic.Demand{Kind: traffic.Get, Mbit: 1, For: end}},
			{Name: "rest", Start: alone, Demand: traffic.Demand{Kind: traffic.Get, Connections: n, Octets: 1000, Every: 4 * time.Second / time.Duration(n), Hold: end - alone, Timeout: time.Minute}},
		},
		Expect: []scenario.Expectation{
			figure("cpu_alone_percent", "the daemon's share of a core for 1 Mbit/s on one connection", "%", scenario.AtMost, math.Inf(1), before),
			figure("cpu_1000_percent", fmt.Sprintf("what %d connections that rest add to it", n), "%", scenario.AtMost, 2, func(r *scenario.Run) float64 {
				return scenario.Processor(opened, end-time.Second)(r) - before(r)
			}),
		},
	}
}

// satellites is the airborne case: four modems of 128 kbit/s with a round trip of 600 ms.
func satellites() scenario.Scenario {
	var links []world.Link
	for i := range 4 {
		shape := linkemu.Shape{Rate: 128e3, Delay: 300 * time.Millisecond, Queue: 32_000}
		links = append(links, world.Link{Name: fmt.Sprintf("sat%d", i+1), Role: "primary", Up: shape, Down: shape})
	}
	const from, length = 15 * time.Second, 45 * time.Second
	return scenario.Scenario{
		Name: "satellites", About: "four links of 128 kbit/s and 600 ms", Links: links,
		Demands: []scenario.Demand{{Name: "bulk", Demand: traffic.Demand{Kind: traffic.Get, For: length}}},
		Expect: []scenario.Expectation{
			whole("bulk"),
			figure("satellite_share", "goodput of the most that the lines can carry, after 15 s", "%", scenario.AtLeast, 85, func(r *scenario.Run) float64 {
				return scenario.Received("bulk", from, length-time.Second)(r) / (4 * 0.128 * goodput) * 100
			}),
		},
	}
}
