// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"fmt"
	"time"

	"spillway/testbed/linkemu"
	"spillway/testbed/traffic"
	"spillway/testbed/world"
)

// Loads are scenarios of many at once.
func Loads() []Scenario {
	return []Scenario{TenThousand(10_000, 40*time.Second), slowLoris(), synFlood(), LossyThousands("thousands-lossy", 2000, 14*time.Second), LossyThousands("thousands-lossy-early", 2000, 2*time.Second), tcpMemoryShort()}
}

// TenThousand is as many connections at once, each octet checked, and what the daemon's memory is while all stand: they are
// held for so long. The concentrator is two processes, as one may have 20,000 descriptors on some machines.
func TenThousand(n int, hold time.Duration) Scenario {
	var idle, full world.Usage
	return Scenario{
		Name: "ten-thousand", About: fmt.Sprintf("%d connections at once, each octet checked", n),
		Links:    []world.Link{world.DSL(100, 40), world.LTE(100, 40)},
		Settings: world.Settings{Relay: map[string]string{"max_sessions": fmt.Sprint(2 * n), "max_per_host": fmt.Sprint(2 * n)}, Concentrators: 2},
		Before: func(w *world.World) error {
			if !w.Own() {
				return nil
			}
			return w.SetOnRouter("net.netfilter.nf_conntrack_max", fmt.Sprint(6*n)) // each has two or three
		},
		Demands: []Demand{{Name: "many", Start: time.Second,
			Demand: traffic.Demand{Kind: traffic.Get, Connections: n, Octets: 5000, Hold: hold, Timeout: 180*time.Second + hold}}},
		Events: []Event{
			do(500*time.Millisecond, "memory, idle", func(w *world.World) (err error) { idle, err = w.Router.Usage(); return err }),
			do(hold-2*time.Second, "memory, full", func(w *world.World) (err error) { full, err = w.Router.Usage(); return err }),
		},
		Expect: []Expectation{
			whole("many"),
			{What: "of them relayed (each takes 2 descriptors)", Measure: func(*Run) float64 { return float64(full.Sessions) }, Is: AtLeast, Aim: 0.85 * float64(n), Bound: none},
			{What: "resident memory before", Unit: "kB", Measure: func(*Run) float64 { return float64(idle.RSS >> 10) }, Is: AtMost, Aim: 20_000, Bound: none},
			{What: "resident memory with all", Unit: "kB", Measure: func(*Run) float64 { return float64(full.RSS >> 10) }, Is: AtMost, Aim: 100_000, Bound: none},
			{What: "descriptors with all", Measure: func(*Run) float64 { return float64(full.Descriptors) }, Is: AtLeast, Aim: 0, Bound: none},
		},
	}
}

// LossyThousands has DSL lose a quarter of its packets while thousands of connections ask for a little each, so that it is taken
// out of use under all of them: nobody's octets may be lost or changed by that. They are opened in the first 4 s and ask after
// 15 s each: the loss begins before they ask, or under their handshakes.
func LossyThousands(name string, n int, begins time.Duration) Scenario {
	s := Thousands(n)
	s.Name, s.About = name, fmt.Sprintf("DSL loses a quarter of its packets from %v on while thousands of connections each fetch a little", begins)
	bad := s.Links[0]
	bad.Up.Loss, bad.Down.Loss = 0.25, 0.25
	s.Settings.LogLevel = "debug"
	s.Demands[0].Octets, s.Demands[0].Hold = 5000, 15*time.Second // all are open when it begins
	s.Events = []Event{
		{At: begins, Do: Reshape, Link: "dsl", Up: bad.Up, Down: bad.Down},
		{At: 40 * time.Second, Do: Reshape, Link: "dsl", Up: s.Links[0].Up, Down: s.Links[0].Down},
	}
	s.Expect = []Expectation{
		{What: "many: connections with a wrong octet", Measure: Wrong("many"), Is: AtMost, Aim: 0, Bound: 0},
		{What: "many: connections that failed", Measure: Refused("many"), Is: AtMost, Aim: 0, Bound: none},
	}
	return s
}

// tcpMemoryShort is a router whose kernel has reached the limit of memory for TCP (net.ipv4.tcp_mem, a tenth of the machine's by itself) while
// a box on the way removes MPTCP's options: what an MPTCP socket that is plain TCP gets then, the kernel acknowledges and drops (engine's fallen). The
// first connections are reset for that, until the relay knows and uses plain sockets. The limit is the whole kernel's, so that it is set only
// where the router is a machine of its own.
func tcpMemoryShort() Scenario {
	stripped := linkemu.Middlebox{StripMPTCP: true}
	limit := router("echo 150 200 256 >/proc/sys/net/ipv4/tcp_mem") // pages: 1 MB
	return Scenario{
		Name: "tcp-memory-short", About: "MPTCP is stripped and the kernel has no memory for TCP: 300 connections each fetch a little",
		Links:    world.Two(),
		Settings: world.Settings{Relay: map[string]string{"max_sessions": "2000", "max_per_host": "2000"}},
		Events: []Event{
			{At: 0, Do: Meddle, Link: "dsl", Box: stripped}, {At: 0, Do: Meddle, Link: "lte", Box: stripped},
			do(0, "1 MB for TCP", func(w *world.World) error {
				if !w.Own() {
					return nil
				}
				return limit(w)
			}),
		},
		Demands: []Demand{{Name: "many", Start: time.Second,
			Demand: traffic.Demand{Kind: traffic.Get, Connections: 300, Octets: 20_000, Hold: 10 * time.Second, Timeout: 120 * time.Second}}},
		Expect: []Expectation{
			{What: "many: connections with a wrong octet", Measure: Wrong("many"), Is: AtMost, Aim: 0, Bound: 0},
			{What: "many: connections that failed", Measure: Refused("many"), Is: AtMost, Aim: 0, Bound: 30},
		},
	}
}
