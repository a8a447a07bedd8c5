// SPDX-License-Identifier: Apache-2.0

// Package await bounds what a test waits for. A bare receive that never comes costs go test's ten minutes, and with it the output of
// every other test of the package.
package await

import (
	"sync"
	"testing"
	"time"
)

// patience is longer than anything takes on a busy machine, and shorter than go test waits.
const patience = 3 * time.Minute

// Value is what comes from c, or the zero value once c is closed. If neither happens in time the test fails, and says what it waited for.
// Only for the test's own goroutine.
func Value[T any](tb testing.TB, what string, c <-chan T) T {
	tb.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case v := <-c:
		return v
	case <-timer.C:
		tb.Fatalf("%s: nothing within %v", what, patience)
		panic("unreachable")
	}
}

// All waits until all that was started in the group has ended. Only for the test's own goroutine.
func All(tb testing.TB, what string, group *sync.WaitGroup) {
	tb.Helper()
	ended := make(chan struct{})
	go func() {
		group.Wait()
		close(ended)
	}()
	Value(tb, what, ended)
}
