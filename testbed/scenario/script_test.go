// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const scripts = "../../policy/testdata/"

// simulated are the scripts that need what no network has: traffic that adapts its quality, a window over all links, links that slow each
// other down for no reason.
var simulated = []string{"video", "film", "worse", "throttled", "bond-lossy"}

func TestEveryScriptIsOfBothWorldsOrSaysWhy(t *testing.T) {
	files, err := filepath.Glob(scripts + "*.txt")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d scripts: %v", len(files), err)
	}
	for _, file := range files {
		s, err := FromScript(file)
		if only := slices.Contains(simulated, s.Name); only != (err != nil) {
			t.Errorf("%s: %v", file, err)
		}
		if err != nil && !strings.Contains(err.Error(), "only the simulation") {
			t.Errorf("%s: %v: does not say that only the simulation has it", file, err)
		}
		if err == nil && (len(s.Links) == 0 || len(s.Demands) == 0 || len(s.Expect) < len(s.Demands)) {
			t.Errorf("%s: %d links, %d demands, %d expectations", file, len(s.Links), len(s.Demands), len(s.Expect))
		}
	}
}
