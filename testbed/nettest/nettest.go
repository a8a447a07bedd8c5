// SPDX-License-Identifier: Apache-2.0

// Package nettest runs the tests that need the real kernel, and once more those that failed on a kernel that is short of MPTCP tokens.
//
// All network namespaces of a machine share one table of tokens (net/mptcp/token.c, four for each MiB of memory). Linux loses a socket, and its token
// with it, when an endpoint is deleted at the wrong moment (relay/engine/parting.go), until the machine restarts. On a machine where tests
// have run for long some connections are plain TCP therefore, and a test that is about MPTCP fails, not for what it tests. A kernel that has tokens
// gets no second try.
package nettest

import (
	"context"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Failures reads what `go test` printed: the failed tests by package, of one with subtests those. whole names packages that failed without a
// failed test: they did not build, panicked or took too long.
func Failures(output string) (tests map[string][]string, whole []string) {
	tests = map[string][]string{}
	var failed []string
	panicked := false
	for line := range strings.Lines(output) {
		line = strings.TrimRight(line, "\n")
		if rest, ok := strings.CutPrefix(strings.TrimLeft(line, " "), "--- FAIL: "); ok {
			name, _, _ := strings.Cut(rest, " ")
			failed = append(failed, name)
			continue
		}
		panicked = panicked || strings.HasPrefix(line, "panic: ")
		verdict, rest, _ := strings.Cut(line, "\t")
		if rest == "" || verdict != "FAIL" && verdict != "ok  " {
			continue
		}
		name, _, _ := strings.Cut(rest, "\t")
		name, _, _ = strings.Cut(name, " ")
		if verdict == "FAIL" && len(failed) > 0 && !panicked {
			tests[name] = leaves(failed)
		} else if verdict == "FAIL" {
			whole = append(whole, name)
		}
		failed, panicked = nil, false
	}
	return tests, whole
}

// leaves are the tests that have no failed subtest.
func leaves(failed []string) (out []string) {
	for _, name := range failed {
		if !slices.ContainsFunc(failed, func(other string) bool { return strings.HasPrefix(other, name+"/") }) {
			out = append(out, name)
		}
	}
	return out
}

// Pattern is what `go test -run` takes for one test alone.
func Pattern(name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = "^" + regexp.QuoteMeta(p) + "$"
	}
	return strings.Join(parts, "/")
}

// Tokenless makes n MPTCP connections over loopback, one after the other and all open at once, and counts those that are plain TCP. ok is false
// where none is MPTCP: then tokens are not what is missing.
func Tokenless(n int) (missing int, ok bool, err error) {
	lc := net.ListenConfig{KeepAlive: -1}
	lc.SetMultipathTCP(true)
	l, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, false, err
	}
	defer l.Close()
	d := net.Dialer{KeepAlive: -1, Timeout: 10 * time.Second}
	d.SetMultipathTCP(true)
	for range n {
		c, err := d.Dial("tcp", l.Addr().String())
		if err != nil {
			return 0, false, err
		}
		defer c.Close()
		a, err := l.Accept()
		if err != nil {
			return 0, false, err
		}
		defer a.Close()
		if is, err := c.(*net.TCPConn).MultipathTCP(); err != nil || !is {
			missing++
		}
	}
	return missing, missing < n, nil
}
