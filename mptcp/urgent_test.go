// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// An octet that a server sends as urgent data is one of the stream.
func TestUrgentDataOfAServer(t *testing.T) {
	l, err := Listen(context.Background(), netip.MustParseAddrPort("127.0.0.1:0"), ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := Dial(context.Background(), l.Addr().(*net.TCPAddr).AddrPort(), DialOptions{PlainTCP: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	server, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	err = onConn(server, func(fd int) error {
		return errors.Join(unix.Send(fd, []byte("a"), 0), unix.Send(fd, []byte("b"), unix.MSG_OOB), unix.Send(fd, []byte("c"), 0))
	})
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	got := make([]byte, 3)
	if n, err := io.ReadFull(c, got); string(got) != "abc" || err != nil {
		t.Errorf("%q, %v", got[:n], err)
	}
}
