// SPDX-License-Identifier: Apache-2.0

package toml

// nearest is the known name that a mistyped one most likely means: at most two edits away; "" if none.
func nearest(name string, known map[string]int) string {
	best, at := "", 3
	for k := range known {
		if d := distance(name, k); d < at || d == at && k < best {
			best, at = k, d
		}
	}
	return best
}

// distance is the Levenshtein distance.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
