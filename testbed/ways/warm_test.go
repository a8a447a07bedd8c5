// SPDX-License-Identifier: Apache-2.0

package ways

import (
	"testing"
	"time"

	"spillway/testbed/netns"
	"spillway/testbed/world"
)

// TestConcentratorDiesWithWarmConnections kills a concentrator to which connections are kept warm. What a LAN host begins from then on
// works, though the router hears of the death a little later: what nobody can have heard is said again elsewhere. When the relay comes to
// hear of the end only after the far kernel has acknowledged what nobody read, it can't know that, and resets: on a busy machine that
// happens now and then, but not to the first connection of each round.
func TestConcentratorDiesWithWarmConnections(t *testing.T) {
	netns.Require(t)
	h := Home{world.New(t, world.Config{Links: world.Two(), Settings: world.Settings{Relay: map[string]string{"warm": "8"}}})}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(h.Answer(9000))
	must(h.StartConcentrator())
	must(h.Router.Start(h.TOML()))
	const rounds = 3
	failed := 0
	for round := range rounds {
		must(world.WaitFor("a connection over a warm one", 30*time.Second, func() bool {
			before, _ := h.Router.Status()
			c, _, err := h.First(Server("4", 9000))
			if err != nil {
				return false
			}
			c.Close()
			after, err := h.Router.Status()
			return err == nil && after.Counters["warm"] > before.Counters["warm"]
		}))
		time.Sleep(300 * time.Millisecond)
		before, err := h.Router.Status()
		must(err)
		h.KillConcentrator()
		for i := range 4 {
			began := time.Now()
			c, took, err := h.First(Server("4", 9000))
			if err != nil {
				failed++
				t.Logf("round %d: connection %d after the death: %v after %v", round, i, err, time.Since(began).Round(time.Millisecond))
				continue
			}
			c.Close()
			t.Logf("round %d: connection %d after the death: first octet after %v", round, i, took.Round(time.Millisecond))
		}
		after, err := h.Router.Status()
		must(err)
		t.Logf("warm %d, retried %d, failed %d", after.Counters["warm"]-before.Counters["warm"], after.Counters["retried"]-before.Counters["retried"], after.Counters["failed"]-before.Counters["failed"])
		must(h.StartConcentrator())
	}
	if failed >= rounds {
		t.Errorf("%d connections were reset", failed)
	}
}
