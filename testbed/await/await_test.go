// SPDX-License-Identifier: Apache-2.0

package await

import (
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// silent takes a failure for the test that it stands for, and ends its goroutine, as testing does.
type silent struct {
	testing.TB
	said string
}

func (s *silent) Helper() {}

func (s *silent) Fatalf(format string, args ...any) {
	s.said = format + args[0].(string)
	runtime.Goexit()
}

func TestValueComesOrTheTestFails(t *testing.T) {
	c := make(chan int, 1)
	c <- 7
	if got := Value(t, "seven", c); got != 7 {
		t.Errorf("%d", got)
	}
	close(c)
	if got := Value(t, "the end", c); got != 0 {
		t.Errorf("%d of a closed channel", got)
	}
	var group sync.WaitGroup
	group.Go(func() {})
	All(t, "one", &group)

	synctest.Test(t, func(t *testing.T) { // minutes pass at once here
		s := &silent{TB: t}
		var ended sync.WaitGroup
		ended.Go(func() { Value(s, "never", make(chan int)) })
		ended.Wait()
		if !strings.Contains(s.said, "never") {
			t.Errorf("said %q", s.said)
		}
	})
}
