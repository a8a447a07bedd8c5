// SPDX-License-Identifier: Apache-2.0

// Package faults_test breaks things around the real daemon in namespaces and looks at what the LAN, the kernel and an
// intruder see. It plays those fault scenarios that are quick; `scenario NAME` plays the rest.
package faults_test

import (
	"slices"
	"testing"

	"spillway/testbed/netns"
	"spillway/testbed/scenario"
	"spillway/testbed/world"
)

// played are the scenarios that every change must pass: one of each kind.
var played = []string{"table-deleted", "endpoints-flushed", "concentrator-garbage"}

func TestFaults(t *testing.T) {
	netns.Require(t)
	for _, s := range scenario.Faults() {
		if !slices.Contains(played, s.Name) {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			w := ready(t, s)
			run, err := scenario.Play(t.Context(), w, s, t.Logf)
			if err != nil {
				t.Fatal(err)
			}
			for name, d := range run.Results {
				if len(d.Errors) > 0 {
					t.Logf("%s: %d of %d failed: %q", name, d.Failed, d.Connections, d.Errors)
				}
			}
			for _, f := range run.Findings() {
				t.Logf("%s: %.1f %s (aim %s %v)", f.What, f.Figure, f.Unit, f.Is, f.Aim)
				if !f.Within {
					t.Errorf("%s: %.1f %s, want %s %v", f.What, f.Figure, f.Unit, f.Is, f.Bound)
				}
			}
		})
	}
}

// ready is a world for a scenario in which everything runs.
func ready(t *testing.T, s scenario.Scenario) *world.World {
	t.Helper()
	w := world.New(t, world.Config{Links: s.Links, Settings: s.Settings})
	if s.Before != nil {
		if err := s.Before(w); err != nil {
			t.Fatal(err)
		}
	}
	if err := (scenario.Scenario{}).Ready(w); err != nil {
		t.Fatal(err)
	}
	return w
}
