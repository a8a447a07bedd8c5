// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"os"
	"path/filepath"
	"testing"
)

func TestMemoryIn(t *testing.T) {
	const unknown = math.MaxUint64 >> 10 << 10
	for text, want := range map[string][2]uint64{
		"MemTotal:          59884 kB\nMemFree:            1000 kB\nMemAvailable:      12000 kB\n": {59884 << 10, 12000 << 10},
		"MemTotal: 59884 kB\n": {59884 << 10, unknown}, "": {64 << 20, unknown}, "MemTotal: x kB\nMemAvailable:\n": {64 << 20, unknown},
	} {
		if total, left := memoryIn(text); total != want[0] || left != want[1] {
			t.Errorf("%q: %d octets, %d left, want %d", text, total, left, want)
		}
	}
}

// What bounds the process is its group or one around it, of either kind.
func TestMemoryOfControlGroups(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("a/memory.max", "1000\n")
	write("a/memory.current", "900\n")
	write("a/memory.stat", "anon 500\ninactive_file 50\n")
	write("a/b/memory.max", "max\n")
	write("a/b/memory.current", "800\n")
	write("memory/memory.limit_in_bytes", "9223372036854771712\n")
	write("memory/memory.usage_in_bytes", "5000\n")
	write("memory/c/memory.limit_in_bytes", "2000\n")
	write("memory/c/memory.usage_in_bytes", "2100\n")
	write("memory/c/memory.stat", "total_inactive_file 7\n")
	for text, want := range map[string][2]uint64{
		"0::/a/b\n": {1000, 150}, "12:cpu,cpuacct:/a\n4:memory:/c\n0::/\n": {2000, 0}, "3:hugetlb,memory:/c/d": {2000, 0},
		"0::/\n": {}, "4:memory:/\n": {}, "": {}, "0::/../../a": {1000, 150},
	} {
		groups := groupsIn(text, root)
		if want == [2]uint64{} {
			if len(groups) > 0 {
				t.Errorf("%q: %+v", text, groups)
			}
			continue
		}
		if len(groups) != 1 {
			t.Errorf("%q: %+v", text, groups)
			continue
		}
		if most, left, _ := groups[0].look(); most != want[0] || left != want[1] {
			t.Errorf("%q: %d octets, %d left, want %d", text, most, left, want)
		}
	}
}

// A sixteenth stays, 16 MiB at most.
func TestSpareMemory(t *testing.T) {
	for _, tt := range [][3]uint64{{64 << 20, 20 << 20, 16 << 20}, {64 << 20, 3 << 20, 0}, {8 << 30, 100 << 20, 84 << 20}} {
		if got := spareOf(tt[0], tt[1]); got != tt[2] {
			t.Errorf("%d left of %d: %d may be taken, want %d", tt[1], tt[0], got, tt[2])
		}
	}
}
