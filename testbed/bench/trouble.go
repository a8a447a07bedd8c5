// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"slices"
	"strings"
)

// trouble says what went wrong with somebody: a line for each sort of trouble, with how often and in which works it was seen. Troubles that
// differ in numbers alone (how many connections, which port) are one sort, of which the first is shown.
func (e *Entry) trouble() []string {
	type sort struct {
		kind, text string
		works      []string
		times      int
	}
	var sorts []*sort
	for _, t := range e.Trouble {
		work, text, ok := strings.Cut(t, ": ")
		if !ok {
			work, text = "", t
		}
		text = strings.TrimPrefix(text, e.Name+": ")
		kind := strings.Map(func(r rune) rune {
			if r >= '0' && r <= '9' {
				return -1
			}
			return r
		}, text)
		i := slices.IndexFunc(sorts, func(s *sort) bool { return s.kind == kind })
		if i < 0 {
			i, sorts = len(sorts), append(sorts, &sort{kind: kind, text: text})
		}
		s := sorts[i]
		s.times++
		if work != "" && !slices.Contains(s.works, work) {
			s.works = append(s.works, work)
		}
	}
	var lines []string
	for _, s := range sorts {
		line := "- Trouble: " + e.Name
		if len(s.works) > 0 {
			line += ", in " + strings.Join(s.works, "; ")
		}
		if s.times > 1 {
			line += fmt.Sprintf(" (%d times, the first)", s.times)
		}
		lines = append(lines, line+": "+s.text+".")
	}
	return lines
}
