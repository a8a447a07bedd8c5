// SPDX-License-Identifier: Apache-2.0

package uci

import (
	"os"
	"strings"
	"testing"
)

// TestEveryOptionAndFieldIsDocumented reads docs/OPENWRT.md against the options here and the fields that status.go tells.
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
	source, err := os.ReadFile("../../status.go")
	if err != nil {
		t.Skip(err)
	}
	for _, part := range strings.Split(string(source), "`json:\"")[1:] {
		field, _, _ := strings.Cut(part, "\"")
		field, _, _ = strings.Cut(field, ",")
		if !strings.Contains(page, "`"+field+"`") {
			t.Errorf("field %s of the ubus object is not documented", field)
		}
	}
}
