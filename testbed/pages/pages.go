// SPDX-License-Identifier: Apache-2.0

// Package pages reads this repository's documents, and other files of it, for tests that hold the two together.
package pages

import (
	"os"
	"path/filepath"
	"testing"
)

// root is the repository's, from whichever of its folders the test runs in.
func root(tb testing.TB) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
	}
	tb.Fatal("the test does not run in the repository")
	return ""
}

// All are the documents, named as from the root.
func All(tb testing.TB) []string {
	tb.Helper()
	all, err := filepath.Glob(filepath.Join(root(tb), "docs/*.md"))
	if err != nil || len(all) < 8 {
		tb.Fatal(all, err)
	}
	for i := range all {
		all[i] = "docs/" + filepath.Base(all[i])
	}
	return append(all, "README.md", "testbed/README.md")
}

// Read is the text of a file, named as from the root.
func Read(tb testing.TB, name string) string {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join(root(tb), name))
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}
