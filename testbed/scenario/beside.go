// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"encoding/json"
	"fmt"
	"time"

	"spillway/testbed/traffic"
	"spillway/testbed/world"
)

// Reloaded gives the daemon another configuration in the middle of a download: it goes on, and what begins afterwards is
// served as the new one says.
func Reloaded() Scenario {
	const reload = 1500 * time.Millisecond
	const limit = 20 * time.Second
	after := limit
	// A packet's verdict is the kernel's, so the rule counts once nft has loaded it. An emulated processor at work takes seconds for that.
	inForce := func(w *world.World) error {
		begin := time.Now()
		world.WaitFor("", limit, func() bool {
			time.Sleep(100 * time.Millisecond) // each try takes processor time too
			r, err := w.Demand(traffic.Demand{Kind: traffic.Get, Octets: 100, Timeout: 5 * time.Second})
			after = time.Since(begin)
			return err == nil && r.Failed > 0
		})
		return nil
	}
	blocked := world.Settings{Rules: []map[string]string{{"name": `"nobody"`, "action": `"block"`, "dst": `["` + world.Server4 + `"]`}}}
	return Scenario{
		Name: "reload", About: "another configuration in the middle of a download: it goes on; new connections follow the new rules", Links: world.Two(),
		Demands: []Demand{
			{Name: "bulk", Demand: traffic.Demand{Kind: traffic.Get, Octets: 24_000_000}},
			{Name: "blocked", After: 2, Demand: traffic.Demand{Kind: traffic.Get, Octets: 20_000, Connections: 5, Timeout: 10 * time.Second}},
			{Name: "over IPv6", Family: "6", After: 2, Demand: traffic.Demand{Kind: traffic.Get, Octets: 20_000, Connections: 5}},
		},
		Events: []Event{{At: reload, Do: Reload, Settings: &blocked}, do(reload, "try", inForce)},
		Expect: []Expectation{
			whole("bulk"), whole("over IPv6"),
			{What: "longest silence of the download", Unit: "ms", Measure: Stall("bulk"), Is: AtMost, Aim: 150, Bound: 10_000},
			{What: "new connections are refused after", Unit: "ms", Measure: func(*Run) float64 { return float64(after.Milliseconds()) }, Is: AtMost, Aim: 1000, Bound: float64((limit - time.Second).Milliseconds())},
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

// ClockSet sets the router's clock a day back, into another billing month, and right again. Only a machine of its own has a clock.
func ClockSet() Scenario {
	const forward = 45 // days
	set := func(days int) func(*world.World) error {
		return func(w *world.World) error {
			if !w.Own() {
				return fmt.Errorf("the router's clock is this machine's: it is left alone")
			}
			return w.OnRouter(fmt.Sprintf("date -s @$(($(date +%%s) + %d))", days*86400))
		}
	}
	links := world.Two()
	links[1].More = "quota = \"10GB\"\n"
	var counted float64
	s := fault{name: "clock-set", about: fmt.Sprintf("the router's clock is set a day back, then %d days forward, then right", forward+1), links: links,
		events: []Event{do(happens, "a day back", set(-1)), do(happens+2*time.Second, "into another month", set(forward+1)), do(happens+4*time.Second, "right again", set(-forward)),
			do(20*time.Second, "the quota", func(w *world.World) (err error) {
				counted, err = quotaOf(w, links[1].Name)
				return err
			})},
		length: 7 * time.Second}.scenario()
	s.Expect = append(s.Expect,
		Expectation{What: "the quota's use, of what LTE has carried", Unit: "%", Measure: func(*Run) float64 { return counted }, Is: AtLeast, Aim: 95, Bound: none},
		Expectation{What: "the same, at most", Unit: "%", Measure: func(*Run) float64 { return counted }, Is: AtMost, Aim: 100, Bound: 101})
	return s
}

// quotaOf asks what of a link's octets its quota has counted, in percent.
func quotaOf(w *world.World, link string) (float64, error) {
	answer, err := w.Router.Control("status", nil)
	if err != nil {
		return 0, err
	}
	var s struct {
		Links []struct {
			Name  string
			Rx    uint64 `json:"rx_bytes"`
			Tx    uint64 `json:"tx_bytes"`
			Quota *struct{ Used uint64 }
		}
	}
	if err := json.Unmarshal(answer, &s); err != nil {
		return 0, err
	}
	for _, l := range s.Links {
		if l.Name == link && l.Quota != nil {
			return 100 * float64(l.Quota.Used) / float64(max(1, l.Rx+l.Tx)), nil
		}
	}
	return 0, fmt.Errorf("link %s: its status tells of no quota", link)
}
