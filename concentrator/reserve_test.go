// SPDX-License-Identifier: Apache-2.0

package concentrator

import (
	"context"
	"net"
	"testing"

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
	fd := connected(t, false)
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

// TestPlainConnectionsAreLookedAtOnce: who has no further subflow yet may get one, and who speaks plain TCP gets none.
func TestPlainConnectionsAreLookedAtOnce(t *testing.T) {
	look := reserves(1 << 30)
	if fd := connected(t, false); look(fd) {
		t.Error("a plain connection is looked at again")
	}
	if fd := connected(t, true); !look(fd) {
		t.Error("a connection of one subflow is not looked at again")
	}
	if reserves(0) != nil {
		t.Error("looks where nothing may be asked for")
	}
}

// connected is one end of a connection; MPTCP where asked for.
func connected(t *testing.T, multipath bool) int {
	t.Helper()
	var listen net.ListenConfig
	listen.SetMultipathTCP(multipath)
	l, err := listen.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var d net.Dialer
	d.SetMultipathTCP(multipath)
	c, err := d.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if on, err := c.(*net.TCPConn).MultipathTCP(); err != nil || on != multipath {
		t.Skipf("MPTCP is %v, %v: not on this machine", on, err)
	}
	f, err := c.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return int(f.Fd())
}
