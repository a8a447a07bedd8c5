// SPDX-License-Identifier: Apache-2.0

package testbed_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"spillway/testbed/await"
	"spillway/testbed/traffic"
	"spillway/testbed/world"
)

// A new binary takes the listening sockets of the old one, three times in a row, beside two busy loops: a download that runs all the while
// ends whole, of the connections made meanwhile none is refused, each old process ends, and the kernel's state stays.
func TestNewBinaryTakesOver(t *testing.T) {
	const times = 3
	w := ready(t, world.Config{Links: world.Two()})
	for i := range 2 {
		if _, err := w.Start(w.LAN, fmt.Sprintf("busy-%d", i), "sh", "-c", "while :; do :; done"); err != nil {
			t.Fatal(err)
		}
	}
	meanwhile := make(chan traffic.Result, 2)
	for _, d := range []traffic.Demand{
		{Kind: traffic.Get, Mbit: 4, For: 15 * time.Second, Timeout: 2 * time.Minute},
		{Kind: traffic.Web, Octets: 1000, Connections: 300, Every: 50 * time.Millisecond, Parallel: 300, Timeout: 2 * time.Minute},
	} {
		go func() {
			r, err := w.Demand(d)
			if err != nil {
				t.Errorf("demand %v: %v", d.Kind, err)
			}
			meanwhile <- r
		}()
	}
	table := func() string { // with the number that the kernel gave it
		out, err := w.CPE.Output("nft", "-a", "list", "table", "inet", "spillway")
		if err != nil {
			t.Errorf("the table is gone: %v %s", err, out)
		}
		head, _, _ := strings.Cut(out, "\n")
		return head
	}
	before := table()
	time.Sleep(time.Second)   // so that both are under way
	var line []*world.Process // of successors
	for i := range times {
		time.Sleep(2 * time.Second)
		p, err := w.Start(w.CPE, fmt.Sprintf("successor-%d", i+1), w.Bin.Spillway, "run", "-takeover", "-config", filepath.Join(w.Dir, "spillway.toml"))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Stop(15 * time.Second)
		line = append(line, p)
		if err := world.WaitFor("the successor's door", 2*time.Minute, func() bool { return !p.Running() || strings.Contains(p.Text(), "link dsl off -> first") }); err != nil || !p.Running() {
			t.Fatalf("successor %d: %v\n%s", i+1, err, p.Text())
		}
	}
	for range 2 {
		if r := await.Value(t, "the connections meanwhile", meanwhile); r.Failed+r.Bad > 0 || r.Connections == 0 {
			sockets, _ := w.CPE.Output("ss", "-tnapie")
			t.Errorf("%d of %d connections failed, %d with a wrong octet: %q\nthe router's sockets:\n%s", r.Failed, r.Connections, r.Bad, r.Errors, sockets)
		} else {
			t.Logf("%d connections, none failed, the slowest took %.0f ms", r.Connections, r.Done.Max)
		}
	}
	if s, err := w.Router.Status(); err != nil || !s.Doors.Open {
		t.Errorf("the last one's door: %+v, %v", s, err)
	}
	const over = "the rest is the successor's"
	if err := world.WaitFor("the old processes to end", 2*time.Minute, func() bool {
		all := strings.Contains(w.Router.Log(), over)
		for _, p := range line[:times-1] {
			all = all && strings.Contains(p.Text(), over) && !p.Running()
		}
		return all
	}); err != nil {
		t.Error(err)
	}
	if last := line[times-1]; !last.Running() {
		t.Fatalf("the last successor ended:\n%s", last.Text())
	}
	if after := table(); after != before {
		t.Errorf("the kernel's state was taken away and put back: %s, then %s", before, after)
	}
}
