// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"testing"

	"spillway/config"
	"spillway/linkmon"
	"spillway/policy"
	"spillway/ubus/netifd"
)

func TestUnlikeLinks(t *testing.T) {
	for _, tt := range []struct {
		name     string
		first    int
		dsl, lte policy.LinkObs
		want     bool
	}{
		{"slow DSL first", 0, policy.LinkObs{Usable: true, DownCap: 2e6}, policy.LinkObs{Usable: true, DownCap: 20e6}, true},
		{"the fast one is not there", 0, policy.LinkObs{Usable: true, DownCap: 2e6}, policy.LinkObs{DownCap: 20e6}, false},
		{"the fast one first", 1, policy.LinkObs{Usable: true, DownCap: 2e6}, policy.LinkObs{Usable: true, DownCap: 20e6}, false},
		{"much alike", 0, policy.LinkObs{Usable: true, DownCap: 16e6}, policy.LinkObs{Usable: true, DownCap: 40e6}, false},
		{"not known", 0, policy.LinkObs{Usable: true}, policy.LinkObs{Usable: true, DownCap: 40e6}, false},
		{"none", -1, policy.LinkObs{}, policy.LinkObs{}, false},
	} {
		o := policy.Observation{Links: []policy.LinkObs{tt.dsl, tt.lte}}
		if got := unlikeLinks(&policy.Plan{First: tt.first, Links: make([]policy.LinkPlan, 2)}, &o); got != tt.want {
			t.Errorf("%s: %t, want %t", tt.name, got, tt.want)
		}
	}
	// Where connections begin on all links, the slow one counts though the fast one is first.
	plan := policy.Plan{First: 1, Links: []policy.LinkPlan{{Weight: 1}, {Weight: 2}}}
	o := policy.Observation{Links: []policy.LinkObs{{Usable: true, DownCap: 2e6}, {Usable: true, DownCap: 20e6}}}
	if !unlikeLinks(&plan, &o) {
		t.Error("connections begin on the slow link too, and nothing follows")
	}
}

func TestRoomForTheLinks(t *testing.T) {
	link := func(mbit float64) policy.LinkObs { return policy.LinkObs{Usable: true, DownCap: mbit * 1e6} }
	seven := []policy.LinkObs{link(10), link(10), link(10), link(10), link(20), link(20), link(20), {DownCap: 1e9}}
	for _, tt := range []struct {
		name   string
		links  []policy.LinkObs
		memory uint64
		want   int
	}{
		{"two of 20", []policy.LinkObs{link(20), link(20)}, 1 << 30, 4 << 20},
		{"20 and 40", []policy.LinkObs{link(20), link(40)}, 1 << 30, 8 << 20},
		{"seven", seven, 1 << 30, 16 << 20},
		{"a small machine", seven, 64 << 20, 0},
		{"a usual one", seven, 512 << 20, 8 << 20},
		{"fast ones", []policy.LinkObs{link(100), link(300)}, 2 << 30, 16 << 20},
		{"one that is absurd", []policy.LinkObs{link(1e9)}, 1 << 62, 16 << 20},
		{"no number", []policy.LinkObs{link(math.NaN())}, 1 << 30, 0},
		{"not known", []policy.LinkObs{{Usable: true}, {Usable: true}}, 1 << 30, 0},
	} {
		if got := roomFor(&policy.Observation{Links: tt.links}, tt.memory); got != tt.want {
			t.Errorf("%s: %d octets, want %d", tt.name, got, tt.want)
		}
	}
}

// TestConnectionsAreSpreadInModeBondAlone: the policy, and by its plan the relay, has weights where somebody has configured one, in the mode that
// says so.
func TestConnectionsAreSpreadInModeBondAlone(t *testing.T) {
	for _, tt := range []struct {
		mode, manager string
		weights       []int
		want          []int
	}{
		{"bond", "auto", []int{3, 1, 1}, []int{3, 1, 1}},
		{"bond", "user", []int{3, 1, 1}, []int{0, 0, 0}},
		{"bond", "auto", []int{1, 1, 1}, []int{0, 0, 0}},
		{"overflow", "auto", []int{3, 1, 1}, []int{0, 0, 0}},
	} {
		c := &config.Config{Links: make([]config.Link, 3)}
		c.Policy.Mode, c.Policy.PathManager = tt.mode, tt.manager
		plan, snap := policy.Plan{Links: make([]policy.LinkPlan, 3)}, linkmon.Snapshot{Links: make([]linkmon.Link, 3)}
		for i := range c.Links {
			c.Links[i].Weight = tt.weights[i]
		}
		for i, l := range policyConfig(c, netifd.State{}).Links {
			plan.Links[i].Weight = l.Weight
		}
		for i, l := range relayPlan(&plan, &snap).Links {
			if l.Weight != tt.want[i] {
				t.Errorf("%+v: link %d has the weight %v", tt, i, l.Weight)
			}
		}
	}
}
