// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"spillway/config"
	"spillway/doctor"
	"spillway/relay"
	"spillway/testbed/pages"
)

// TestPagesNameWhatThereIs reads docs/OPERATION.md and OPENWRT.md against the commands, their flags, the counters and the metrics.
func TestPagesNameWhatThereIs(t *testing.T) {
	operation, openwrt := pages.Read(t, "docs/OPERATION.md"), pages.Read(t, "docs/OPENWRT.md")

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
	for _, m := range busMethods {
		row := "\n| `" + m.Name + "` |"
		for i, a := range m.Args {
			row += []string{" ", ", "}[min(i, 1)] + "`" + a.Name + "`"
		}
		if !strings.Contains(openwrt, row) {
			t.Errorf("OPENWRT.md has no row %q of the ubus method %s", row, m.Name)
		}
	}
	world := doctor.World{LAN: []string{"br-lan"}, Faithful: true, Links: []doctor.Link{{Name: "X", RoleWhy: "by netifd"}}, Remotes: make([]doctor.Concentrator, 1)}
	for _, n := range doctor.Tree(&world) {
		group, check, _ := strings.Cut(n.Name, "/")
		if kind, _, of := strings.Cut(check, " "); of && kind == "sysctl" {
			check = kind + " ..."
		}
		if group != "others" && !strings.Contains(openwrt, "`"+group+"/"+check+"`") && !(strings.HasPrefix(group, "link ") && strings.Contains(openwrt, "`"+check+"`")) {
			t.Errorf("OPENWRT.md says nothing of doctor's check %s", n.Name)
		}
	}
	for _, m := range names {
		if !regexp.MustCompile("`(spillway)?" + m[1] + "[`{]").MatchString(openwrt) {
			t.Errorf("OPENWRT.md says nothing of the metric spillway%s", m[1])
		}
	}
}

// TestPagesLeadSomewhere follows each link of README and docs/ to a file of the tree, and to a heading where it names one.
func TestPagesLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, page := range pages.All(t) {
		for _, m := range link.FindAllStringSubmatch(pages.Read(t, page), -1) {
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
			} else if heading != "" && !headings(pages.Read(t, target))[heading] {
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

// TestPagesNameTestsAndFilesThatThereAre looks for each test and Go file that README or docs/ name, such as `TestHome/...` or `relay/door.go`.
func TestPagesNameTestsAndFilesThatThereAre(t *testing.T) {
	tests, files, fuzzed := map[string]bool{}, map[string]bool{}, 0
	security := pages.Read(t, "docs/SECURITY.md")
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
			for _, m := range function.FindAllStringSubmatch(pages.Read(t, path), -1) {
				tests[m[1]] = true
				if !strings.HasPrefix(m[1], "Fuzz") {
					continue
				}
				fuzzed++
				if room := strings.Replace(filepath.Dir(path), ".", "(main)", 1); !strings.Contains(security, "\n| "+room+" | "+m[1]+" |") {
					t.Errorf("docs/SECURITY.md has no row of %s in %s", m[1], room)
				}
			}
		}
		return nil
	})
	if err != nil || len(tests) < 100 {
		t.Fatal(len(tests), err)
	}
	if told := fmt.Sprintf("each of the %d targets", fuzzed); !strings.Contains(security, told) {
		t.Errorf("docs/SECURITY.md does not say %q", told)
	}
	named := regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z]\\w+)[/`]|`([\\w/-]+\\.go)`")
	for _, page := range pages.All(t) {
		for _, m := range named.FindAllStringSubmatch(pages.Read(t, page), -1) {
			if m[1] != "" && !tests[m[1]] || m[2] != "" && !files[m[2]] {
				t.Errorf("%s names %s%s, which there is not", page, m[1], m[2])
			}
		}
	}
}

// TestArchitectureNamesEachRoom: each file of package main, and each folder with Go in it, stands in docs/ARCHITECTURE.md.
func TestArchitectureNamesEachRoom(t *testing.T) {
	architecture := pages.Read(t, "docs/ARCHITECTURE.md")
	all, err := filepath.Glob("*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range all {
		if inside, _ := filepath.Glob(name + "/*.go"); len(inside) > 0 {
			name += "/"
		} else if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		if !strings.Contains(architecture, "`"+name+"`") {
			t.Errorf("docs/ARCHITECTURE.md says nothing of %s", name)
		}
	}
}

// code is what a page has in backticks, between fences, and indented by four.
func code(text string) (all []string) {
	prose, fenced := "", false
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "```"):
			fenced = !fenced
		case fenced || strings.HasPrefix(line, "    "):
			all = append(all, strings.TrimSpace(line))
		default:
			prose += line
		}
	}
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(prose, -1) {
		all = append(all, strings.Join(strings.Fields(m[1]), " "))
	}
	return all
}

