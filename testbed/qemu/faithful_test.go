// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"cmp"
	"os"
	"strings"
	"testing"
	"time"

	"spillway/testbed/scenario"
	"spillway/testbed/world"
)

// A kernel with nft's queue holds SYNs until servers have answered, and lets them pass when nobody judges them. GUEST names other
// guests than the one that every run plays.
func TestHeldSYNsInAnEmulatedRouter(t *testing.T) {
	for name := range strings.SplitSeq(cmp.Or(os.Getenv("GUEST"), "amd64-6.12"), ",") {
		t.Run(name, func(t *testing.T) {
			slot := prepared(t, name)
			slot.Limit = 8 * time.Minute
			s := scenario.Faithful()
			w := world.New(t, world.Config{Links: s.Links, Settings: s.Settings, ServerDelay: s.ServerDelay, On: slot.On})
			if err := s.Before(w); err != nil {
				t.Fatal(err)
			}
			if err := s.Ready(w); err != nil {
				t.Fatal(err)
			}
			run, err := scenario.Play(t.Context(), w, s, t.Logf)
			if err != nil {
				t.Fatalf("%v\nthe console's end:\n%s", err, slot.Machine.Console(3000))
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
