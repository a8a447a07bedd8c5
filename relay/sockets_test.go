// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"spillway/mptcp"
	"spillway/relay/engine"
	"spillway/sockopt"
)

// The kernel tells a SYN whole or not at all: with IPv6 it is longer.
func TestSavedDSCPOfBothFamilies(t *testing.T) {
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
			c.Control(func(fd uintptr) { err = sockopt.SetInt(int(fd), unix.SOL_TCP, unix.TCP_SAVE_SYN, 1) })
			return err
		}}
		l, err := lc.Listen(t.Context(), "tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		host, err := mptcp.Dial(context.Background(), endpoint(l.Addr()), mptcp.DialOptions{PlainTCP: true, DSCP: 46})
		if err != nil {
			t.Fatal(err)
		}
		defer host.Close()
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		fd, err := engine.Detach(c.(*net.TCPConn))
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if got := savedDSCP(fd); got != 46 {
			t.Errorf("%s: DSCP %d, 46 was sent", at, got)
		}
	}
}

// TestUrgentDataOfAHost: an octet that a LAN host sends as urgent data is one of the stream.
func TestUrgentDataOfAHost(t *testing.T) {
	s := &settings{Config: Config{}.withDefaults()}
	fd, err := listen(netip.MustParseAddrPort("127.0.0.1:0"), s)
	if errors.Is(err, unix.EPERM) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	host, err := net.Dial("tcp", engine.LocalAddr(fd).String())
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	var c int
	for c, _, err = engine.Accept(fd); err == unix.EAGAIN; c, _, err = engine.Accept(fd) {
		time.Sleep(time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(c)
	if on, err := sockopt.Int(c, unix.SOL_SOCKET, unix.SO_OOBINLINE); on != 1 || err != nil {
		t.Errorf("SO_OOBINLINE is %d, %v", on, err)
	}
}

// TestADoorThatNoSuccessorHas is hidden before it closes, also where one asked for it: while it was closed, or in vain.
func TestADoorThatNoSuccessorHas(t *testing.T) {
	r := newRelay(t, Config{Upstreams: upstreams(newFake(t, accepted))})
	if files, err := r.Listeners(); len(files) > 0 || err != nil {
		t.Fatal(files, err)
	}
	if err := r.OpenDoor(0, 0); errors.Is(err, unix.EPERM) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	hides := func() bool {
		r.door.mu.Lock()
		defer r.door.mu.Unlock()
		r.hide()
		return r.door.hidden
	}
	if !hides() {
		t.Error("asked for while it was closed, it takes SYNs until it closes")
	}
	for range 2 {
		files, err := r.Listeners()
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, f := range files {
			f.Close()
		}
	}
	if hides() {
		t.Error("it is hidden though two successors have it")
	}
	r.NotHandedOver()
	if hides() {
		t.Error("it is hidden though one successor has it")
	}
	r.NotHandedOver()
	if !hides() {
		t.Error("asked for in vain, it takes SYNs until it closes")
	}
}