// TestPagesTypeCommandsThatThereAre looks at what pages have typed: targets of make, folders that go is to run or test, tests by -run.
func TestPagesTypeCommandsThatThereAre(t *testing.T) {
	rules := pages.Read(t, "Makefile")
	target := regexp.MustCompile(`(?:^|; )make ([a-z-]+)(?:$|[ ;])`)
	goes := regexp.MustCompile(`(?:^|[ ;])go (run|test) (.*)`)
	folder := regexp.MustCompile(`(?:^| )(\./[\w./-]+|\.)(?: |$)`)
	pattern := regexp.MustCompile(` -run '?([\w|]+)`)
	made, went := 0, 0
	for _, page := range pages.All(t) {
		for _, typed := range code(pages.Read(t, page)) {
			for _, m := range target.FindAllStringSubmatch(typed, -1) {
				made++
				if !strings.Contains(rules, "\n"+m[1]+":") {
					t.Errorf("%s: %s: there is no target %s", page, typed, m[1])
				}
			}
			m := goes.FindStringSubmatch(typed)
			if m == nil {
				continue
			}
			f := folder.FindStringSubmatch(" " + m[2])
			if f == nil {
				continue // a module of others, or none named
			}
			went++
			dir, below := strings.CutSuffix(f[1], "/...")
			if info, err := os.Stat(dir); err != nil || !info.IsDir() {
				t.Errorf("%s: %s: %v", page, typed, err)
			}
			if p := pattern.FindStringSubmatch(" " + m[2]); p != nil && !below {
				for one := range strings.SplitSeq(p[1], "|") {
					if !hasTest(t, dir, one) {
						t.Errorf("%s: %s: %s has no test %s", page, typed, dir, one)
					}
				}
			}
		}
	}
	if made < 20 || went < 20 {
		t.Errorf("only %d targets and %d commands found", made, went)
	}
}

// hasTest tells whether a folder has a test whose name has these letters in it.
func hasTest(t *testing.T, dir, letters string) bool {
	files, err := filepath.Glob(dir + "/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if regexp.MustCompile(`(?m)^func (Test|Fuzz|Benchmark)\w*` + strings.TrimPrefix(letters, "Test") + `\w*\(`).MatchString(pages.Read(t, file)) {
			return true
		}
	}
	return false
}

// TestPagesConfigureWhatCanBe reads the configurations that pages show, TOML and UCI.
func TestPagesConfigureWhatCanBe(t *testing.T) {
	base := []string{"[lan]\ninterfaces = [\"br-lan\"]\n", "[[link]]\nname = \"dsl\"\ndevice = \"wan\"\n", "[[concentrator]]\naddress = \"192.0.2.1\"\nport = 5124\n"}
	shown := 0
	for _, page := range pages.All(t) {
		for _, m := range regexp.MustCompile(`(?m)^    (?:config|\[).*\n(?:(?:    .*)?\n)*`).FindAllString(pages.Read(t, page), -1) {
			text := regexp.MustCompile(`(?m)^    `).ReplaceAllString(m, "")
			if strings.HasPrefix(text, "[Service]") {
				continue
			}
			shown++
			if strings.HasPrefix(text, "config ") {
				if _, _, err := fromUCI([]byte(text), "spillway"); err != nil {
					t.Errorf("%s: %v", page, err)
				}
				continue
			}
			for _, table := range base {
				if name, _, _ := strings.Cut(table, "\n"); !strings.Contains(text, name) {
					text += table
				}
			}
			if _, err := config.Parse(page, text); err != nil {
				t.Errorf("%v in\n%s", err, text)
			}
		}
	}
	if shown < 5 {
		t.Errorf("only %d found", shown)
	}
}

// TestPageTellsEachWarning: what the daemon logs as a warning or an error begins with words that docs/OPERATION.md explains.
func TestPageTellsEachWarning(t *testing.T) {
	_, table, _ := strings.Cut(pages.Read(t, "docs/OPERATION.md"), "\n| line |")
	table, _, _ = strings.Cut(table, "\n\n")
	var told []string
	for line := range strings.Lines(table) {
		cell, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cell, -1) {
			told = append(told, m[1])
		}
	}
	ours := []string{"hand over the listening sockets", "time to finish", "concentrators' addresses", "devices named by netifd", "control socket: accept",
		"the rules do not make an nft table"} // which should never be
	logged := regexp.MustCompile(`\.(?:Warn|Error)\("(?:relay: |linkmon: |ubus: )?([^"]+)"`)
	found := 0
	for _, dir := range []string{".", "relay", "kernel", "linkmon", "ubus", "nfqueue"} {
		files, err := filepath.Glob(dir + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			for _, m := range logged.FindAllStringSubmatch(pages.Read(t, file), -1) {
				if strings.HasSuffix(m[1], ": ") {
					continue // an error follows
				}
				found++
				begins := func(words string) bool { return strings.HasPrefix(m[1], words) }
				if !slices.ContainsFunc(told, begins) && !slices.ContainsFunc(ours, begins) {
					t.Errorf("docs/OPERATION.md says nothing of the warning %q in %s", m[1], file)
				}
			}
		}
	}
	if found < 25 {
		t.Errorf("only %d warnings found", found)
	}
}
