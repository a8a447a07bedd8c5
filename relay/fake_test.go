// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"spillway/convert"
	"spillway/journal"
	"spillway/relay/engine"
	"spillway/testbed/accept"
	"spillway/testbed/await"
)

// fake is a scripted converter: script gets each connection after its Convert message was read whole.
type fake struct {
	*net.TCPListener
	addr  netip.AddrPort
	conns atomic.Int64
}

type script func(c *net.TCPConn, m *convert.Message)

func newFake(t testing.TB, s script) *fake {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return serveFake(l, s)
}

func serveFake(l *net.TCPListener, s script) *fake {
	f := &fake{TCPListener: l, addr: l.Addr().(*net.TCPAddr).AddrPort()}
	accept.Each(l, func(c *net.TCPConn) {
		f.conns.Add(1)
		m, err := readConvert(c)
		if err != nil {
			return
		}
		if m.Info {
			c.Write([]byte{1, 1, 0x22, 0x63})
			return
		}
		s(c, m)
	})
	return f
}

// say makes a script that answers a message and then does rest.
func say(m convert.Message, rest func(c *net.TCPConn)) script {
	return func(c *net.TCPConn, _ *convert.Message) {
		b, err := m.Append(nil)
		if err != nil {
			panic(err)
		}
		c.Write(b)
		if rest != nil {
			rest(c)
		}
	}
}

// accepted answers "connected" and echoes until the end, then closes.
var accepted = say(convert.Message{}, func(c *net.TCPConn) { io.Copy(c, c) })

// muteFor accepts but connections to one server, of which it says nothing.
func muteFor(server netip.AddrPort) script {
	return func(c *net.TCPConn, m *convert.Message) {
		if m.Connect.Addr == server {
			io.Copy(io.Discard, c)
			return
		}
		accepted(c, m)
	}
}

// refuse answers an Error and closes as RFC 8803 wants it.
func refuse(code convert.Code, value ...byte) script {
	return say(convert.Message{Error: &convert.Error{Code: code, Value: value}}, func(c *net.TCPConn) {
		c.CloseWrite()
		io.Copy(io.Discard, c)
	})
}

// newRelay runs a relay over loopback without a door: lanDial stands for it.
func newRelay(t testing.TB, cfg Config) *Relay {
	t.Helper()
	if cfg.ServerTimeout == 0 {
		cfg.ServerTimeout = max(time.Second, cfg.ConnectTimeout)
	}
	r, err := New(cfg, journal.Discard())
	if err != nil {
		t.Fatal(err)
	}
	r.SetPlan(Plan{Links: []PlanLink{{Name: "dsl", Usable: true}}, Primary: 0})
	run(t, r)
	return r
}

func run(t testing.TB, r *Relay) {
	ctx, done := t.Context(), make(chan struct{})
	go func() {
		defer close(done)
		r.Run(ctx)
	}()
	t.Cleanup(func() { await.Value(t, "the end of Run", done) }) // the test's context has ended by now
}

func upstreams(fs ...*fake) (us []Upstream) {
	for i, f := range fs {
		us = append(us, Upstream{Addrs: []netip.AddrPort{f.addr}, Priority: i, FastOpen: "never"})
	}
	return us
}

var server = netip.MustParseAddrPort("192.0.2.80:80")

// lanDial makes a connection as the door would accept it, and gives the LAN host's end.
func lanDial(t testing.TB, r *Relay, dst netip.AddrPort) *net.TCPConn {
	t.Helper()
	c := throughDoor(t, r, nil, dst)
	c.SetDeadline(time.Now().Add(20 * time.Second))
	t.Cleanup(func() { c.Close() })
	return c
}

// throughDoor connects from local (nil: anywhere) to a door of its own, which takes it for intercepted on its way to dst.
func throughDoor(t testing.TB, r *Relay, local *net.TCPAddr, dst netip.AddrPort) *net.TCPConn {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 8))
	if err != nil {
		t.Fatal(err)
	}
	to := net.TCPAddrFromAddrPort(engine.LocalAddr(fd))
	dialled, came := make(chan struct{}), make(chan struct{})
	l, err := r.engine.Listen(fd, func(a engine.Arrival) {
		<-dialled // else a reset could come before the dialler knows that it is connected
		r.welcome(a, dst)
		close(came)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.DialTCP("tcp", local, to)
	close(dialled)
	if err != nil {
		t.Fatal(err)
	}
	await.Value(t, "the connection at the door", came)
	return c
}

// until polls for a condition.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// liveHeap is what the garbage collector leaves.
func liveHeap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
