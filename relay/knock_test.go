// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"spillway/convert"
	"spillway/socks"
	"spillway/testbed/await"
)

// faithfulRelay is newRelay that takes knocks as if its door were open.
func faithfulRelay(t *testing.T, cfg Config) *Relay {
	cfg.Faithful = true
	r := newRelay(t, cfg)
	r.door.mu.Lock()
	r.door.open = true
	r.door.mu.Unlock()
	t.Cleanup(func() {
		r.door.mu.Lock()
		r.door.open = false
		r.door.mu.Unlock()
	})
	return r
}

// host is a LAN host's address and a port of it that is free now.
func host(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return endpoint(l.Addr())
}

// knockOn asks for one verdict and waits for it.
func knockOn(t *testing.T, r *Relay, k Knock) Reply {
	t.Helper()
	said := make(chan Reply, 2)
	r.Knock(k, func(what Reply) { said <- what })
	select {
	case what := <-said:
		return what
	case <-time.After(15 * time.Second):
		t.Fatal("no verdict")
		return Pass
	}
}

// dialFrom is lanDial from a given port.
func dialFrom(t *testing.T, r *Relay, src, dst netip.AddrPort) *net.TCPConn {
	t.Helper()
	c := throughDoor(t, r, net.TCPAddrFromAddrPort(src), dst)
	c.SetDeadline(time.Now().Add(20 * time.Second))
	t.Cleanup(func() { c.Close() })
	return c
}

func TestHeldSYNBringsItsConnection(t *testing.T) {
	f := newFake(t, accepted)
	r := faithfulRelay(t, Config{Upstreams: upstreams(f)})
	src := host(t)
	if got := knockOn(t, r, Knock{Src: src, Dst: server}); got != Pass {
		t.Fatalf("verdict %d, want Pass", got)
	}
	if got := knockOn(t, r, Knock{Src: src, Dst: server}); got != Pass { // its SYN-ACK was lost
		t.Errorf("the repeated SYN's verdict is %d, want Pass", got)
	}
	c := dialFrom(t, r, src, server)
	c.Write([]byte("hello"))
	c.CloseWrite()
	if got, err := io.ReadAll(c); string(got) != "hello" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	if n := f.conns.Load(); n != 1 {
		t.Errorf("%d connections to the converter for one of the host", n)
	}
	if s := r.Stats(); s.Held != 1 || s.Relayed != 1 {
		t.Errorf("%+v", s)
	}
}

func TestHeldSYNIsAnsweredAsByTheServer(t *testing.T) {
	for _, c := range []struct {
		name string
		say  script
		want Reply
	}{
		{"refused", refuse(convert.CodeConnectionReset), Refuse},
		{"unreachable", refuse(convert.CodeUnreachable, 1), Unreachable},
		{"not authorized", refuse(convert.CodeNotAuthorized), Refuse},
	} {
		r := faithfulRelay(t, Config{Upstreams: upstreams(newFake(t, c.say)), Block: true}) // no second try without the converter
		if got := knockOn(t, r, Knock{Src: host(t), Dst: server}); got != c.want {
			t.Errorf("%s: verdict %d, want %d", c.name, got, c.want)
		}
		if n := len(r.knocks.list); n != 0 || r.Stats().TurnedAway != 1 {
			t.Errorf("%s: %d knocks left, %+v", c.name, n, r.Stats())
		}
	}
}

func TestFailuresOfAHeldSYN(t *testing.T) {
	via := path{u: &upstream{Upstream: Upstream{Protocol: SOCKS5}}}
	for _, c := range []struct {
		p    path
		err  error
		want Reply
	}{
		{via, &socks.Reply{Version: 5, Code: 5}, Refuse},
		{via, &socks.Reply{Version: 5, Code: 4}, Unreachable},
		{via, unix.EHOSTUNREACH, Pass}, // no way to the proxy, which says nothing of the server
		{via, unix.EMFILE, Pass},
		{via, unix.ECONNRESET, Refuse},
		{path{}, unix.EHOSTUNREACH, Unreachable},
		{path{}, unix.ECONNREFUSED, Refuse},
		{path{}, errSilent, Forget},
	} {
		n := &knock{p: c.p, err: c.err}
		if got := n.reply(); got != c.want {
			t.Errorf("%v: %d, want %d", c.err, got, c.want)
		}
	}
}

