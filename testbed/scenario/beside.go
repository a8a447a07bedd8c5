// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"fmt"
	"time"

	"spillway/testbed/traffic"
	"spillway/testbed/world"
)

// Reloaded gives the daemon another configuration in the middle of a download: it goes on, and what begins afterwards is
// served as the new one says.
func Reloaded() Scenario {
	const reload = 1500 * time.Millisecond
	blocked := world.Settings{Rules: []map[string]string{{"name": `"nobody"`, "action": `"block"`, "dst": `["` + world.Server4 + `"]`}}}
	return Scenario{
		Name: "reload", About: "another configuration in the middle of a download: it goes on; new connections follow the new rules", Links: world.Two(),
		Demands: []Demand{
			{Name: "bulk", Demand: traffic.Demand{Kind: traffic.Get, Octets: 24_000_000}},
			{Name: "blocked", After: 1, Start: 3 * time.Second, Demand: traffic.Demand{Kind: traffic.Get, Octets: 20_000, Connections: 5, Timeout: 10 * time.Second}},
			{Name: "over IPv6", Family: "6", After: 1, Start: 3 * time.Second, Demand: traffic.Demand{Kind: traffic.Get, Octets: 20_000, Connections: 5}},
		},
		Events: []Event{{At: reload, Do: Reload, Settings: &blocked}},
		Expect: []Expectation{
			whole("bulk"), whole("over IPv6"),
			{What: "longest silence of the download", Unit: "ms", Measure: Stall("bulk"), Is: AtMost, Aim: 150, Bound: 10_000},
			{What: "of 5 connections that the new rule blocks, refused", Measure: Refused("blocked"), Is: AtLeast, Aim: 5, Bound: 5},
		},
	}
}

// NativeMPTCP has a LAN host speak MPTCP with a server that does too: they are left alone.
func NativeMPTCP() Scenario {
	var before, after world.Status
	ask := func(s *world.Status) func(*world.World) error {
		return func(w *world.World) (err error) { *s, err = w.Router.Status(); return err }
	}
	return Scenario{
		Name: "native-mptcp", About: "a LAN host that speaks MPTCP itself with its server is left alone", Links: world.Two(),
		Demands: []Demand{
			{Name: "native", After: 1, Demand: traffic.Demand{Kind: traffic.Get, Octets: 200_000, Connections: 5, MPTCP: true}},
			{Name: "plain", After: 2, Demand: traffic.Demand{Kind: traffic.Get, Octets: 200_000, Connections: 2}},
		},
		Events: []Event{
			do(100*time.Millisecond, "count", ask(&before)),
			do(6*time.Second, "count again", ask(&after)),
		},
		Expect: []Expectation{
			whole("native"), whole("plain"),
			{What: "of 5 connections that speak MPTCP with the server", Measure: func(r *Run) float64 { return float64(r.Results["native"].MPTCP) }, Is: AtLeast, Aim: 5, Bound: 5},
			{What: "of them relayed", Measure: func(*Run) float64 { return float64(after.Counters["accepted"] - before.Counters["accepted"]) }, Is: AtMost, Aim: 0, Bound: 0},
		},
	}
}

// ClockSet sets the router's clock a day back, two days forward and right again. Only a machine of its own has a clock.
func ClockSet() Scenario {
	set := func(days int) func(*world.World) error {
		return func(w *world.World) error {
			if !w.Own() {
				return fmt.Errorf("the router's clock is this machine's: it is left alone")
			}
			return w.OnRouter(fmt.Sprintf("date -s @$(($(date +%%s) + %d))", days*86400))
		}
	}
	return fault{name: "clock-set", about: "the router's clock is set a day back, then two days forward, then right",
		events: []Event{do(happens, "a day back", set(-1)), do(happens+2*time.Second, "two days forward", set(2)), do(happens+4*time.Second, "right again", set(-1))},
		length: 7 * time.Second}.scenario()
}
