// SPDX-License-Identifier: Apache-2.0

package concentrator

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"spillway/convert"
	"spillway/mptcp"
	"spillway/testbed/accept"
	"spillway/testbed/await"
)

// benchRig is a converter and an origin on loopback; dial connects a client.
func benchRig(b *testing.B, serve func(*net.TCPConn)) (dial func(multipath bool) *net.TCPConn, message []byte) {
	b.Helper()
	local := netip.MustParseAddrPort("127.0.0.1:0")
	s, err := New(Config{Listen: []netip.AddrPort{local}, AllowClients: prefixes("127.0.0.0/8"), AllowDestinations: prefixes("127.0.0.0/8"),
		StopTimeout: time.Millisecond}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if err := s.Open(ctx); err != nil {
		b.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { s.Run(ctx); close(ended) }()
	l, err := mptcp.Listen(ctx, local, mptcp.ListenOptions{})
	if err != nil {
		b.Fatal(err)
	}
	accept.Each(l, serve)
	b.Cleanup(func() { cancel(); l.Close(); await.Value(b, "the end of Run", ended) })
	message, err = (&convert.Message{Connect: &convert.Connect{Addr: l.Addr().(*net.TCPAddr).AddrPort()}}).Append(nil)
	if err != nil {
		b.Fatal(err)
	}
	return func(multipath bool) *net.TCPConn {
		c, err := mptcp.Dial(ctx, s.Addrs()[0], mptcp.DialOptions{PlainTCP: !multipath})
		if err != nil {
			b.Fatal(err)
		}
		return c
	}, message
}

// One short connection after the other: connect, 200 octets each way, close.
func BenchmarkShortSession(b *testing.B) {
	dial, message := benchRig(b, echo)
	request := append(message, make([]byte, 200)...)
	buf := make([]byte, convert.HeaderLen+200)
	for b.Loop() {
		c := dial(true)
		c.Write(request)
		if _, err := io.ReadFull(c, buf); err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
}

// One bulk download of b.N times 64 KiB.
func BenchmarkDownload(b *testing.B) {
	const piece = 64 << 10
	dial, message := benchRig(b, func(c *net.TCPConn) {
		buf := make([]byte, piece)
		for {
			if _, err := c.Write(buf); err != nil {
				return
			}
		}
	})
	c := dial(true)
	defer c.Close()
	c.Write(message)
	buf := make([]byte, piece)
	io.ReadFull(c, buf[:convert.HeaderLen])
	b.SetBytes(piece)
	for b.Loop() {
		if _, err := io.ReadFull(c, buf); err != nil {
			b.Fatal(err)
		}
	}
}
