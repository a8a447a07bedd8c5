// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"spillway/relay"
)

// TestPagesNameWhatThereIs reads docs/OPERATION.md and OPENWRT.md against the commands, their flags, the counters and the metrics.
func TestPagesNameWhatThereIs(t *testing.T) {
	page := func(name string) string {
		b, err := os.ReadFile("docs/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	operation, openwrt := page("OPERATION.md"), page("OPENWRT.md")

	flag := regexp.MustCompile(`(?m)^  -([a-z]+)`)
	_, general, _ := call(t, "help")
	for _, c := range commands() {
		if c.name != "version" && !regexp.MustCompile("`(spillway )?"+c.name+"[` ]").MatchString(operation) {
			t.Errorf("OPERATION.md says nothing of spillway %s", c.name)
		}
		_, help, _ := call(t, c.name, "-help")
		for _, f := range flag.FindAllStringSubmatch(help, -1) {
			if !strings.Contains(operation, "-"+f[1]) {
				t.Errorf("OPERATION.md says nothing of the flag -%s of spillway %s", f[1], c.name)
			}
		}
	}
	for line := range strings.Lines(general) {
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > 79 {
			t.Errorf("spillway help: %d columns: %s", n, line)
		}
	}

	for name := range counters(relay.Stats{}) {
		if !strings.Contains(operation, "`"+name+"`") {
			t.Errorf("OPERATION.md says nothing of the counter %s", name)
		}
	}

	var text strings.Builder
	writeMetrics(&text, &Status{Links: []LinkStatus{{Name: "lte", Quota: &QuotaStatus{}}}, Concentrators: []ConcentratorStatus{{Name: "home"}}, Rules: []RuleStatus{{Name: "tv"}}})
	names := regexp.MustCompile(`(?m)^# TYPE spillway(_[a-z_]+) `).FindAllStringSubmatch(text.String(), -1)
	if len(names) < 20 {
		t.Fatalf("%d metrics", len(names))
	}
	for _, m := range names {
		if !regexp.MustCompile("`(spillway)?" + m[1] + "[`{]").MatchString(openwrt) {
			t.Errorf("OPENWRT.md says nothing of the metric spillway%s", m[1])
		}
	}
}
