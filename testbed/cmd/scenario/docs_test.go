// SPDX-License-Identifier: Apache-2.0

package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"spillway/testbed/pages"
	"spillway/testbed/scenario"
)

// TestPagesNameScenariosThatThereAre looks for each scenario that pages have played, for a row of each fault and load in FAULTS.md, and for all others
// in any page.
func TestPagesNameScenariosThatThereAre(t *testing.T) {
	t.Chdir("../../..") // scripts are named as from the root
	played := regexp.MustCompile("(?m)(?:`|^    )(?:go run \\./testbed/cmd/)?scenario\\s+([^`#]+)")
	apart := regexp.MustCompile(`\s{2,}`)
	found, all := 0, ""
	for _, page := range pages.All(t) {
		text := pages.Read(t, page)
		all += text
		for _, m := range played.FindAllStringSubmatch(text, -1) {
			words := strings.Fields(apart.Split(m[1], 2)[0])
			for i, name := range words {
				option := strings.HasPrefix(name, "-") || i > 0 && slices.Contains([]string{"-picture", "-keep"}, words[i-1])
				if option || strings.ToUpper(name) == name || slices.Contains([]string{"list", "all", "stand"}, name) {
					continue
				}
				found++
				if _, err := named([]string{name}); err != nil {
					t.Errorf("%s: scenario %s: %v", page, m[1], err)
				}
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d names found", found)
	}
	for _, s := range scenario.Every() {
		if !regexp.MustCompile("[^a-z-]" + s.Name + "[^a-z-]").MatchString(all) {
			t.Errorf("no page says anything of %s", s.Name)
		}
	}
	faults := pages.Read(t, "docs/FAULTS.md")
	for _, s := range slices.Concat(scenario.Faults(), scenario.Loads()) {
		if !strings.Contains(faults, "\n| "+s.Name+" ") {
			t.Errorf("docs/FAULTS.md has no row of %s", s.Name)
		}
	}
}
