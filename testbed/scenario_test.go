// SPDX-License-Identifier: Apache-2.0

// Package testbed_test plays the scenarios against the real daemon and the real concentrator in namespaces. Bounds are
// generous, since a busy machine is slow: `scenario all` prints the figures beside the product's aims.
package testbed_test

import (
	"testing"

	"spillway/testbed/scenario"
	"spillway/testbed/world"
)

func TestScenarios(t *testing.T) {
	for _, s := range scenario.Smoke() {
		t.Run(s.Name, s.Test)
	}
}

// TestScriptWithRealParts plays a script of go test ./policy against the daemon.
func TestScriptWithRealParts(t *testing.T) {
	s, err := scenario.FromScript("../policy/testdata/handover.txt")
	if err != nil {
		t.Fatal(err)
	}
	s.Test(t)
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
