// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"spillway/policy/sim"
)

var update = flag.Bool("update", false, "write the timelines of testdata/*.txt anew; commit them only if you know what changed them")

// TestScenarios plays every script of testdata against the machine in a closed loop, holds its expectations, and compares the
// timeline with the one below the script.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			script, want, _ := strings.Cut(string(text), "----\n")
			sc, err := sim.Parse(script)
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			out := sc.Play()
			for _, m := range sc.Missed(out) {
				t.Error(m)
			}
			got := strings.Join(out.Timeline, "\n") + "\n"
			if *update {
				if err := os.WriteFile(file, []byte(script+"----\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("timeline differs (go test -update writes it anew):\n%s", firstDifference(want, got))
			}
		})
	}
}

// firstDifference shows where two texts part.
func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		a, b := "", ""
		if i < len(w) {
			a = w[i]
		}
		if i < len(g) {
			b = g[i]
		}
		if a != b {
			return "- " + a + "\n+ " + b
		}
	}
	return "none"
}
