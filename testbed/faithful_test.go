// SPDX-License-Identifier: Apache-2.0

package testbed_test

import (
	"errors"
	"testing"

	"spillway/testbed/netns"
	"spillway/testbed/scenario"
	"spillway/testbed/world"
)

// TestFaithful needs a kernel that holds packets; testbed/qemu plays the same where this one can't.
func TestFaithful(t *testing.T) {
	netns.Require(t)
	s := scenario.Faithful()
	w := world.New(t, world.Config{Links: s.Links, Settings: s.Settings, ServerDelay: s.ServerDelay})
	if err := s.Before(w); errors.Is(err, world.ErrLacks) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	if err := s.Ready(w); err != nil {
		t.Fatal(err)
	}
	run, err := scenario.Play(t.Context(), w, s, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range run.Findings() {
		t.Logf("%s: %.1f %s (aim %s %v)", f.What, f.Figure, f.Unit, f.Is, f.Aim)
		if !f.Within {
			t.Errorf("%s: %.1f %s, want %s %v", f.What, f.Figure, f.Unit, f.Is, f.Bound)
		}
	}
}
