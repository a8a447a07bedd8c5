// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"encoding/json"
	"fmt"
	"maps"
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
		Name: "each-its-own", About: "a download uses both links; small requests, a rule's connection and another program's stay on one", Links: world.Two(),
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

// count sorts the router's connections by mark and volume.
func count(w *world.World) (t tally, err error) {
	var subflows []mptcp.Subflow
	err = w.CPE.Do(func() error {
		d, err := mptcp.OpenDiag()
		if err != nil {
			return err
		}
		defer d.Close()
		subflows, err = d.Subflows(mptcp.Which{})
		return err
	})
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
