// SPDX-License-Identifier: Apache-2.0

package testbed_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"spillway/testbed/traffic"
	"spillway/testbed/world"
)

// A new binary takes the listening sockets of the old one: a download that runs meanwhile ends whole, connections made all the while are
// all served, the old process ends, and the kernel's state stays.
func TestNewBinaryTakesOver(t *testing.T) {
	w := ready(t, world.Config{Links: world.Two()})
	long := make(chan traffic.Result, 1)
	go func() {
		r, err := w.Demand(traffic.Demand{Kind: traffic.Get, Mbit: 4, For: 8 * time.Second})
		if err != nil {
			t.Errorf("long download: %v", err)
		}
		long <- r
	}()
	time.Sleep(time.Second) // so that the download runs
	successor, err := w.Start(w.CPE, "successor", w.Bin.Spillway, "run", "-takeover", "-config", filepath.Join(w.Dir, "spillway.toml"))
	if err != nil {
		t.Fatal(err)
	}
	defer successor.Stop(15 * time.Second)
	for i := range 20 {
		r, err := w.Demand(traffic.Demand{Kind: traffic.Get, Octets: 1000, Timeout: 20 * time.Second})
		if err != nil || r.Failed > 0 {
			t.Errorf("connection %d during the handover: %v %v", i, err, r.Errors)
			sockets, _ := w.CPE.Output("ss", "-tnapie")
			t.Logf("the router's sockets:\n%s", sockets)
		}
	}
	if r := <-long; r.Failed > 0 || r.Connections != 1 {
		t.Errorf("the download that ran meanwhile: %+v", r)
	}
	if err := world.WaitFor("the successor to answer for the connections", 10*time.Second, func() bool {
		s, err := w.Router.Status()
		return err == nil && s.Doors.Open
	}); err != nil {
		t.Fatalf("%v\n%s", err, successor.Text())
	}
	if err := world.WaitFor("the old process to end", 20*time.Second, func() bool { return strings.Contains(w.Router.Log(), "the rest is the successor's") }); err != nil {
		t.Errorf("%v\n%s", err, w.Router.Log())
	}
	if !successor.Running() {
		t.Fatalf("the successor ended:\n%s", successor.Text())
	}
	if out, err := w.CPE.Output("nft", "list", "table", "inet", "spillway"); err != nil {
		t.Errorf("the table is gone: %v %s", err, out)
	}
}
