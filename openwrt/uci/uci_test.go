// SPDX-License-Identifier: Apache-2.0

package uci

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
)

func TestWordsAsLibuciReadsThem(t *testing.T) {
	sections, err := Parse("package spillway\n\n# a comment\nconfig link dsl # and here\n\toption a 'it'\\''s'\n\toption b \"x \\\"y\\\" \\\\\"\n" +
		"\toption c a\\ b\n\tlist d one; list d 'two\nlines'\n\toption a second\n\toption e ''\n\toption f\nconfig link\n\to x y\nc link 'dsl'\n\tl d three\r\n\toption g 'a''b'\"c\"\n\toption h a#b\n\toption e x\n\tlist e y")
	if err != nil {
		t.Fatal(err)
	}
	want := []*Section{
		{Type: "link", Name: "dsl", Line: 4, Options: []Option{
			{"a", []string{"second"}, false, 10}, {"b", []string{`x "y" \`}, false, 6}, {"c", []string{"a b"}, false, 7},
			{"d", []string{"one", "two\nlines", "three"}, true, 8}, {"e", []string{"x", "y"}, true, 19}, {"f", []string{""}, false, 12},
			{"g", []string{"abc"}, false, 17}, {"h", []string{"a#b"}, false, 18}}},
		{Type: "link", Index: 1, Line: 13, Options: []Option{{"x", []string{"y"}, false, 14}}},
	}
	if diff := cmp.Diff(want, sections); diff != "" {
		t.Error(diff)
	}
}

func TestBrokenFiles(t *testing.T) {
	for text, want := range map[string]string{
		"config":                    "line 1: config wants a type",
		"\nconfig link 'a b'":       `line 2: section name "a b"`,
		"option a b":                "line 1: option a before the first config",
		"config link\noption":       "line 2: option wants a name",
		"config link\noption a-b c": "line 2: option wants a name",
		"config link\noption a b c": "line 2: option wants a name and a value",
		"config link\noption a 'b":  "line 2: quote ' without end",
		"config link\noption a b\\": "line 2: backslash at the end",
		"colnfig link":              `line 1: "colnfig" is none of`,
		"config a x\nconfig b x":    "line 2: section x is of type a and of type b",
		"config a\x00":              "line 1: octet 0",
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	if _, err := Parse(strings.Repeat("#", MaxFile+1)); err == nil {
		t.Error("a file over the limit was read")
	}
}

func TestImportOfTheExample(t *testing.T) {
	f, err := os.Open("testdata/spillway")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := Import(f, "/etc/config/spillway")
	if err != nil {
		t.Fatal(err)
	}
	want, _ := os.ReadFile("testdata/spillway.toml")
	if os.Getenv("UPDATE") != "" {
		os.WriteFile("testdata/spillway.toml", got, 0o644)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("UPDATE=1 go test writes it anew: %s", diff)
	}
	var any map[string]any
	if _, err := toml.Decode(string(got), &any); err != nil {
		t.Error(err)
	}
}

func TestImportNamesSectionAndOption(t *testing.T) {
	const path = "/etc/config/spillway"
	for text, want := range map[string]string{
		"config link 'dsl'\n\toption rol 'primary'":                                      path + `:2: spillway.dsl.rol: unknown option; did you mean role?`,
		"config link 'dsl'\n\toption down_kbit '50M'":                                    path + `:2: spillway.dsl.down_kbit: "50M" is no whole number`,
		"config link\n\toption metered 'maybe'":                                          path + `:2: spillway.@link[0].metered: "maybe" is no flag; write 0 or 1`,
		"config link 'a'\n\tlist role 'primary'\n\tlist role 'off'":                      path + `:2: spillway.a.role: takes one value, not a list of 2`,
		"config policy 'policy'\n\toption overflow_enter 'x'":                            path + `:2: spillway.policy.overflow_enter: "x" is no share; write e.g. 0.9 or 90%`,
		"config lan 'lan'\nconfig lan 'lan2'":                                            path + `:2: spillway.lan2: a second section of type lan; the first, spillway.lan, is at line 1`,
		"config wan 'x'":                                                                 path + `:1: spillway.x: unknown type of section "wan"; there are`,
		"config global 'global'\n\toption enabled 'x'":                                   path + `:1: spillway.global.enabled: "x" is no flag`,
		"config global\n\toption enabled '1'":                                            path + `:1: spillway.@global[0]: the init script reads the section of this name alone: config global 'global'`,
		"config global 'global'\n\toption memory_limit '24M'":                            path + `:2: spillway.global.memory_limit: "24M" is no limit of memory; write e.g. 24MiB`,
		"config global 'global'\n\toption jail 'x'":                                      path + `:1: spillway.global.jail: "x" is no flag`,
		"config rule 'r'\n\tlist dscp 'ef'":                                              path + `:2: spillway.r.dscp: "ef" is no whole number`,
		"config rule 'r'\n\toption enabled 'x'":                                          path + `:1: spillway.r.enabled: "x" is no flag`,
		"config link 'dsl'\n\toption device 'e\n":                                        path + `: line 2: quote ' without end`,
		"config link 'a'\n\toption weight 'x'\nconfig policy 'p'\n\toption mode_ 'bond'": path + `:4: spillway.p.mode_: unknown option; did you mean mode?`,
	} {
		if _, err := Import(strings.NewReader(text), path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q:\n%v\nwant\n%s", text, err, want)
		}
	}
}

func TestExplainPutsUCINamesIntoErrors(t *testing.T) {
	const path = "/etc/config/spillway"
	toml, err := Import(strings.NewReader("config link 'lte'\n\toption device 'wwan0 # x'\n\toption quota '50XB'\n"), path)
	if err != nil {
		t.Fatal(err)
	}
	err = Explain(toml, path, errors.New("/var/run/x.toml:5: link[0].quota: \"50XB\" is not a size\n"+
		"/var/run/x.toml:4: link[0].device: no such device\n/var/run/x.toml:2: link[0].role: missing\nother: words"))
	want := path + ": spillway.lte.quota: \"50XB\" is not a size\n" + path + ": spillway.lte.device: no such device\n" +
		path + ": spillway.lte.role: missing\nother: words"
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Error(diff, "\n", string(toml))
	}
	if Explain(toml, path, nil) != nil {
		t.Error("no error became one")
	}
}

func TestDisabledSectionsAndEmptyOptionsAreLeftOut(t *testing.T) {
	got, err := Import(strings.NewReader("config link 'a'\n\toption enabled '0'\n\toption role ''\nconfig link 'b'\n\toption role ''\n\toption enabled '1'\n"), "spillway")
	if want := "\n[[link]] # spillway.b\nname = \"b\" # spillway.b\n"; err != nil || string(got) != want {
		t.Errorf("%v\n%s", err, got)
	}
}

func FuzzImport(f *testing.F) {
	example, _ := os.ReadFile("testdata/spillway")
	f.Add(string(example))
	f.Add("config link 'a'\noption device \"\\\"\\\\\x7f\"\nlist name '\xff'")
	f.Add("c policy\no overflow_enter 90%;o hold_up 3")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := Import(strings.NewReader(text), "spillway")
		if err != nil {
			return
		}
		var any map[string]any
		if _, err := toml.Decode(string(got), &any); err != nil {
			t.Fatalf("not TOML: %v\n%s", err, got)
		}
	})
}

// TestEveryKeyOfTheReferenceIsAnOption holds the two sides together: config/reference.toml documents every key there is.
func TestEveryKeyOfTheReferenceIsAnOption(t *testing.T) {
	reference, err := os.ReadFile("../../config/reference.toml")
	if err != nil {
		t.Fatal(err)
	}
	options := map[string]map[string]bool{}
	for _, table := range tables() {
		options[table.toml] = map[string]bool{}
		for name := range table.options {
			options[table.toml][name] = false
		}
	}
	now := ""
	for _, line := range strings.Split(string(reference), "\n") {
		if strings.HasPrefix(line, "[") {
			now = strings.Trim(line, "[]")
			continue
		}
		key, _, ok := strings.Cut(strings.TrimPrefix(line, "# "), " = ")
		if !ok || !validName(key) || now == "log" || now == "daemon" {
			continue
		}
		if _, ok := options[now][key]; !ok {
			t.Errorf("[%s] %s has no option in UCI", now, key)
		}
		options[now][key] = true
	}
	for table, names := range options {
		for name, seen := range names {
			if table != "" && !seen && !strings.Contains(string(reference), "or "+name+" = ") {
				t.Errorf("option %s of %s is no key of the reference", name, table)
			}
		}
	}
}
