// SPDX-License-Identifier: Apache-2.0

package config

import (
	"strconv"
	"strings"
)

// locate finds the line (from 1) of every key in a TOML text, by names like "policy.hold_up", "link[1].quota" (arrays of
// tables count from 0) and of every table header by its own name. It reads line by line and knows no more of TOML than that: for
// the files people write it is exact, and a key that it can't see falls back to its table's line, then to 0.
func locate(text string) map[string]int {
	lines := map[string]int{}
	count := map[string]int{}
	table := ""
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "[["):
			name := strings.Trim(strings.SplitN(line, "]", 2)[0], "[] \t\"")
			table = name + "[" + strconv.Itoa(count[name]) + "]"
			count[name]++
			lines[table] = i + 1
		case strings.HasPrefix(line, "["):
			table = strings.Trim(strings.SplitN(line, "]", 2)[0], "[ \t\"")
			lines[table] = i + 1
		default:
			key, _, ok := strings.Cut(line, "=")
			key = strings.Trim(strings.TrimSpace(key), "\"'")
			if !ok || key == "" || strings.HasPrefix(key, "#") {
				continue
			}
			if table != "" {
				key = table + "." + key
			}
			if _, seen := lines[key]; !seen {
				lines[key] = i + 1
			}
		}
	}
	return lines
}

// lineOf is the line of a key, or of the table it would stand in.
func lineOf(lines map[string]int, key string) int {
	for key != "" {
		if n, ok := lines[key]; ok {
			return n
		}
		i := strings.LastIndexByte(key, '.')
		if i < 0 {
			return 0
		}
		key = key[:i]
	}
	return 0
}
