// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"time"
)

const (
	// timerSlack is how late the timers of the Go runtime's monitor may fire. While anything runs it looks every 20 us, which makes most of
	// the wake-ups of an idle daemon.
	timerSlack = time.Millisecond
	// threadsAhead is how many threads the daemon comes to have beside its first, the monitor, and the one that begins threads.
	threadsAhead = 5
)

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

// easeTimers lets the kernel fire the timers of the runtime's monitor up to timerSlack late, together with others. Those of all other
// threads stay punctual: a thread that looks for work sleeps for 3 us with one of the runtime's processors in its hands (runqgrab), and where
// that took a millisecond the relay's loop, back with a packet, had to wait for it. A thread inherits what the one has that began it, and
// the monitor begins some; hence beginThreads. A kernel that does not know it, or a user without the right (CAP_SYS_NICE), costs wake-ups and
// nothing else.
func easeTimers() {
	dir, err := os.Open("/proc/self/task")
	if err != nil {
		return
	}
	defer dir.Close()
	beginThreads(threadsAhead)
	threads, _ := dir.Readdirnames(2) // in the order in which they began, the monitor after the first (runtime.main)
	if len(threads) == 2 {
		os.WriteFile("/proc/"+threads[1]+"/timerslack_ns", strconv.AppendInt(nil, int64(timerSlack), 10), 0)
	}
}

// beginThreads has the runtime begin so many threads, which it keeps for what comes.
func beginThreads(n int) {
	var begun, ended sync.WaitGroup
	begun.Add(n)
	for range n {
		ended.Go(func() {
			runtime.LockOSThread() // so that each has its own while all wait for each other
			begun.Done()
			begun.Wait()
			runtime.UnlockOSThread()
		})
	}
	ended.Wait()
}
