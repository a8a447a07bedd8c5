// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"spillway/relay"
)

// TestPagesNameWhatThereIs reads docs/OPERATION.md and OPENWRT.md against the commands, their flags, the counters and the metrics.
func TestPagesNameWhatThereIs(t *testing.T) {
	operation, openwrt := read(t, "docs/OPERATION.md"), read(t, "docs/OPENWRT.md")

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

// TestPagesLeadSomewhere follows each link of README and docs/ to a file of the tree, and to a heading where it names one.
func TestPagesLeadSomewhere(t *testing.T) {
	pages, err := filepath.Glob("docs/*.md")
	if err != nil || len(pages) < 8 {
		t.Fatal(pages, err)
	}
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, page := range append(pages, "README.md") {
		for _, m := range link.FindAllStringSubmatch(read(t, page), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			file, heading, _ := strings.Cut(m[1], "#")
			target := page
			if file != "" {
				target = filepath.Join(filepath.Dir(page), file)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %s: %v", page, m[1], err)
			} else if heading != "" && !headings(read(t, target))[heading] {
				t.Errorf("%s: %s has no heading %s", page, target, heading)
			}
		}
	}
}

// headings are a page's, as links name them: lower case, a hyphen for each space, nothing of its punctuation.
func headings(text string) map[string]bool {
	all := make(map[string]bool)
	for line := range strings.Lines(text) {
		if title, ok := strings.CutPrefix(strings.TrimLeft(strings.TrimSpace(line), "#"), " "); ok && line[0] == '#' {
			all[regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ReplaceAll(strings.ToLower(title), " ", "-"), "")] = true
		}
	}
	return all
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestPagesNameTestsAndFilesThatThereAre looks for each test and Go file that README or docs/ name, such as `TestHome/...` or `relay/door.go`.
func TestPagesNameTestsAndFilesThatThereAre(t *testing.T) {
	tests, files := map[string]bool{}, map[string]bool{}
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	err := filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && (d.Name() == "build" || d.Name() == ".git") {
			return filepath.SkipDir
		}
		if err != nil || !strings.HasSuffix(path, ".go") {
			return err
		}
		for p := path; p != "."; { // a page may leave the folder's beginning away
			files[p] = true
			_, rest, ok := strings.Cut(p, "/")
			if !ok {
				break
			}
			p = rest
		}
		if strings.HasSuffix(path, "_test.go") {
			for _, m := range function.FindAllStringSubmatch(read(t, path), -1) {
				tests[m[1]] = true
			}
		}
		return nil
	})
	if err != nil || len(tests) < 100 {
		t.Fatal(len(tests), err)
	}
	pages, _ := filepath.Glob("docs/*.md")
	named := regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z]\\w+)[/`]|`([\\w/-]+\\.go)`")
	for _, page := range append(pages, "README.md") {
		for _, m := range named.FindAllStringSubmatch(read(t, page), -1) {
			if m[1] != "" && !tests[m[1]] || m[2] != "" && !files[m[2]] {
				t.Errorf("%s names %s%s, which there is not", page, m[1], m[2])
			}
		}
	}
}
