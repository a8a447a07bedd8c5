// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"io"
	"testing"
	"time"
)

// TestNoMoreUnderWayThanHasArrived plays a far end that takes what is under way by and by, or not at all.
func TestNoMoreUnderWayThanHasArrived(t *testing.T) {
	for _, each := range []uint64{0, 1448, 10_000, 64 << 10} {
		var w withheld
		moved, arrived, stood := uint64(0), uint64(0), 0
		for range 1000 {
			n := w.room(moved, moved-arrived, scratchSize)
			if moved += uint64(n); moved-arrived > arrived+beginWith {
				t.Fatalf("%d octets under way after %d have arrived", moved-arrived, arrived)
			}
			if n == 0 {
				stood++
			}
			arrived = min(moved, arrived+each)
		}
		if each == 0 && (moved == 0 || moved > beginWith || stood < 900) {
			t.Errorf("%d octets were sent to a far end that takes none", moved)
		}
		if each > 0 && arrived < 1000*each/2 {
			t.Errorf("%d octets arrived of a far end's %d", arrived, 1000*each)
		}
	}
}

// TestWithheldArrives: what is withheld goes on although no event tells that there is room, past the point where all may go, and to an end that
// reads nothing for a while.
func TestWithheldArrives(t *testing.T) {
	e := start(t, 1)
	a, lan := pipe(t, true)
	b, up := pipe(t, false)
	c, err := e.Add(Pair{LAN: a, Up: b, Far: true, Withhold: true})
	if err != nil {
		t.Fatal(err)
	}
	const all = doubtful + doubtful/4
	go func() {
		up.Write(make([]byte, all))
		up.Close()
	}()
	up.SetDeadline(time.Now().Add(60 * time.Second))
	lan.SetDeadline(time.Now().Add(60 * time.Second))
	if _, err := io.ReadFull(lan, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	if n, err := io.Copy(io.Discard, lan); err != nil || n != all-1000 {
		t.Errorf("%d octets of %d came: %v", n+1000, all, err)
	}
	if _, down := c.Moved(); down != all {
		t.Errorf("%d octets were moved of %d", down, all)
	}
}

// One that waits to be looked at may pass the limit by another event meanwhile; the loop finds it all the same.
func TestWithheldUntilItIsLookedAt(t *testing.T) {
	c := &Conn{withheld: &withheld{listed: true, due: 7}}
	c.dir[1].moved.Store(doubtful)
	l := &loop{withheld: []*Conn{c}}
	if n := l.allowed(c, 100); n != 100 {
		t.Errorf("%d of 100 octets allowed", n)
	}
	if at := l.nextHeld(); at != 7 {
		t.Errorf("looked at %d, want 7", at)
	}
	if l.tryHeld(); len(l.withheld) != 1 {
		t.Error("it is looked at before its time")
	}
}
