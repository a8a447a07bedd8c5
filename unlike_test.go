// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	"spillway/config"
	"spillway/linkmon"
	"spillway/policy"
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
		if got := unlikeLinks(&policy.Plan{First: tt.first}, &o, false); got != tt.want {
			t.Errorf("%s: %t, want %t", tt.name, got, tt.want)
		}
	}
	// Where connections begin on all links, the slow one counts though the fast one is first.
	plan := policy.Plan{First: 1, Links: []policy.LinkPlan{{Primary: true}, {Primary: true}}}
	o := policy.Observation{Links: []policy.LinkObs{{Usable: true, DownCap: 2e6}, {Usable: true, DownCap: 20e6}}}
	if unlikeLinks(&plan, &o, false) || !unlikeLinks(&plan, &o, true) {
		t.Error("which links connections begin on makes no difference")
	}
}

// TestConnectionsAreSpreadInModeBondAlone: links have weights for the relay where somebody has configured one, in the mode that says so.
func TestConnectionsAreSpreadInModeBondAlone(t *testing.T) {
	plan := policy.Plan{Links: []policy.LinkPlan{{Role: policy.First, Primary: true, Weight: 3}, {Role: policy.Active, Primary: true, Weight: 1}, {Role: policy.Active, Weight: 1}}}
	snap := linkmon.Snapshot{Links: make([]linkmon.Link, 3)}
	for _, tt := range []struct {
		mode    string
		weights []int
		want    []float64
	}{
		{"bond", []int{3, 1, 1}, []float64{3, 1, 0}},
		{"bond", []int{1, 1, 1}, []float64{0, 0, 0}},
		{"overflow", []int{3, 1, 1}, []float64{0, 0, 0}},
	} {
		c := &config.Config{Links: make([]config.Link, 3)}
		c.Policy.Mode = tt.mode
		for i := range c.Links {
			c.Links[i].Weight = tt.weights[i]
		}
		p := relayPlan(&plan, &snap, spreads(c))
		for i := range tt.want {
			if p.Links[i].Weight != tt.want[i] {
				t.Errorf("%+v: link %d has the weight %v", tt, i, p.Links[i].Weight)
			}
		}
	}
}
