// SPDX-License-Identifier: Apache-2.0

package nettest

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// Brief passes on of what `go test -v -p 1` prints all of packages that failed; of the others their verdicts, and what was skipped there, and why.
// Flush passes on what is left.
type Brief struct {
	To    io.Writer
	rest  []byte
	lines []string // of the package under way
}

func (b *Brief) Write(p []byte) (int, error) {
	b.rest = append(b.rest, p...)
	for {
		line, rest, ok := bytes.Cut(b.rest, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		b.rest = rest
		if err := b.line(string(line)); err != nil {
			return 0, err
		}
	}
}

func (b *Brief) line(line string) error {
	switch verdict, _, _ := strings.Cut(line, "\t"); verdict {
	case "ok  ", "?   ":
		b.lines = append(Skipped(b.lines), line)
	case "FAIL":
		b.lines = append(b.lines, line)
	default:
		b.lines = append(b.lines, line)
		return nil
	}
	return b.pass()
}

// Flush passes on what is left when go test has ended.
func (b *Brief) Flush() error {
	if len(b.rest) > 0 {
		b.lines = append(b.lines, string(b.rest))
		b.rest = nil
	}
	return b.pass()
}

func (b *Brief) pass() error {
	if len(b.lines) == 0 {
		return nil
	}
	text := strings.Join(b.lines, "\n")
	b.lines = nil
	_, err := fmt.Fprintln(b.To, text)
	return err
}

// Skipped reads what `go test -v` printed of a package: a line for each test that was skipped, with the last that it had said.
func Skipped(lines []string) (out []string) {
	said, current := map[string]string{}, ""
	for _, line := range lines {
		f := strings.Fields(line)
		switch {
		case len(f) == 3 && f[0] == "===": // RUN, CONT, NAME
			current = f[2]
		case len(f) > 2 && f[0] == "---":
			if f[1] == "SKIP:" {
				out = append(out, fmt.Sprintf("    skipped: %s: %s", f[2], said[f[2]]))
			}
		case strings.HasPrefix(line, "    ") && len(f) > 1 && strings.Contains(f[0], "_test.go:"):
			_, said[current], _ = strings.Cut(line, ": ")
		}
	}
	return out
}
