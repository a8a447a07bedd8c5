// SPDX-License-Identifier: Apache-2.0

package bench

import "strings"

// columns is how long a line of a page's prose may be.
const columns = 138

// wrap breaks the lines of prose and lists that are longer than that between words. A list's lines go on two columns in. Tables can't be
// broken and stay as they are, as does a word that is longer than a line.
func wrap(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if len(line) <= columns || strings.HasPrefix(line, "|") {
			b.WriteString(line)
			continue
		}
		indent := ""
		if strings.HasPrefix(line, "- ") {
			indent = "  "
		}
		n := 0
		for i, word := range strings.Fields(line) {
			switch {
			case i == 0:
			case n+1+len(word) > columns:
				b.WriteString("\n" + indent)
				n = len(indent)
			default:
				b.WriteByte(' ')
				n++
			}
			b.WriteString(word)
			n += len(word)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
