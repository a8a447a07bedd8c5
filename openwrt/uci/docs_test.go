// SPDX-License-Identifier: Apache-2.0

package uci

import (
	"strings"
	"testing"

	"spillway/testbed/pages"
)

// settings is the settings page of LuCI.
const settings = "openwrt/luci/luci-app-spillway/htdocs/luci-static/resources/view/spillway/settings.js"

// TestEveryOptionAndFieldIsDocumented reads docs/OPENWRT.md against the options here and the fields of answers and events.
func TestEveryOptionAndFieldIsDocumented(t *testing.T) {
	page := pages.Read(t, "docs/OPENWRT.md")
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
		for _, part := range strings.Split(pages.Read(t, name), "`json:\"")[1:] {
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
	files := map[string]string{"OPENWRT.md": pages.Read(t, "docs/OPENWRT.md"), "settings.js": pages.Read(t, settings)}
	reference := pages.Read(t, "config/reference.toml")
	for _, key := range []string{"overflow_enter", "overflow_enter_for", "overflow_leave", "overflow_leave_for", "hold_up"} {
		_, rest, ok := strings.Cut(reference, "\n"+key+" = ")
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

// TestOptionsThatLuCILacksAreTold: options that the settings page has no field for stand in a sentence of docs/OPENWRT.md, and no others.
func TestOptionsThatLuCILacksAreTold(t *testing.T) {
	page := pages.Read(t, settings)
	_, told, _ := strings.Cut(pages.Read(t, "docs/OPENWRT.md"), "The Settings page has all but the section `numbers`,")
	told, _, _ = strings.Cut(told, ".\n")
	for kind, table := range tables() {
		if kind == "numbers" {
			continue
		}
		for option := range table.options {
			if has := strings.Contains(page, "'"+option+"'"); has == strings.Contains(told, "`"+option+"`") && option != "name" {
				t.Errorf("option %s of %s: a field on the page %v; docs/OPENWRT.md says otherwise", option, kind, has)
			}
		}
	}
}
