// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"spillway/relay/engine"
)

// TestAskAllAsksOnce: on a connection on which nothing was heard for a second the far end gets a packet, and the kernel asks no more after that.
func TestAskAllAsksOnce(t *testing.T) {
	e, err := engine.New(1)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	up, server := onLoopback(t)
	lan, _ := onLoopback(t)
	c, err := e.Add(engine.Pair{LAN: ownFD(t, lan), Up: ownFD(t, up), Done: func(*engine.Conn, engine.End) {}})
	if err != nil {
		t.Fatal(err)
	}
	f := &flow{up: &upstream{}, link: &PlanLink{}}
	f.conn.Store(c)
	r := &Relay{}
	r.flows.add(f)
	before := segmentsIn(t, server)
	for end := time.Now().Add(20 * time.Second); segmentsIn(t, server) == before; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing was asked within 20 s")
		}
		r.AskAll()
	}
	c.Control(func(_, up int) {
		if on, err := unix.GetsockoptInt(up, unix.SOL_SOCKET, unix.SO_KEEPALIVE); on != 0 || err != nil {
			t.Errorf("the kernel goes on asking: %d, %v", on, err)
		}
	})
}

// onLoopback is a connection's two ends.
func onLoopback(t *testing.T) (client, server *net.TCPConn) {
	t.Helper()
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.SetDeadline(time.Now().Add(10 * time.Second))
	if client, err = net.DialTCP("tcp4", nil, l.Addr().(*net.TCPAddr)); err != nil {
		t.Fatal(err)
	}
	if server, err = l.AcceptTCP(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// ownFD is a descriptor of a connection for the engine to keep.
func ownFD(t *testing.T, c *net.TCPConn) (fd int) {
	t.Helper()
	control(t, c, func(of int) (err error) {
		fd, err = unix.FcntlInt(uintptr(of), unix.F_DUPFD_CLOEXEC, 0)
		return err
	})
	return fd
}

// segmentsIn is how many segments a connection has got (tcp_info).
func segmentsIn(t *testing.T, c *net.TCPConn) (n uint32) {
	t.Helper()
	control(t, c, func(fd int) error {
		info, err := unix.GetsockoptTCPInfo(fd, unix.SOL_TCP, unix.TCP_INFO)
		if err == nil {
			n = info.Segs_in
		}
		return err
	})
	return n
}

func control(t *testing.T, c *net.TCPConn, fn func(fd int) error) {
	t.Helper()
	rc, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if cerr := rc.Control(func(fd uintptr) { err = fn(int(fd)) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
}
