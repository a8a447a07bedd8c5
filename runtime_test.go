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
	threads, err := filepath.Glob("/proc/self/task/*")
	if err != nil || len(threads) < 2 {
		t.Fatalf("threads %v, %v", threads, err)
	}
	easeTimers()
	late := 0
	for _, thread := range threads {
		slack, err := os.ReadFile("/proc/" + filepath.Base(thread) + "/timerslack_ns")
		if os.IsNotExist(err) {
			t.Skip("this kernel does not tell a thread's timer slack: ", err)
		}
		if strings.TrimSpace(string(slack)) == fmt.Sprint(timerSlack.Nanoseconds()) {
			late++
		}
	}
	if late > 1 || late == 0 && os.Geteuid() == 0 {
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
