// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The monitor's timers may be late, and nobody else's.
func TestOnlyTheMonitorMayBeLate(t *testing.T) {
	easeTimers()
	threads, err := filepath.Glob("/proc/self/task/*")
	if err != nil || len(threads) < 2 {
		t.Fatalf("threads %v, %v", threads, err)
	}
	late, allowed := 0, false
	for _, thread := range threads {
		file := "/proc/" + filepath.Base(thread) + "/timerslack_ns"
		slack, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended, or the kernel does not tell
		}
		if strings.TrimSpace(string(slack)) == fmt.Sprint(timerSlack.Nanoseconds()) {
			late++
		}
		allowed = allowed || filepath.Base(thread) != fmt.Sprint(os.Getpid()) && os.WriteFile(file, slack, 0) == nil
	}
	if late > 1 || late == 0 && allowed {
		t.Errorf("%d threads may be late, want one", late)
	}
}

func TestThreadsAreBegunAhead(t *testing.T) {
	beginThreads(threadsAhead)
	threads, err := filepath.Glob("/proc/self/task/*")
	if err != nil || len(threads) < threadsAhead+2 {
		t.Errorf("%d threads, %v; want %d at least", len(threads), err, threadsAhead+2)
	}
}