func TestRepeatedSYNIsOneAndTooManyPass(t *testing.T) {
	answer := make(chan struct{})
	f := newFake(t, func(c *net.TCPConn, m *convert.Message) {
		if m.Connect != nil { // a question whether it lives is answered at once: a busy machine takes its time below
			<-answer
		}
		accepted(c, m)
	})
	r := faithfulRelay(t, Config{Upstreams: upstreams(f), ConnectTimeout: 2 * time.Minute})
	src := netip.MustParseAddr("192.168.1.2")
	said := make(chan Reply, 3*mostKnocks)
	for i := range mostHostKnocks {
		r.Knock(Knock{Src: netip.AddrPortFrom(src, uint16(1024+i)), Dst: server}, func(what Reply) { said <- what })
	}
	if got := knockOn(t, r, Knock{Src: netip.AddrPortFrom(src, 1024), Dst: server}); got != Forget {
		t.Errorf("a repeated SYN: %d, want Forget", got)
	}
	if got := knockOn(t, r, Knock{Src: netip.AddrPortFrom(src, 999), Dst: server}); got != Pass {
		t.Errorf("one too many of a host: %d, want Pass", got)
	}
	for i := range mostKnocks { // of others
		a := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 168, 2, byte(i / 60)}), uint16(1024+i))
		r.Knock(Knock{Src: a, Dst: server}, func(what Reply) { said <- what })
	}
	if s := r.Stats(); s.Held != mostKnocks || s.Unheld != 1+mostHostKnocks {
		t.Errorf("%d held, %d passed; want %d and %d", s.Held, s.Unheld, mostKnocks, 1+mostHostKnocks)
	}
	close(answer)
	for range mostHostKnocks + mostKnocks {
		if got := await.Value(t, "a verdict", said); got != Pass {
			t.Errorf("verdict %d, want Pass", got)
		}
	}
	until(t, "connections that nobody claims are gone", func() bool {
		r.knocks.mu.Lock()
		defer r.knocks.mu.Unlock()
		return len(r.knocks.list) == 0 && len(r.knocks.hosts) == 0
	})
}

func TestSYNsPassWhereNothingIsToBeHeld(t *testing.T) {
	f := newFake(t, accepted)
	r := newRelay(t, Config{Upstreams: upstreams(f), Faithful: true}) // its door is closed
	if got := knockOn(t, r, Knock{Src: host(t), Dst: server}); got != Pass || r.Stats().Held != 0 {
		t.Errorf("door closed: verdict %d, %+v", got, r.Stats())
	}
	r = faithfulRelay(t, Config{Upstreams: upstreams(f)})
	if got := knockOn(t, r, Knock{Src: host(t), Dst: netip.MustParseAddrPort("127.0.0.1:80")}); got != Pass || r.Stats().Held != 0 {
		t.Errorf("a forbidden destination: verdict %d, %+v", got, r.Stats())
	}
}

// A host that has no seat for the connection of its held SYN, which is still being made, is told at once: the loop waits for nobody.
func TestHeldSYNWithoutASeatKeepsNobodyWaiting(t *testing.T) {
	silent := netip.MustParseAddrPort("192.0.2.81:80")
	f := newFake(t, muteFor(silent))
	r := faithfulRelay(t, Config{Upstreams: upstreams(f), MaxPerHost: 1, ConnectTimeout: 5 * time.Second, Block: true})
	src := host(t)
	said := make(chan Reply, 1)
	r.Knock(Knock{Src: src, Dst: silent}, func(what Reply) { said <- what })
	lanDial(t, r, server)
	until(t, "the only seat is taken", func() bool { return r.Stats().Established == 1 })
	began := time.Now()
	isReset(t, dialFrom(t, r, src, silent)) // say its SYN was let pass by a full queue
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %v: the loop has waited for the held SYN's connection", took)
	}
	await.Value(t, "the verdict", said)
}
