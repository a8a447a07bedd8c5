// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTimersMayBeLate(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own := fmt.Sprintf("/proc/%d/timerslack_ns", unix.Gettid())
	if _, err := os.ReadFile(own); err != nil {
		t.Skip("this kernel does not tell a thread's timer slack: ", err)
	}
	easeTimers()
	got, err := os.ReadFile(own)
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprint(timerSlack.Nanoseconds()); strings.TrimSpace(string(got)) != want {
		t.Errorf("timer slack of the thread is %s ns, want %s", got, want)
	}
}
