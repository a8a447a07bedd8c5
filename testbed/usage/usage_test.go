// SPDX-License-Identifier: Apache-2.0

package usage

import (
	"flag"
	"strings"
	"testing"
)

func TestHelpIsNoErrorAndAWrongOptionIs(t *testing.T) {
	for _, c := range []struct {
		args        []string
		code        int
		done        bool
		stdout, err string
	}{
		{[]string{"-help"}, 0, true, "usage: tool [-n N]\n\nIt tests.\n\n  -n int\n", ""},
		{[]string{"-m"}, 2, true, "", "tool: flag provided but not defined: -m; tool -help tells how it is called\n"},
		{[]string{"-n", "x"}, 2, true, "", "; tool -help tells how it is called\n"},
		{[]string{"-n", "3", "more"}, 0, false, "", ""},
	} {
		flags := flag.NewFlagSet("tool", flag.ExitOnError)
		n := flags.Int("n", 1, "a number")
		var stdout, stderr strings.Builder
		code, done := parse(flags, c.args, "tool [-n N]\n\nIt tests.\n", &stdout, &stderr)
		if code != c.code || done != c.done || !strings.HasPrefix(stdout.String(), c.stdout) || !strings.HasSuffix(stderr.String(), c.err) {
			t.Errorf("%q: %d, %v\n%s\n%s", c.args, code, done, &stdout, &stderr)
		}
		if done == false && (*n != 3 || flags.Arg(0) != "more") {
			t.Errorf("%q: n is %d, then %q", c.args, *n, flags.Args())
		}
	}
}

func TestKnown(t *testing.T) {
	if err := Known("cell", []string{"a", "c"}, []string{"a", "b"}); err == nil || err.Error() != `cell "c": there is none; known are a, b` {
		t.Error(err)
	}
	if err := Known("cell", nil, []string{"a"}); err != nil {
		t.Error(err)
	}
}
