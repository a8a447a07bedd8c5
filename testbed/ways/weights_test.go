// SPDX-License-Identifier: Apache-2.0

package ways

import (
	"testing"
	"time"

	"spillway/testbed/world"
)

// TestWeightsSpreadConnections: in mode bond connections begin on all links by their weights; without weights on the first, and after a
// reload that takes them away too.
func TestWeightsSpreadConnections(t *testing.T) {
	links := wide()
	links[1].More = "weight = 3\n"
	h, must := atHome(t, world.Config{Links: links, Settings: world.Settings{Policy: map[string]string{"mode": `"bond"`}}})
	must(h.Serve(9000))
	must(h.StartConcentrator())
	must(h.Router.Start(h.TOML()))
	must(world.WaitFor("both links in use", time.Minute, func() bool {
		s, err := h.Router.Status()
		return err == nil && len(s.Links) == 2 && s.Links[0].State == "first" && s.Links[1].State == "active"
	}))
	begun := func(n int) (on map[string]int) {
		on = map[string]int{}
		for range n {
			talk, err := h.Dial(Server("4", 9000), 0)
			must(err)
			f, err := h.FlowOf(talk)
			must(err)
			if f != nil { // else it is native
				on[f.Link]++
			}
			must(talk.Echo(1000))
			talk.Close()
		}
		return on
	}
	if on := begun(80); on["dsl"] < 1 || on["lte"] <= on["dsl"] || on["dsl"]+on["lte"] != 80 {
		t.Errorf("with the weights 1 and 3 connections began %v", on)
	} else {
		t.Logf("of 80 connections with the weights 1 and 3 began %v", on)
	}
	h.Links[1].More = ""
	must(h.Router.Reload(h.TOML()))
	must(world.WaitFor("a plan without weights", time.Minute, func() bool { return begun(5)["lte"] == 0 }))
	if on := begun(20); on["dsl"] != 20 {
		t.Errorf("without weights connections began %v", on)
	}
}
