// SPDX-License-Identifier: Apache-2.0

package policybench

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"

	"spillway/testbed/scenario"
)

// Collection is the figures of all rounds by key, in the order in which the keys came.
type Collection struct {
	keys    []string
	figures map[string][]figures
}

// figures are those of one key in one round: several scenarios may carry the same key.
type figures struct {
	scenario.Finding
	worst float64
	round int
}

// Add takes a scenario's findings. In a round the worst of a key counts.
func (c *Collection) Add(round int, findings []scenario.Finding) {
	if c.figures == nil {
		c.figures = map[string][]figures{}
	}
	for _, f := range findings {
		if f.Key == "" {
			continue
		}
		all, known := c.figures[f.Key]
		if !known {
			c.keys = append(c.keys, f.Key)
		}
		if n := len(all); n > 0 && all[n-1].round == round {
			if f.Is == scenario.AtMost {
				all[n-1].worst = max(all[n-1].worst, f.Figure)
			} else {
				all[n-1].worst = min(all[n-1].worst, f.Figure)
			}
			continue
		}
		c.figures[f.Key] = append(all, figures{Finding: f, worst: f.Figure, round: round})
	}
}

// Median is a key's median over the rounds; promises of nothing (octets on LTE, broken connections) take the worst round.
func (c *Collection) Median(key string) float64 {
	var values []float64
	for _, f := range c.figures[key] {
		values = append(values, f.worst)
	}
	if len(values) == 0 {
		return math.NaN()
	}
	slices.Sort(values)
	if first := c.figures[key][0]; first.Aim == 0 && first.Is == scenario.AtMost {
		return values[len(values)-1]
	}
	return values[len(values)/2]
}

// missed reports whether a key falls short of its aim; one without an aim does not.
func (c *Collection) missed(key string) bool {
	f, value := c.figures[key][0], c.Median(key)
	return !math.IsInf(f.Aim, 0) && (f.Is == scenario.AtMost && !(value <= f.Aim) || f.Is == scenario.AtLeast && !(value >= f.Aim))
}

// Missed is the keys that fall short of their aims.
func (c *Collection) Missed() (keys []string) {
	for _, key := range c.keys {
		if c.missed(key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// Print writes the table.
func (c *Collection) Print(w io.Writer) {
	for _, key := range c.keys {
		f, value := c.figures[key][0], c.Median(key)
		lo, hi := value, value
		for _, g := range c.figures[key] {
			lo, hi = min(lo, g.worst), max(hi, g.worst)
		}
		met := "met"
		if c.missed(key) {
			met = "short of it"
		}
		aim := fmt.Sprintf("%s %v", f.Is, f.Aim)
		if math.IsInf(f.Aim, 0) {
			aim, met = "", ""
		}
		fmt.Fprintf(w, "  %-22s %9.1f %-6s (%.1f to %.1f)  %-8s %-12s %s\n", key, value, f.Unit, lo, hi, aim, met, f.What)
	}
}

// JSON is the medians by key; what was never reached is null.
func (c *Collection) JSON() ([]byte, error) {
	out := map[string]any{}
	for _, key := range c.keys {
		value := c.Median(key)
		if math.IsInf(value, 0) || math.IsNaN(value) {
			out[key] = nil
			continue
		}
		out[key] = math.Round(value*10) / 10
	}
	return json.MarshalIndent(out, "", "  ")
}
