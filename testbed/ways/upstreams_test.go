// SPDX-License-Identifier: Apache-2.0

package ways

import (
	"slices"
	"testing"
	"time"

	"spillway/testbed/netns"
	"spillway/testbed/world"
)

// TestUpstreams relays through each protocol's real server, IPv4 and IPv6, and reloads from one to the next while a
// connection of the first lives.
func TestUpstreams(t *testing.T) {
	netns.Require(t)
	h := Home{world.New(t, world.Config{Links: wide()})}
	if err := h.Serve(9000); err != nil {
		t.Fatal(err)
	}
	var first, last *Talk // that live through all reloads, and through the one away from the last
	for _, u := range Upstreams() {
		t.Run(u.Name, func(t *testing.T) {
			if missing := u.Missing(); missing != "" {
				netns.Missing(t, "needs "+missing)
			}
			if err := u.Start(h); err != nil {
				t.Fatal(err)
			}
			var err error
			if first == nil {
				err = h.Router.Start(u.TOML(h))
			} else {
				err = h.Router.Reload(u.TOML(h))
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := world.WaitFor(u.Name+" in use", 15*time.Second, func() bool {
				states, err := h.Concentrators()
				return err == nil && states[u.Name] == "up" && len(states) == 1
			}); err != nil {
				t.Fatal(err)
			}
			h.through(t, u, "4")
			if u.V6 {
				h.through(t, u, "6")
			}
			if first == nil {
				if first, err = h.Dial(Server("4", 9000), 0); err != nil {
					t.Fatal(err)
				}
			}
			if last, err = h.Dial(Server("4", 9000), 0); err != nil {
				t.Fatal(err)
			}
		})
	}
	t.Run("server that speaks MPTCP", h.nativeServer)
	if first != nil {
		defer first.Close()
		if err := first.Echo(100_000); err != nil {
			t.Error("the first protocol's connection, after all reloads: ", err)
		}
		defer last.Close()
		if err := last.Echo(100_000); err != nil {
			t.Error("the transparent connection, after the reload to another protocol: ", err)
		}
	}
}

// through makes one connection and moves octets both ways.
func (h Home) through(t *testing.T, u Upstream, family string) {
	t.Helper()
	if !h.bonded(func() bool { return h.wentThrough(t, u, family) }) {
		t.Errorf("IPv%s: plain TCP, want MPTCP", family)
	}
}

// wentThrough reports whatever is wrong but a connection that has lost MPTCP: then it returns false.
func (h Home) wentThrough(t *testing.T, u Upstream, family string) bool {
	t.Helper()
	talk, err := h.Dial(Server(family, 9000), 0)
	if err != nil {
		t.Errorf("IPv%s: %v", family, err)
		return true
	}
	defer talk.Close()
	if err := talk.Echo(300_000); err != nil {
		t.Errorf("IPv%s: %v", family, err)
	}
	flow, err := h.FlowOf(talk)
	if err != nil || flow == nil || flow.Upstream != u.Name {
		t.Errorf("IPv%s: %+v, %v", family, flow, err)
	}
	if u.Name != "convert" {
		t.Logf("IPv%s: the server sees %s", family, talk.Peer)
	}
	return flow == nil || flow.MPTCP
}

// nativeServer learns of a server that speaks MPTCP itself, and goes there without a concentrator from then on.
func (h Home) nativeServer(t *testing.T) {
	u := Upstreams()[0]
	u.Name = "asking"
	h.Settings.Relay = map[string]string{"native_servers": `"bypass"`}
	if err := h.Router.Reload(u.TOML(h)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"asking", "direct"} {
		if err := world.WaitFor("a connection by "+want, 15*time.Second, func() bool {
			talk, err := h.Dial(Server("4", 9000), 0)
			if err != nil {
				return false
			}
			defer talk.Close()
			f, err := h.FlowOf(talk)
			return err == nil && f != nil && f.Upstream == want && f.MPTCP && talk.Echo(1000) == nil
		}); err != nil {
			t.Error(err)
		}
	}
	if s, err := h.Router.Status(); err != nil || !slices.Contains(s.NativeNewest, Server("4", 9000)) {
		t.Errorf("the status names the servers %v, %v", s.NativeNewest, err)
	}
}
