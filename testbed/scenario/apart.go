// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"time"

	"spillway/kernel"
	"spillway/mptcp"
	"spillway/testbed/traffic"
	"spillway/testbed/world"
)

// Apart plays a scenario with the userspace path manager.
func Apart(s Scenario) Scenario {
	s.Name += "-user"
	s.About += ", each connection steered by itself"
	policy := map[string]string{"path_manager": `"user"`}
	maps.Copy(policy, s.Settings.Policy)
	s.Settings.Policy = policy
	return s
}

// EachItsOwn has all kinds of connections at once, in mode "bond": a download, small requests on one connection, a download that a rule
// keeps on the primary, and a connection of another program on the router. Each has the subflows that are its own.
func EachItsOwn() Scenario {
	const length = 6 * time.Second
	var at tally
	s := Scenario{
		Before: canApart,
		Name:   "each-its-own", About: "a download uses both links; small requests, a rule's connection and another program's stay on one", Links: world.Two(),
		Settings: world.Settings{
			Policy: map[string]string{"mode": `"bond"`},
			Rules:  []map[string]string{{"name": `"tied"`, "action": `"primary"`, "dst": `["` + world.Server6 + `"]`}},
		},
		Demands: []Demand{
			{Name: "bulk", Demand: traffic.Demand{Kind: traffic.Get, For: length}},
			{Name: "small", Demand: traffic.Demand{Kind: traffic.Ask, Connections: 50, Every: 100 * time.Millisecond, Octets: 200}},
			{Name: "tied", Family: "6", Demand: traffic.Demand{Kind: traffic.Get, Mbit: 2, For: length}},
		},
		Events: []Event{
			do(100*time.Millisecond, "another program", func(w *world.World) error { return stranger(w, length) }),
			do(1500*time.Millisecond, "count subflows", func(w *world.World) (err error) {
				// A busy machine joins late; whether one has too many is seen at any time.
				for begun := time.Now(); err == nil && only(at.bulk) != 2 && time.Since(begun) < length-2500*time.Millisecond; time.Sleep(100 * time.Millisecond) {
					at, err = count(w)
				}
				return err
			}),
		},
		Expect: []Expectation{whole("bulk"), whole("small"), whole("tied")},
	}
	for _, x := range []struct {
		what string
		of   *[]int
		want float64
	}{{"the download", &at.bulk, 2}, {"small requests", &at.small, 1}, {"the rule's download", &at.tied, 1}, {"another program's download", &at.strange, 1}} {
		for _, is := range []Comparison{AtLeast, AtMost} {
			s.Expect = append(s.Expect, Expectation{What: "subflows of " + x.what, Measure: func(*Run) float64 { return only(*x.of) }, Is: is, Aim: x.want, Bound: x.want})
		}
	}
	return Apart(s)
}

// canApart tells whether this machine's kernel can: else the daemon treats all connections alike.
func canApart(*world.World) error {
	if f := mptcp.Probe(); !f.Apart {
		return fmt.Errorf("%w: subflows made by the userspace path manager keep no flag and no device (Linux 6.12)", world.ErrLacks)
	}
	return nil
}

// only is the one number there is; -1: there are none, or several.
func only(of []int) float64 {
	if len(of) != 1 {
		return -1
	}
	return float64(of[0])
}

// stranger downloads over MPTCP from the router itself.
func stranger(w *world.World, length time.Duration) error {
	d, err := json.Marshal(traffic.Demand{Kind: traffic.Get, To: world.To("4"), Mbit: 1, For: length, MPTCP: true})
	if err != nil {
		return err
	}
	_, err = w.Start(w.CPE, "stranger", "sh", "-c", fmt.Sprintf("echo '%s' | %s run", d, w.Bin.Traffic))
	return err
}

// tally is the MPTCP connections of a router, each with its number of established subflows.
type tally struct{ bulk, small, tied, strange []int }

// Crowd has n connections rest when DSL loses its carrier, and measures how soon all of them have a subflow on LTE.
func Crowd(n int) Scenario {
	const cut, length = 9 * time.Second, 17 * time.Second
	moved, left := none, none
	begun := time.Time{}
	return Scenario{
		Name: "crowd", About: fmt.Sprintf("%d resting connections when DSL loses its carrier", n), Links: world.Two(),
		Demands: []Demand{{Name: "rest", Demand: traffic.Demand{Kind: traffic.Get, Connections: n, Octets: 1000, Every: 4 * time.Second / time.Duration(n), Hold: length - time.Second, Timeout: time.Minute}}},
		Events: []Event{
			do(cut, "note the time", func(*world.World) error { begun = time.Now(); return nil }),
			{At: cut, Do: Cut, Link: "dsl"},
			do(cut, "wait for LTE", func(w *world.World) error {
				for time.Since(begun) < length-cut-time.Second {
					all, on, err := joined(w, w.Address4(1))
					if err != nil {
						return err
					}
					if left = float64(all - on); all > 0 && all == on {
						moved = float64(time.Since(begun).Milliseconds())
						break
					}
					time.Sleep(20 * time.Millisecond)
				}
				return nil
			}),
		},
		Length: length,
		Expect: []Expectation{
			whole("rest"),
			{What: "all have a subflow on LTE after", Key: "crowd_ms", Unit: "ms", Measure: func(*Run) float64 { return moved }, Is: AtMost, Aim: 1000, Bound: none},
			{What: "connections without", Key: "crowd_left", Measure: func(*Run) float64 { return left }, Is: AtMost, Aim: 0, Bound: none},
			{What: "the daemon's share of a core in the 4 s from the cut", Key: "crowd_cpu", Unit: "%", Measure: Processor(cut, cut+4*time.Second), Is: AtMost, Aim: 20, Bound: none},
		},
	}
}

// joined counts the relay's MPTCP connections, and those of them with an established subflow from an address.
func joined(w *world.World, from netip.Addr) (all, on int, err error) {
	subflows, err := dump(w)
	for _, of := range mptcp.Group(subflows) {
		live, has := false, false
		for _, f := range of {
			if f.Remote.Port() != world.Port || f.Fallback || f.TCP.State != 1 {
				continue
			}
			live = true
			has = has || f.Established && f.Local.Addr() == from
		}
		if live {
			all++
		}
		if has {
			on++
		}
	}
	return all, on, err
}

// dump is all MPTCP subflows of the router.
func dump(w *world.World) (subflows []mptcp.Subflow, err error) {
	err = w.CPE.Do(func() error {
		d, err := mptcp.OpenDiag()
		if err != nil {
			return err
		}
		defer d.Close()
		subflows, err = d.Subflows(mptcp.Which{})
		return err
	})
	return subflows, err
}

// count sorts the router's connections by mark and volume.
func count(w *world.World) (t tally, err error) {
	subflows, err := dump(w)
	n := kernel.Usual()
	for _, of := range mptcp.Group(subflows) {
		established, octets, mark := 0, uint64(0), of[0].Mark
		for _, f := range of {
			if f.Established && !f.Fallback && f.TCP.State == 1 {
				established++
			}
			octets += f.TCP.BytesReceived
		}
		switch {
		case mark == 0:
			t.strange = append(t.strange, established)
		case mark != n.MarkDial():
			t.tied = append(t.tied, established)
		case octets > 1<<20:
			t.bulk = append(t.bulk, established)
		default:
			t.small = append(t.small, established)
		}
	}
	return t, err
}
