// SPDX-License-Identifier: Apache-2.0

package testbed_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"spillway/mptcp"
	"spillway/testbed/await"
	"spillway/testbed/traffic"
	"spillway/testbed/world"
)

// TestRestartsUnderLoad: while hosts keep connecting the daemon is stopped and started, and then takes over from itself, some times each. No
// connection fails or waits for a SYN to be repeated, and the kernel loses no MPTCP socket.
func TestRestartsUnderLoad(t *testing.T) {
	const times = 5
	w := ready(t, world.Config{Links: world.Two()})
	meanwhile := make(chan traffic.Result, 1)
	go func() {
		r, err := w.Demand(traffic.Demand{Kind: traffic.Web, Octets: 4000, Connections: 1500, Every: 20 * time.Millisecond, Parallel: 200, Timeout: time.Minute})
		if err != nil {
			t.Errorf("the load: %v", err)
		}
		meanwhile <- r
	}()
	started := 0
	daemon := func(args ...string) *world.Process {
		args = append([]string{w.Bin.Spillway, "run", "-config", filepath.Join(w.Dir, "spillway.toml")}, args...)
		started++
		p, err := w.Start(w.CPE, fmt.Sprintf("daemon-%d", started), args...)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	// dialled is how often a daemon has asked the concentrator for an MPTCP connection.
	dialled := func() uint64 { return w.Tally()["router"]["MP.MPCapableSYNTX"] }
	relays := func(before uint64) {
		if err := world.WaitFor("a relayed connection", time.Minute, func() bool { return dialled() > before }); err != nil {
			t.Fatalf("%v\n%s", err, w.Logs(4000))
		}
	}
	since := func(begin time.Time) float64 { return float64(time.Since(begin).Microseconds()) / 1000 }
	var stops, starts, restarts, takeovers []float64
	time.Sleep(time.Second)
	var p *world.Process
	for i := range times {
		begin := time.Now()
		var err error
		if p == nil {
			err = w.Router.Stop()
		} else {
			err = p.Stop(time.Minute)
		}
		if err != nil {
			t.Fatalf("stop %d: %v", i+1, err)
		}
		stopped, before := time.Now(), dialled()
		stops = append(stops, since(begin))
		p = daemon()
		relays(before)
		starts, restarts = append(starts, since(stopped)), append(restarts, since(begin))
		time.Sleep(500 * time.Millisecond)
	}
	for range times {
		begin := time.Now()
		old, next := p, daemon("-takeover")
		if err := world.WaitFor("the successor's plan", time.Minute, func() bool { return strings.Contains(next.Text(), "link dsl off -> first") }); err != nil {
			t.Fatalf("%v\n%s", err, next.Text())
		}
		relays(dialled())
		takeovers = append(takeovers, since(begin))
		p = next
		if err := world.WaitFor("the predecessor's end", time.Minute, func() bool { return !old.Running() }); err != nil {
			t.Fatal(err)
		}
	}
	r := await.Value(t, "the load", meanwhile)
	t.Logf("%d connections, %d failed, %.0f ms in the middle, %.0f at most", r.Connections, r.Failed, r.Done.Median, r.Done.Max)
	if r.Failed+r.Bad > 0 {
		t.Errorf("%d of %d connections failed, %d with a wrong octet: %q", r.Failed, r.Connections, r.Bad, r.Errors)
	}
	for _, m := range []struct {
		what string
		ms   []float64
	}{{"stop", stops}, {"start until relayed", starts}, {"restart until relayed", restarts}, {"takeover until relayed", takeovers}} {
		slices.Sort(m.ms)
		t.Logf("%s, ms: %.0f", m.what, m.ms)
	}
	if err := p.Stop(time.Minute); err != nil {
		t.Error(err)
	}
	var lost []mptcp.Connection
	if err := world.WaitFor("the end of all MPTCP sockets", 90*time.Second, func() bool {
		w.CPE.Do(func() error {
			d, err := mptcp.OpenDiag()
			if err == nil {
				lost, _, err = d.Forgotten()
				d.Close()
			}
			return err
		})
		return len(lost) == 0
	}); err != nil {
		t.Error(fmt.Errorf("%w: %d have ended and stay", err, len(lost)))
	}
}
