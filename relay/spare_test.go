// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestTight(t *testing.T) {
	for _, tt := range []struct {
		spare uint64
		begun int
		want  bool
	}{{0, 0, false}, {0, 1, true}, {1 << 20, 32, false}, {1<<20 - 1, 32, true}, {4 << 20, 128, false}, {4 << 20, 129, true}, {0, -1, false}} {
		if got := tight(tt.spare, tt.begun); got != tt.want {
			t.Errorf("%d octets for %d connections: tight is %v", tt.spare, tt.begun, got)
		}
	}
}

// The door closes before memory runs out, and opens again.
func TestDoorIsClosedWhileMemoryIsShort(t *testing.T) {
	r := newRelay(t, Config{Upstreams: upstreams(newFake(t, accepted)), Queue: 64})
	if err := r.OpenDoor(0, 0); err != nil {
		if errors.Is(err, unix.EPERM) {
			t.Skip("needs CAP_NET_ADMIN for transparent sockets")
		}
		t.Fatal(err)
	}
	r.weigh(1000) // nobody knows how much there is
	var spare atomic.Uint64
	spare.Store(100 * memoryOfYoung)
	r.Spare(spare.Load)
	r.weigh(100 - spareEvery)
	if r.Stats().Tight {
		t.Error("the door closes though there is memory for all")
	}
	r.weigh(101 - spareEvery)
	until(t, "the door to close", func() bool { st := r.Stats(); return !st.DoorOpen && st.Tight })
	spare.Store(63 * memoryOfYoung)
	r.weighAgain(time.Now())
	r.changed()
	if r.Stats().DoorOpen {
		t.Error("the door is open though there is no memory for those that may come at once")
	}
	r.weighAgain(time.Now().Add(-tightMost)) // in vain for so long
	if st := r.Stats(); !st.DoorOpen || st.Tight {
		t.Error("the door stays closed as there is never memory for all that may wait")
	}
	r.weigh(101 - spareEvery)
	until(t, "the door to close again", func() bool { return !r.Stats().DoorOpen })
	spare.Store(64 * memoryOfYoung)
	until(t, "the door to open again", func() bool { st := r.Stats(); return st.DoorOpen && !st.Tight })
}
