// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

func TestALineFarAwayIsTold(t *testing.T) {
	for _, c := range []struct {
		far             bool
		shortest, other uint32
	}{
		{false, 300_000, 300_000}, {true, 30_000, 300_000}, {false, 30_000, 90_000}, {false, 600_000, 700_000}, {false, 1000, 60_000}, {true, 1, 1<<31 - 1}, {false, 1<<31 - 1, 0},
	} {
		if unlike(c.shortest, c.other) != c.far {
			t.Errorf("%d and %d us: far %v", c.shortest, c.other, !c.far)
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
	exceeds := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, holds()/2) == nil
	for _, most := range []int{0, holds() / 2, 1 << 30} {
		before := holds()
		reserved(fd, most)
		grew := holds() - before
		switch may := most == 1<<30 || exceeds; {
		case !may && grew != 0:
			t.Errorf("%d octets may be asked for, and %d became %d", most, before, holds())
		case may && (grew <= 0 || grew > reserve): // the machine may allow less, and then says so by what it gives
			t.Errorf("%d octets became %d, want up to %d more", before, holds(), reserve)
		}
	}
}

// TestRoom: the buffer grows, or stays as it is where the kernel does not make it follow the mark; and who waits is woken as before.
func TestRoom(t *testing.T) {
	for _, multipath := range []bool{false, true} {
		fd := connected(t, multipath)
		get := func(option int) int {
			n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, option)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		before := get(unix.SO_RCVBUF)
		for _, mark := range []int32{0, leastMark} {
			makeRoom(int32(fd), mark)
			if got, want := get(unix.SO_RCVLOWAT), max(int(mark), 1); got != want {
				t.Errorf("MPTCP %v: wakes at %d octets, want %d", multipath, got, want)
			}
		}
		after := get(unix.SO_RCVBUF)
		if after < before {
			t.Errorf("MPTCP %v: a receive buffer of %d octets became one of %d", multipath, before, after)
		}
		t.Logf("MPTCP %v: %d octets became %d", multipath, before, after)
	}
}

// TestPlainConnectionsAreLookedAtOnce: who has no further subflow yet may get one, and who speaks plain TCP gets none.
func TestPlainConnectionsAreLookedAtOnce(t *testing.T) {
	look := func(fd int) bool {
		c := Conn{fd: [2]int32{-1, int32(fd)}}
		return c.unlikeLines(false)
	}
	if fd := connected(t, false); !look(fd) {
		t.Error("a plain connection is looked at again")
	}
	fd := connected(t, true)
	if look(fd) {
		t.Error("a connection of one subflow is not looked at again")
	}
	if near, far := roundTrips(fd); near == 0 || near != far || far > 1e6 {
		t.Errorf("the one subflow of a loopback has round trips of %d to %d us", near, far)
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
