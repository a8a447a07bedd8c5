// SPDX-License-Identifier: Apache-2.0

// Package testbed_test plays the scenarios against the real daemon and the real concentrator in namespaces. Bounds are
// generous, since a busy machine is slow: `scenario all` prints the figures beside the product's aims.
package testbed_test

import (
	"testing"

	"spillway/testbed/netns"
	"spillway/testbed/scenario"
	"spillway/testbed/world"
)

func TestScenarios(t *testing.T) {
	netns.Require(t)
	for _, s := range scenario.Smoke() {
		t.Run(s.Name, func(t *testing.T) {
			w := ready(t, world.Config{Links: s.Links, Settings: s.Settings})
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

// ready is a world in which everything runs.
func ready(t *testing.T, c world.Config) *world.World {
	t.Helper()
	w := world.New(t, c)
	if err := (scenario.Scenario{}).Ready(w); err != nil {
		t.Fatal(err)
	}
	return w
}
