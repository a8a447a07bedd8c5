// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"strings"
	"testing"
)

func TestWrapBreaksProseAndLeavesTables(t *testing.T) {
	row := "| " + strings.Repeat("cell ", 60) + "|\n"
	item := "- " + strings.Repeat("word ", 60) + "\n"
	got := wrap("short\n\n" + row + item)
	if !strings.HasPrefix(got, "short\n\n"+row+"- word word") {
		t.Errorf("what needs no break has changed:\n%s", got)
	}
	if strings.Count(got, "word") != 60 || strings.Count(got, "\n  word") != 2 {
		t.Errorf("want 60 words on three lines:\n%s", got)
	}
	for line := range strings.Lines(strings.TrimPrefix(got, "short\n\n"+row)) {
		if len(line) > columns+1 {
			t.Errorf("%d octets: %s", len(line), line)
		}
	}
	if again := wrap(got); again != got {
		t.Errorf("wrapped twice:\n%s", again)
	}
}
