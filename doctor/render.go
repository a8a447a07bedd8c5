// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"fmt"
	"strings"
)

// marks are what a person sees at the left, as wide as each other.
var marks = [...]string{OK: " ok ", Warn: "WARN", Fail: "FAIL", Skip: " -- ", Blocked: " .. "}

// colours are ANSI SGR codes: green, yellow, red, grey.
var colours = [...]string{OK: "32", Warn: "33", Fail: "1;31", Skip: "90", Blocked: "90"}

// Text renders the report for a terminal, grouped as the tree is; ansi adds colours. Below what is not well stands what
// to do and what to type.
func (r Report) Text(ansi bool) string {
	var b strings.Builder
	last := ""
	for i, f := range r.Findings {
		group, check := split(f.Name)
		if group != last || i == 0 {
			last = group
			fmt.Fprintf(&b, "%s\n", group)
		}
		if f.Status == Blocked && i > 0 && r.sameAsBefore(i) {
			continue // its predecessor's line names it
		}
		if f.Status == Blocked {
			check = r.blocked(i)
		}
		fmt.Fprintf(&b, "  %s  %s: %s\n", mark(f.Status, ansi), check, oneLine(f.What))
		if f.Status == Warn || f.Status == Fail {
			if f.Remedy != "" {
				fmt.Fprintf(&b, "        %s\n", oneLine(f.Remedy))
			}
			if f.Command != "" {
				fmt.Fprintf(&b, "        $ %s\n", oneLine(f.Command))
			}
		}
	}
	b.WriteString(r.summary())
	return b.String()
}

// sameAsBefore tells whether finding i is blocked by the same failure, in the same group, as the one before it.
func (r Report) sameAsBefore(i int) bool {
	a, b := r.Findings[i-1], r.Findings[i]
	groupA, _ := split(a.Name)
	groupB, _ := split(b.Name)
	return a.Status == Blocked && b.Status == Blocked && a.What == b.What && groupA == groupB
}

// blocked names finding i and the ones after it that the same failure blocks: one line for a link that is not there.
func (r Report) blocked(i int) string {
	_, name := split(r.Findings[i].Name)
	names := []string{name}
	for i++; i < len(r.Findings) && r.sameAsBefore(i); i++ {
		_, name := split(r.Findings[i].Name)
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

func mark(s Status, ansi bool) string {
	if int(s) >= len(marks) {
		return " ?? "
	}
	if !ansi {
		return marks[s]
	}
	return "\x1b[" + colours[s] + "m" + marks[s] + "\x1b[0m"
}

// oneLine keeps a message that came from elsewhere from breaking the layout or steering the terminal.
func oneLine(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return ' '
		}
		return c
	}, strings.TrimSpace(s))
}

func (r Report) summary() string {
	s := fmt.Sprintf("%d checks: %d ok, %d warnings, %d failed", len(r.Findings), r.Count(OK), r.Count(Warn), r.Count(Fail))
	if n := r.Count(Skip) + r.Count(Blocked); n > 0 {
		s += fmt.Sprintf(", %d not checked", n)
	}
	return s + "\n"
}
