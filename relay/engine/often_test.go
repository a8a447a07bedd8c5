// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"io"
	"sync/atomic"
	"testing"
)

func TestOftenIsCalledUntilItSaysNo(t *testing.T) {
	for _, far := range []bool{false, true} {
		a, lan := pipe(t, far)
		b, up := pipe(t, false)
		var calls atomic.Int32
		c, err := start(t, 1).Add(Pair{LAN: a, Up: b, Far: far, Often: func(fd int) bool {
			if fd != a {
				t.Errorf("called for %d, not the LAN side's %d", fd, a)
			}
			return calls.Add(1) < 3
		}})
		if err != nil {
			t.Fatal(err)
		}
		const all = 8 * oftenIs
		go func() {
			up.Write(make([]byte, all))
			up.Close()
		}()
		if n, err := io.Copy(io.Discard, lan); err != nil || n != all {
			t.Errorf("%d octets of %d came: %v", n, all, err)
		}
		if _, down := c.Moved(); down != all || calls.Load() != 3 {
			t.Errorf("%d octets were moved of %d; called %d times, want 3", down, all, calls.Load())
		}
		lan.Close()
	}
}
