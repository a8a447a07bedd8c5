// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

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
		if got := unlikeLinks(&policy.Plan{First: tt.first}, &o); got != tt.want {
			t.Errorf("%s: %t, want %t", tt.name, got, tt.want)
		}
	}
}
