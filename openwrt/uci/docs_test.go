// SPDX-License-Identifier: Apache-2.0

package uci

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestEveryOptionAndFieldIsDocumented reads docs/OPENWRT.md against the options here and the fields of answers and events.
func TestEveryOptionAndFieldIsDocumented(t *testing.T) {
	raw, err := os.ReadFile("../../docs/OPENWRT.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(raw)
	for kind, table := range tables() {
		if !strings.Contains(page, "section `"+kind+"`") {
			t.Errorf("section %s is not documented", kind)
		}
		for option := range table.options {
			if !strings.Contains(page, "`"+option+"`") {
				t.Errorf("option %s of %s is not documented", option, kind)
			}
		}
	}
	for _, name := range []string{"status.go", "events.go", "commands.go"} {
		source, err := os.ReadFile("../../" + name)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range strings.Split(string(source), "`json:\"")[1:] {
			field, _, _ := strings.Cut(part, "\"")
			field, _, _ = strings.Cut(field, ",")
			if !strings.Contains(page, "`"+field+"`") {
				t.Errorf("field %s of the ubus object, in %s, is not documented", field, name)
			}
		}
	}
}

// TestDefaultsAreToldAsTheyAre compares the policy's thresholds on the page and in LuCI's empty fields with the reference.
func TestDefaultsAreToldAsTheyAre(t *testing.T) {
	files := map[string]string{}
	for _, name := range []string{"../../config/reference.toml", "../../docs/OPENWRT.md", "../luci/luci-app-spillway/htdocs/luci-static/resources/view/spillway/settings.js"} {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(name)] = string(raw)
	}
	for _, key := range []string{"overflow_enter", "overflow_enter_for", "overflow_leave", "overflow_leave_for", "hold_up"} {
		_, rest, ok := strings.Cut(files["reference.toml"], "\n"+key+" = ")
		value, _, _ := strings.Cut(rest, "\n")
		value = strings.Trim(value, `"`)
		if !ok || value == "" {
			t.Errorf("%s is not in the reference", key)
			continue
		}
		for file, begin := range map[string]string{"OPENWRT.md": "| `" + strings.TrimSuffix(key, "_for") + "`", "settings.js": "'" + key + "'"} {
			_, rest, _ := strings.Cut(files[file], begin)
			if line, _, _ := strings.Cut(rest, "\n"); !strings.Contains(line, value) {
				t.Errorf("%s: the default of %s is %s, not as in %q", file, key, value, line)
			}
		}
	}
}

// TestMemoryLimitIsTheSameInLuCI: what the settings page takes for memory_limit is what is imported.
func TestMemoryLimitIsTheSameInLuCI(t *testing.T) {
	raw, err := os.ReadFile("../luci/luci-app-spillway/htdocs/luci-static/resources/view/spillway/settings.js")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), "'memory_limit'")
	_, rest, _ = strings.Cut(rest, "matches(/")
	pattern, _, ok := strings.Cut(rest, "/,")
	if !ok {
		t.Fatal("settings.js has no pattern for memory_limit")
	}
	page := regexp.MustCompile(pattern)
	for _, s := range []string{"24MiB", "1GiB", "65536KiB", "1000000", "1000000B", "off", "24MB", "24 MiB", "-1", "MiB", "on", "0x10"} {
		if page.MatchString(s) != isLimit(s) {
			t.Errorf("%q: settings.js %v, the import %v", s, page.MatchString(s), isLimit(s))
		}
	}
}

// TestOptionsThatLuCILacksAreTold: options that the settings page has no field for stand in a sentence of docs/OPENWRT.md, and no others.
func TestOptionsThatLuCILacksAreTold(t *testing.T) {
	files := [2]string{}
	for i, name := range []string{"../../docs/OPENWRT.md", "../luci/luci-app-spillway/htdocs/luci-static/resources/view/spillway/settings.js"} {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[i] = string(raw)
	}
	_, told, _ := strings.Cut(files[0], "The Settings page has all but the section `numbers`,")
	told, _, _ = strings.Cut(told, ".\n")
	for kind, table := range tables() {
		if kind == "numbers" {
			continue
		}
		for option := range table.options {
			if has := strings.Contains(files[1], "'"+option+"'"); has == strings.Contains(told, "`"+option+"`") && option != "name" {
				t.Errorf("option %s of %s: a field on the page %v; docs/OPENWRT.md says otherwise", option, kind, has)
			}
		}
	}
}
