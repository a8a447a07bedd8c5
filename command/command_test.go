// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"
)

func TestRun(t *testing.T) {
	long := strings.Repeat("0123456789", 100_000) // more than a pipe holds
	tests := []struct {
		name, stdin string
		args        []string
		want, err   string
	}{
		{"input comes out", long, []string{"cat"}, long, ""},
		{"both outputs", "", []string{"sh", "-c", "echo a; echo b >&2"}, "a\nb\n", ""},
		{"exit code", "", []string{"sh", "-c", "echo why >&2; exit 3"}, "why\n", "sh: exit status 3"},
		{"input that nobody reads", long, []string{"true"}, "", ""},
		{"locale", "", []string{"sh", "-c", "echo $LC_ALL"}, "C\n", ""},
	}
	for _, tt := range tests {
		got, err := Run(t.Context(), tt.stdin, tt.args[0], tt.args[1:]...)
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
			t.Errorf("%s: %.40q (%d octets), %v; want %.40q, %q", tt.name, got, len(got), err, tt.want, tt.err)
		}
	}
}

func TestRunOfWhatIsNotThere(t *testing.T) {
	if _, err := Run(t.Context(), "", "no-such-program"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if _, err := Run(t.Context(), "", "/no/such/program"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

// A program whose child holds its output does not hold us.
func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	got, err := Run(ctx, "", "sh", "-c", "echo before; sleep 20 & wait")
	if !errors.Is(err, context.DeadlineExceeded) || got != "before\n" || time.Since(began) > 10*time.Second {
		t.Errorf("%q, %v after %v", got, err, time.Since(began))
	}
}
