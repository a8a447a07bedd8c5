// SPDX-License-Identifier: Apache-2.0

package testbed_test

import (
	"strings"
	"testing"
	"time"

	"spillway/testbed/await"
	"spillway/testbed/changes"
	"spillway/testbed/traffic"
	"spillway/testbed/world"
)

// Every key of the configuration is changed and changed back while connections live, of MPTCP and of plain TCP: none of them
// breaks, whatever the key. What a change brings for new connections is tested where each key is at home.
func TestReloadOfEachKeyBreaksNoConnection(t *testing.T) {
	all, err := changes.All()
	if err != nil {
		t.Fatal(err)
	}
	w := ready(t, world.Config{Links: world.Two(), Settings: world.Settings{
		Rules: []map[string]string{{"name": `"other"`, "dst": `["192.0.2.0/24"]`, "action": `"bypass"`}},
	}})
	base := w.TOML()
	type outcome struct {
		traffic.Result
		err error
	}
	long := make(chan outcome, 2)
	length := time.Duration(len(all))*2*reloadTime + 5*time.Second
	for _, family := range []string{"4", "6"} {
		go func() {
			r, err := w.Demand(traffic.Demand{Kind: traffic.Get, To: world.To(family), Mbit: 2, For: length, Connections: 4, Timeout: length + time.Minute})
			long <- outcome{r, err}
		}()
	}
	if err := world.WaitFor("connections", 20*time.Second, func() bool { s, err := w.Router.Status(); return err == nil && s.Sessions >= 8 }); err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		if c.Name() == "link.device" {
			continue // another device is another line: not a change of a key but of the world
		}
		n := 0
		if c.Table == "link" {
			n = 1
		}
		for _, text := range []string{c.Apply(base, n), base} {
			before := strings.Count(w.Router.Log(), "configuration reloaded")
			if err := w.Router.Reload(text); err != nil {
				t.Fatal(err)
			}
			if err := world.WaitFor("the reload of "+c.Name(), 10*time.Second, func() bool { return strings.Count(w.Router.Log(), "configuration reloaded") > before }); err != nil {
				log := w.Router.Log()
				t.Fatalf("%v\n%s", err, log[max(0, len(log)-1000):])
			}
			time.Sleep(reloadTime) // so that what follows has begun before the next
		}
		if s, err := w.Router.Status(); err != nil || s.Sessions < 8 {
			t.Errorf("after %s %d of 8 connections are left (%v)", c.Name(), s.Sessions, err)
		}
	}
	for range 2 {
		if o := await.Value(t, "the long connections", long); o.err != nil || o.Failed+o.Bad > 0 || o.Connections != 4 {
			t.Errorf("connections that lived through all reloads: %+v, %v", o.Result, o.err)
		}
	}
}

const reloadTime = 200 * time.Millisecond
