// SPDX-License-Identifier: Apache-2.0

package policybench

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"spillway/testbed/scenario"
)

func finding(key string, is scenario.Comparison, aim, figure float64) scenario.Finding {
	return scenario.Finding{Expectation: scenario.Expectation{Key: key, Is: is, Aim: aim}, Figure: figure}
}

func TestTheWorstOfARoundAndTheMedianOfRounds(t *testing.T) {
	var c Collection
	for round, v := range []float64{300, 100, 200} {
		c.Add(round, []scenario.Finding{finding("stall", scenario.AtMost, 700, v), finding("", scenario.AtMost, 0, 1)})
		c.Add(round, []scenario.Finding{finding("stall", scenario.AtMost, 700, v-50), finding("share", scenario.AtLeast, 95, v/10)})
		c.Add(round, []scenario.Finding{finding("share", scenario.AtLeast, 95, v/10+1)})
	}
	if got := c.Median("stall"); got != 200 {
		t.Errorf("stall %v, want 200", got)
	}
	if got := c.Median("share"); got != 20 {
		t.Errorf("share %v, want 20", got)
	}
}

func TestWhatFallsShortIsMissed(t *testing.T) {
	var c Collection
	c.Add(0, []scenario.Finding{
		finding("most", scenario.AtMost, 700, 701), finding("most_met", scenario.AtMost, 700, 700), finding("least", scenario.AtLeast, 95, 94.9),
		finding("least_met", scenario.AtLeast, 95, 95), finding("never", scenario.AtMost, 700, math.Inf(1)), finding("no_aim", scenario.AtMost, math.Inf(1), 1e9),
	})
	if got := strings.Join(c.Missed(), " "); got != "most least never" {
		t.Errorf("missed: %s", got)
	}
}

func TestNothingMeansNothingInAnyRound(t *testing.T) {
	var c Collection
	for round, v := range []float64{0, 0, 7} {
		c.Add(round, []scenario.Finding{finding("lte_bytes_at_25", scenario.AtMost, 0, v)})
	}
	if got := c.Median("lte_bytes_at_25"); got != 7 {
		t.Errorf("%v, want 7", got)
	}
}

func TestJSONHasWhatWasNeverReachedAsNull(t *testing.T) {
	var c Collection
	c.Add(0, []scenario.Finding{finding("a", scenario.AtMost, 1, math.Inf(1)), finding("b", scenario.AtMost, 1, 2.34)})
	b, err := c.JSON()
	if err != nil || !json.Valid(b) || !strings.Contains(string(b), `"a": null`) || !strings.Contains(string(b), `"b": 2.3`) {
		t.Errorf("%s, %v", b, err)
	}
}

func TestEveryPromiseIsMeasured(t *testing.T) {
	have := map[string]bool{}
	for _, s := range All(1) {
		for _, e := range s.Expect {
			have[e.Key] = true
		}
	}
	for _, key := range []string{"lte_bytes_at_25", "lte_bytes_at_50", "lte_bytes_at_85", "overflow_enter_ms", "overflow_share_error", "overflow_leave_ms",
		"bond_share", "stall_carrier_ms", "stall_carrier_lte_ms", "stall_blackhole_ms", "stall_blackhole_lte_ms"} {
		if !have[key] {
			t.Errorf("no scenario measures %s", key)
		}
	}
}
