// SPDX-License-Identifier: Apache-2.0

package concentrator

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"spillway/convert"
	"spillway/mptcp"
	"spillway/testbed/accept"
)

// patience bounds every wait in these tests; none is about speed.
const patience = 20 * time.Second

// rig is a converter on loopback that may reach loopback.
type rig struct {
	t      *testing.T
	server *Server
	at     netip.AddrPort
	stop   context.CancelFunc
	ended  chan error
}

// start starts a converter; change alters its configuration before, prepare the server.
func start(t *testing.T, change func(*Config), prepare func(*Server)) *rig {
	t.Helper()
	cfg := Config{
		Listen:            []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")},
		AllowClients:      prefixes("127.0.0.0/8", "::1/128"),
		AllowDestinations: prefixes("127.0.0.0/8", "::1/128"),
		StopTimeout:       time.Second,
	}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if prepare != nil {
		prepare(s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if err := s.Open(ctx); err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, server: s, at: s.Addrs()[0], stop: cancel, ended: make(chan error, 1)}
	go func() { r.ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-r.ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			t.Error("the converter does not stop")
		}
	})
	return r
}

// connect opens a client connection of plain TCP.
func (r *rig) connect() *net.TCPConn {
	r.t.Helper()
	return r.dial(false)
}

// dial opens a client connection.
func (r *rig) dial(multipath bool) *net.TCPConn {
	r.t.Helper()
	return r.dialAs(mptcp.DialOptions{PlainTCP: !multipath})
}

// dialFrom opens one of plain TCP with this address.
func (r *rig) dialFrom(a netip.Addr) *net.TCPConn {
	r.t.Helper()
	return r.dialAs(mptcp.DialOptions{PlainTCP: true, Local: a})
}

func (r *rig) dialAs(o mptcp.DialOptions) *net.TCPConn {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := mptcp.Dial(ctx, r.at, o)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

// ask sends octets and reads the converter's message.
func (r *rig) ask(b []byte) (*net.TCPConn, *convert.Message) {
	r.t.Helper()
	c := r.connect()
	if _, err := c.Write(b); err != nil {
		r.t.Fatal(err)
	}
	return c, answer(r.t, c)
}

// answer reads one message exactly.
func answer(t *testing.T, c net.Conn) *convert.Message {
	t.Helper()
	b := make([]byte, convert.MaxMessage)
	if _, err := io.ReadFull(c, b[:convert.HeaderLen]); err != nil {
		t.Fatalf("read the answer: %v", err)
	}
	n, err := convert.Length(b)
	if err != nil {
		t.Fatalf("answer %x: %v", b[:convert.HeaderLen], err)
	}
	if _, err := io.ReadFull(c, b[convert.HeaderLen:n]); err != nil {
		t.Fatalf("read the answer: %v", err)
	}
	m, _, err := convert.Parse(b[:n])
	if err != nil {
		t.Fatalf("answer %x: %v", b[:n], err)
	}
	return m
}

// refused sends octets and wants an Error TLV, then the end of the stream.
func (r *rig) refused(b []byte, code convert.Code) *convert.Error {
	r.t.Helper()
	c, m := r.ask(b)
	if m.Error == nil || m.Error.Code != code {
		r.t.Fatalf("answer %+v (error %v), want error %v", m, m.Error, code)
	}
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		r.t.Errorf("after the error: %d octets, %v; want the end", n, err)
	}
	c.Close()
	return m.Error
}

// message encodes.
func message(t *testing.T, m *convert.Message) []byte {
	t.Helper()
	b, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func to(t *testing.T, addr netip.AddrPort) []byte {
	t.Helper()
	return message(t, &convert.Message{Connect: &convert.Connect{Addr: addr}})
}

// origin is a server on loopback that runs serve for each connection.
func origin(t *testing.T, multipath bool, serve func(*net.TCPConn)) netip.AddrPort {
	t.Helper()
	l, err := mptcp.Listen(context.Background(), netip.MustParseAddrPort("127.0.0.1:0"), mptcp.ListenOptions{MPTCP: multipath})
	if err != nil {
		t.Fatal(err)
	}
	return accept.Until(t, l, func(c *net.TCPConn) {
		c.SetDeadline(time.Now().Add(patience))
		serve(c)
	})
}

func echo(c *net.TCPConn) {
	io.Copy(c, c)
	c.CloseWrite()
}

// eventually polls until cond holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if cond() {
			return
		}
	}
	t.Fatalf("%s: not within %v", what, patience)
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
