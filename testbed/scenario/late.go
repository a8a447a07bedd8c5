// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"fmt"
	"time"

	"spillway/testbed/netns"
	"spillway/testbed/traffic"
	"spillway/testbed/world"
)

// Late is a server that drops SYNs for a while, 0: for ever. Two LAN hosts ask it for something at the same time, one relayed and
// one past us (a rule); each gives up after patience. Beside them a host asks another server, which must not feel anything:
// the concentrator is well, and must not pass for one that is out.
func Late(silent, patience time.Duration) Scenario {
	const begin = time.Second
	name, about := "server-late-"+fmt.Sprintf("%.0f", silent.Seconds()), fmt.Sprintf("a server drops SYNs for %v: a relayed host beside one that we leave alone", silent)
	if silent == 0 {
		name, about = "server-silent", "a server drops SYNs for ever: a relayed host beside one that we leave alone"
	}
	var neighbour *netns.NS
	var native traffic.Result
	ended := make(chan error, 1)
	ask := traffic.Demand{Kind: traffic.Get, Octets: 20_000, Connections: 10, Timeout: patience}
	length := begin + silent + patience/2
	s := Scenario{
		Name: name, About: about, Links: world.Two(),
		Settings: world.Settings{Rules: []map[string]string{{"name": `"past-us"`, "src": `["` + world.Neighbour4 + `"]`, "action": `"bypass"`}}},
		Before: func(w *world.World) (err error) {
			if neighbour, err = w.Neighbour(); err != nil {
				return err
			}
			return w.SRV.Run("nft", fmt.Sprintf("table inet late { chain in { type filter hook input priority -300; ip daddr %s tcp dport %d tcp flags & (syn | ack) == syn drop; }; }",
				world.Server4, world.ServerPort))
		},
		Demands: []Demand{
			{Name: "relayed", Start: begin, Demand: ask},
			{Name: "others", Family: "6", Demand: traffic.Demand{Kind: traffic.Web, Octets: 10_000, Connections: int(length / (200 * time.Millisecond)), Every: 200 * time.Millisecond, Parallel: 100, Timeout: 10 * time.Second}},
		},
		Events: []Event{do(begin, "past us", func(w *world.World) error {
			go func() {
				var err error
				native, err = w.DemandFrom(neighbour, ask)
				ended <- err
			}()
			return nil
		})},
		Expect: []Expectation{
			{What: "others: requests that failed", Measure: Broken("others"), Is: AtMost, Aim: 0, Bound: 0},
			{What: "others: slowest request", Unit: "ms", Measure: Slowest("others"), Is: AtMost, Aim: 1500, Bound: none},
			{What: "connections with a wrong octet", Measure: Wrong("relayed", "others"), Is: AtMost, Aim: 0, Bound: 0},
		},
	}
	failed := func(what string, of func(*Run) float64, aim float64) Expectation {
		return Expectation{What: "of 10 connections " + what + ", failed", Measure: of, Is: AtMost, Aim: aim, Bound: aim}
	}
	past := func(*Run) float64 { return float64(native.Failed) }
	until := func(of func(*Run) traffic.Result) func(*Run) float64 {
		return func(r *Run) float64 { return of(r).Seconds }
	}
	theirs := func(*Run) traffic.Result { return native }
	ours := func(r *Run) traffic.Result { return r.Results["relayed"] }
	if silent == 0 {
		s.Events = append(s.Events, do(begin, "wait", func(*world.World) error { return <-ended }))
		s.Expect = append(s.Expect, failed("past us", past, 10), failed("relayed", Refused("relayed"), 10),
			Expectation{What: "past us: told, or given up, after", Unit: "s", Measure: until(theirs), Is: AtMost, Aim: patience.Seconds() + 2, Bound: none},
			Expectation{What: "relayed: told, or given up, after", Unit: "s", Measure: until(ours), Is: AtMost, Aim: patience.Seconds() + 2, Bound: none})
		return s
	}
	s.Events = append(s.Events,
		do(begin+silent, "answer", func(w *world.World) error { return w.SRV.Run("nft", "delete table inet late") }),
		do(begin+silent, "wait", func(*world.World) error { return <-ended }))
	s.Expect = append(s.Expect, failed("past us", past, 0), failed("relayed", Refused("relayed"), 0),
		Expectation{What: "past us: all done after", Unit: "s", Measure: until(theirs), Is: AtMost, Aim: patience.Seconds(), Bound: none},
		Expectation{What: "relayed: all done, later than past us", Unit: "s", Measure: func(r *Run) float64 { return ours(r).Seconds - native.Seconds }, Is: AtMost, Aim: 1, Bound: none})
	return s
}

// lateServers are those that answer after a SYN's first and second repetition, after its fourth and fifth, and never.
func lateServers() []Scenario {
	return []Scenario{Late(2*time.Second, 30*time.Second), Late(5*time.Second, 30*time.Second), Late(20*time.Second, 60*time.Second), Late(0, 60*time.Second)}
}
