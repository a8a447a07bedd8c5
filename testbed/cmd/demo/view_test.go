// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestWithin79Columns: neither the policy's sentence nor the table is broken by a terminal of 80.
func TestWithin79Columns(t *testing.T) {
	sentence := "dsl is first: it is the primary link and works; everything fits into dsl again: 1.2 of 16.0 Mbit/s down for 10 s, so lte empties"
	for _, columns := range []int{1, 20, 77, 200} {
		var b strings.Builder
		fold(&b, sentence, columns)
		if got := strings.Join(strings.Fields(b.String()), " "); got != sentence || !strings.HasSuffix(b.String(), "\n") {
			t.Errorf("folded to %d columns it says %q", columns, got)
		}
		for line := range strings.Lines(b.String()) {
			if text := strings.TrimSpace(line); utf8.RuneCountInString(text) > columns && strings.Contains(text, " ") {
				t.Errorf("longer than %d: %q", columns, text)
			}
		}
	}
	for _, f := range []figures{{}, {DSL: 15.1, LTE: 38.2, DSLUp: 1.9, LTEUp: 9.5, Overflow: 47.6, Bonded: 53.9, BondedUp: 11.1, ConnectDirect: 132.5, ConnectRelayed: 110.4,
		FirstDirect: 264.6, FirstRelayed: 133.3, Stall: 1234.5, SHA256OK: true, Seconds: 87.9}} {
		var b bytes.Buffer
		f.print(&b)
		for line := range strings.Lines(b.String()) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 79 {
				t.Errorf("%d columns: %s", n, line)
			}
		}
		if missing := strings.Count(b.String(), " -"); missing != 0 && f.Seconds > 0 || missing < 11 && f.Seconds == 0 {
			t.Errorf("%d figures are missing:\n%s", missing, &b)
		}
	}
}
