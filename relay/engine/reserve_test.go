// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"io"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestALineFarAwayIsTold(t *testing.T) {
	for _, c := range []struct {
		far  bool
		rtts []uint32
	}{
		{false, nil}, {false, []uint32{300_000}}, {true, []uint32{30_000, 300_000}}, {true, []uint32{300_000, 30_000, 40_000}},
		{false, []uint32{30_000, 90_000}}, {false, []uint32{600_000, 700_000}}, {false, []uint32{1000, 60_000}}, {true, []uint32{1, 1<<31 - 1}},
	} {
		if unlike(c.rtts) != c.far {
			t.Errorf("%v us: far %v", c.rtts, !c.far)
		}
	}
}

// TestTheReserve: what a socket may hold grows by the reserve, and never shrinks to what may be asked for at most.
func TestTheReserve(t *testing.T) {
	fd, peer := pipe(t, false)
	defer unix.Close(fd)
	defer peer.Close()
	holds := func() int {
		n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := holds()
	if reserved(fd, before/2); holds() != before {
		t.Errorf("%d octets, where no more may be asked for than the kernel gave: %d", holds(), before)
	}
	// The machine may allow less, and then says so by what it gives.
	if reserved(fd, 1<<30); holds() > before+reserve || holds() == before {
		t.Errorf("%d octets became %d, want up to %d more", before, holds(), reserve)
	}
}

// TestLookingForLinesDoesNoHarm: a connection of one line, and one of plain TCP, are copied as ever.
func TestLookingForLinesDoesNoHarm(t *testing.T) {
	for _, multipath := range []bool{false, true} {
		e := start(t, 1)
		a, lan := pipe(t, multipath)
		b, up := pipe(t, false)
		c, err := e.Add(Pair{LAN: a, Up: b, Far: true, SendMost: 1 << 30})
		if err != nil {
			t.Fatal(err)
		}
		const all = 4 * lookEach
		go func() {
			up.Write(make([]byte, all))
			up.Close()
		}()
		lan.SetDeadline(time.Now().Add(60 * time.Second))
		if n, err := io.Copy(io.Discard, lan); err != nil || n != all {
			t.Errorf("%d octets of %d came: %v", n, all, err)
		}
		if _, down := c.Moved(); down != all {
			t.Errorf("%d octets were moved of %d", down, all)
		}
		lan.Close()
	}
}
