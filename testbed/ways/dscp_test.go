// SPDX-License-Identifier: Apache-2.0

package ways

import (
	"fmt"
	"testing"
	"time"

	"spillway/testbed/netns"
	"spillway/testbed/world"
)

// TestDSCPIsKept sends octets of a marked connection over both links: its packets towards the concentrator bear the mark on each,
// and with dscp = "clear" on none.
func TestDSCPIsKept(t *testing.T) {
	netns.Require(t)
	links := []world.Link{world.DSL(4, 4), world.LTE(4, 4)}
	h := Home{world.New(t, world.Config{Links: links, Settings: world.Settings{Policy: map[string]string{"mode": `"bond"`}}})}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(h.Serve(9000))
	must(h.StartConcentrator())
	for _, ns := range h.Providers {
		must(ns.Run("nft", fmt.Sprintf(`table inet seen {
			counter marked { }
			counter plain { }
			chain c {
				type filter hook prerouting priority -300;
				tcp dport %[1]d ip dscp 46 counter name marked
				tcp dport %[1]d ip dscp 0 counter name plain
			}
		}`, world.Port)))
	}
	seen := func(i int, counter string) (packets int) {
		t.Helper()
		out, err := h.Providers[i].Output("nft", "list", "counter", "inet", "seen", counter)
		must(err)
		return packetsIn(out)
	}
	must(h.Router.Start(h.TOML()))
	for _, c := range []struct{ dscp, bears, not string }{{"keep", "marked", "plain"}, {"clear", "plain", "marked"}} {
		h.Settings.Relay = map[string]string{"dscp": fmt.Sprintf("%q", c.dscp)}
		must(h.Router.Reload(h.TOML()))
		time.Sleep(time.Second) // until it is in force, and earlier connections have said their last
		var before [2][2]int
		for i := range links {
			before[i] = [2]int{seen(i, c.bears), seen(i, c.not)}
		}
		talk, err := h.Dial(Server("4", 9000), dscpOfTest)
		must(err)
		must(talk.Echo(1_500_000))
		for i, l := range links {
			bears, not := seen(i, c.bears)-before[i][0], seen(i, c.not)-before[i][1]
			// A question to the concentrator itself bears no mark.
			if bears < 100 || not > 20 {
				t.Errorf("dscp = %q: %d packets on %s are %s and %d %s", c.dscp, bears, l.Name, c.bears, not, c.not)
			}
		}
		talk.Close()
	}
}

// packetsIn reads a counter as nft lists it.
func packetsIn(text string) (n int) {
	for i := range text {
		if k, _ := fmt.Sscanf(text[i:], "packets %d", &n); k == 1 {
			return n
		}
	}
	return -1
}
