// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"
)

// timerSlack is how late our timers may fire. Nothing of ours is that punctual; the Go runtime's monitor is: while anything
// runs it looks every 20 us, which makes most of the wake-ups of an idle daemon.
const timerSlack = time.Millisecond

// gcPercent is how much garbage may come to what lives. Copying makes none, connections that begin make little, and RAM is what a
// router lacks: with Go's own 100 an idle connection costs twice as much. Less than 50 makes the dumps of subflows dear.
const gcPercent = 50

// memoryShare is the part of the machine's memory above which garbage is collected at once, whatever gcPercent says: processor time is
// spent (half of it at most) before memory is that others need.
const memoryShare = 3

// tuneRuntime fits Go's runtime to a router. The environment (GOGC, GOMEMLIMIT, GOMAXPROCS) goes first.
func tuneRuntime() {
	easeTimers()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(memory() / memoryShare))
	}
	if os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) == 1 {
		runtime.GOMAXPROCS(2) // the relay's loop keeps one while it is busy (relay/engine)
	}
}

// easeTimers lets the kernel fire the timers of all threads up to timerSlack late, together with others. Threads to come
// inherit it. A kernel that does not know it, or a user without the right (CAP_SYS_NICE, but for the thread itself),
// costs wake-ups and nothing else.
func easeTimers() {
	dir, err := os.Open("/proc/self/task")
	if err != nil {
		return
	}
	defer dir.Close()
	threads, _ := dir.Readdirnames(-1) // unlike os.ReadDir it brings no sort
	for _, t := range threads {
		os.WriteFile("/proc/"+t+"/timerslack_ns", strconv.AppendInt(nil, int64(timerSlack), 10), 0)
	}
}
