// SPDX-License-Identifier: Apache-2.0

package config

import "reflect"

// knownKeys lists the keys of each table by the table's name ("" is the top), read off the raw structures.
func knownKeys() map[string][]string {
	known := map[string][]string{}
	collect(reflect.TypeFor[rawFile](), "", known)
	return known
}

func collect(t reflect.Type, table string, known map[string][]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("toml")
		known[table] = append(known[table], name)
		inner := f.Type
		if inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		if inner.Kind() != reflect.Struct {
			continue
		}
		if table != "" {
			name = table + "." + name
		}
		collect(inner, name, known)
	}
}

// nearest is the known key that a mistyped one most likely means: at most two edits away; "" if none.
func nearest(key string, known []string) string {
	best, at := "", 3
	for _, k := range known {
		if d := distance(key, k); d < at {
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
