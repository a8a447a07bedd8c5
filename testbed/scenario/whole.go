// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"spillway/testbed/netns"
	"spillway/testbed/world"
)

// InWorld plays a scenario in a world of its own, which is removed afterwards. after, if there is one, is called before that with what was
// played; it hears of a failure too, for the world's logs are still there.
func (s Scenario) InWorld(ctx context.Context, dir string, bin world.Binaries, log func(string, ...any), after func(*world.World, *Run)) ([]Finding, error) {
	w, err := s.World(dir, bin)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	if err := s.Ready(w); err != nil {
		return nil, err
	}
	run, err := Play(ctx, w, s, log)
	if after != nil {
		after(w, run)
	}
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, w.Logs(2000))
	}
	return run.Findings(), nil
}

// Test plays a scenario as a test: a finding outside its bound fails it.
func (s Scenario) Test(t *testing.T) {
	t.Helper()
	netns.Require(t)
	bin, err := world.Build()
	if err != nil {
		t.Fatal(err)
	}
	findings, err := s.InWorld(t.Context(), t.TempDir(), bin, t.Logf, func(w *world.World, run *Run) {
		for name, d := range run.Results {
			if len(d.Errors) > 0 {
				t.Logf("%s: %d of %d failed: %q", name, d.Failed, d.Connections, d.Errors)
			}
		}
	})
	if errors.Is(err, world.ErrLacks) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		t.Logf("%s: %.1f %s (aim %s %v)", f.What, f.Figure, f.Unit, f.Is, f.Aim)
		if !f.Within {
			t.Errorf("%s: %.1f %s, want %s %v", f.What, f.Figure, f.Unit, f.Is, f.Bound)
		}
	}
}
