// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
)

// How much memory there is for us, and how much of it is left: the machine's, or a control group's, if that allows less.

// mostReserve is the most that spareOf leaves to what connections have under way, octets.
const mostReserve = 16 << 20

// memory is how many octets there are; 64 MiB if it can't be told.
func memory() uint64 {
	total, _ := memoryNow()
	return total
}

// spareMemory is how many octets further connections may take.
func spareMemory() uint64 { return spareOf(memoryNow()) }

// spareOf leaves a sixteenth of all to what connections will have under way.
func spareOf(total, left uint64) uint64 { return left - min(left, total/16, mostReserve) }

func memoryNow() (total, left uint64) {
	text, _ := os.ReadFile("/proc/meminfo")
	total, left = memoryIn(string(text))
	for _, g := range ourGroups() {
		most, free, ok := g.look()
		if ok {
			total, left = min(total, most), min(left, free)
		}
	}
	return total, left
}

// memoryIn reads /proc/meminfo. What can't be told is 64 MiB, and no end of it left.
func memoryIn(text string) (total, left uint64) {
	return field(text, "MemTotal:", 64<<10) << 10, field(text, "MemAvailable:", math.MaxUint64>>10) << 10
}

// field is the number after a word at the begin of a line.
func field(text, name string, otherwise uint64) uint64 {
	for line := range strings.SplitSeq(text, "\n") {
		f := strings.Fields(line)
		if len(f) >= 2 && f[0] == name {
			if n, err := strconv.ParseUint(f[1], 10, 54); err == nil {
				return n
			}
		}
	}
	return otherwise
}

// memoryGroup is a control group, by the files in which the kernel tells of its memory (Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst).
type memoryGroup struct {
	most, used, stat string
	cache            string // the line of stat that tells what the kernel drops before it kills
}

// ourGroups are the group that the process was begun in and those around it, as far as they bound anything.
var ourGroups = sync.OnceValue(func() []memoryGroup {
	text, _ := os.ReadFile("/proc/self/cgroup")
	return groupsIn(string(text), "/sys/fs/cgroup")
})

// groupsIn reads /proc/self/cgroup, a line for each hierarchy: its number, its controllers, the group's path. That of the second kind has no controllers.
func groupsIn(text, root string) (groups []memoryGroup) {
	for line := range strings.SplitSeq(text, "\n") {
		f := strings.SplitN(line, ":", 3)
		if len(f) < 3 {
			continue
		}
		dir, names := "", [...]string{"/memory.max", "/memory.current", "inactive_file"}
		switch {
		case f[1] == "memory" || strings.Contains(","+f[1]+",", ",memory,"):
			dir, names = "/memory", [...]string{"/memory.limit_in_bytes", "/memory.usage_in_bytes", "total_inactive_file"}
		case f[1] != "":
			continue
		}
		for p := path.Clean("/" + f[2]); ; p = path.Dir(p) {
			at := path.Join(root, dir, p)
			g := memoryGroup{at + names[0], at + names[1], at + "/memory.stat", names[2]}
			if _, _, ok := g.look(); ok {
				groups = append(groups, g)
			}
			if p == "/" {
				break
			}
		}
	}
	return groups
}

// look tells what the group may have and what is left of it; not ok when it bounds nothing.
func (g memoryGroup) look() (most, left uint64, ok bool) {
	most, ok = numberIn(g.most)
	used, known := numberIn(g.used)
	if !ok || !known {
		return 0, 0, false
	}
	stat, _ := os.ReadFile(g.stat)
	used -= min(used, field(string(stat), g.cache, 0))
	return most, most - min(most, used), true
}

// numberIn reads a file with one number; "max" is none.
func numberIn(name string) (uint64, bool) {
	text, err := os.ReadFile(name)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 62)
	return n, err == nil
}
