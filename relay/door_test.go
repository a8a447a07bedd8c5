// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"spillway/convert"
	"spillway/mptcp"
	"spillway/relay/engine"
	"spillway/testbed/accept"
	"spillway/testbed/await"
)

var (
	converterAddr  = netip.MustParseAddrPort("10.9.9.9:5124")
	converterAddr6 = netip.MustParseAddrPort("[fd09::9]:5124")
)

// TestHome plays a household: one topology, several stories, because namespaces are slow to make.
func TestHome(t *testing.T) {
	home := t
	h := newHome(t)
	asked := make(chan netip.AddrPort, 100)
	asking := func(c *net.TCPConn, m *convert.Message) {
		if m.Connect != nil {
			select {
			case asked <- m.Connect.Addr:
			default: // nobody counts that many
			}
		}
		accepted(c, m)
	}
	f := h.converter(t, converterAddr, asking)
	cfg := Config{Upstreams: []Upstream{{Addrs: []netip.AddrPort{converterAddr, converterAddr6}}},
		RuleMask: 0xf0, Rules: []Rule{{Name: "no", Mark: 0x10, Action: Block}, {Name: "first", Mark: 0x20, Action: Primary}}}
	h.relay(t, cfg)
	web, web6 := netip.MustParseAddrPort("10.8.8.8:80"), netip.MustParseAddrPort("[fd08::8]:80")

	t.Run("IPv4 in the SYN, IPv6 destination", func(t *testing.T) {
		for _, a := range []netip.AddrPort{web, web6} {
			h.echo(t, a, 1<<20)
			if got := await.Value(t, "the Connect", asked); got != a {
				t.Fatalf("asked for %v, want %v", got, a)
			}
		}
		s := h.tell(t, order{}).Stats
		if s.FastOpen.Tried != 2 || s.Relayed != 2 {
			t.Fatalf("%+v", s)
		}
		t.Logf("fast open: %+v", s.FastOpen)
	})
	t.Run("flow is visible", func(t *testing.T) {
		c, err := h.dial(t, web)
		if err != nil {
			t.Fatal(err)
		}
		c.Write([]byte("hello"))
		io.ReadFull(c, make([]byte, 5))
		await.Value(t, "the Connect", asked)
		var p report
		until(t, "one flow", func() bool { // which is counted a moment after its octets went
			p = h.tell(t, order{})
			return len(p.Flows) == 1 && p.Flows[0].Down == 5
		})
		fl := p.Flows[0]
		if fl.Dst != web || fl.Link != "dsl" || fl.Up != 5 || fl.Down != 5 || fl.MPTCP && fl.Token == 0 {
			t.Fatalf("%+v", fl)
		}
		t.Logf("%+v", fl)
	})
	t.Run("rules", func(t *testing.T) {
		c, err := h.dial(t, netip.AddrPortFrom(web.Addr(), 666))
		if err == nil {
			isReset(t, c)
		}
		for _, a := range []netip.Addr{web.Addr(), web6.Addr()} {
			c, err := h.dial(t, netip.AddrPortFrom(a, 7005))
			if err != nil {
				t.Fatal(err)
			}
			c.Write([]byte("hello"))
			io.ReadFull(c, make([]byte, 5))
			await.Value(t, "the Connect", asked)
			taken := func(f Flow) bool { return f.Dst.Addr() == a && f.Rule == "first" && f.Action == "primary" && !f.MPTCP }
			if p := h.tell(t, order{}); !slices.ContainsFunc(p.Flows, taken) {
				t.Fatalf("%+v", p.Flows)
			}
		}
		if s := h.tell(t, order{}).Stats; s.Blocked != 1 {
			t.Fatalf("%+v", s)
		}
	})
	t.Run("door's own address", func(t *testing.T) {
		p := h.tell(t, order{})
		var c *net.TCPConn
		err := h.cpe.Do(func() (err error) {
			c, err = mptcp.Dial(context.Background(), netip.AddrPortFrom(doorAddr[0], p.Port4), mptcp.DialOptions{PlainTCP: true})
			return err
		})
		if err == nil { // else the reset came as the connect did
			defer c.Close()
			c.SetDeadline(time.Now().Add(10 * time.Second))
			isReset(t, c)
		}
		if n := h.tell(t, order{}).Stats.Refused; n != 1 {
			t.Fatalf("counted %d", n)
		}
		if len(asked) != 0 {
			t.Fatal("an open proxy")
		}
	})
	t.Run("converter refused: native within seconds, then back", func(t *testing.T) {
		native := h.listen(home, h.hag, netip.MustParseAddrPort("10.8.8.8:8080"), false)
		accept.Each(native, func(c *net.TCPConn) { io.Copy(c, c) })
		f.Close()
		if c, err := h.dial(t, native8080); err == nil {
			c.CloseWrite()
			io.ReadAll(c) // the one that finds out
		}
		until(t, "closed door", func() bool { return !h.tell(t, order{}).Stats.DoorOpen })
		h.echo(t, native8080, 5000)
		h.converter(home, converterAddr, asking)
		until(t, "open door", func() bool { return h.tell(t, order{}).Stats.DoorOpen })
		h.echo(t, native8080, 5000)
	})
	t.Run("full: native, then back", func(t *testing.T) {
		few := cfg
		few.MaxSessions, few.MaxPerHost = 8, 100
		h.tell(t, order{Config: &few})
		var cs []*net.TCPConn
		for range 8 {
			c, err := h.dial(t, web)
			if err != nil {
				t.Fatal(err)
			}
			cs = append(cs, c)
		}
		until(t, "closed door", func() bool { s := h.tell(t, order{}).Stats; return s.Full && !s.DoorOpen })
		h.echo(t, native8080, 5000)
		for _, c := range cs {
			c.Write([]byte("still here"))
			b := make([]byte, 10)
			if _, err := io.ReadFull(c, b); err != nil {
				t.Fatal(err)
			}
			c.Close()
		}
		until(t, "open door", func() bool { s := h.tell(t, order{}).Stats; return !s.Full && s.DoorOpen })
		h.tell(t, order{Config: &cfg})
	})
	t.Run("nobody is reset when the door closes", func(t *testing.T) {
		var served atomic.Int64
		var all sync.WaitGroup
		stop := make(chan struct{})
		for range 16 {
			all.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						h.echo(t, native8080, 2000)
						served.Add(1)
					}
				}
			})
		}
		for round := range int64(4) {
			until(t, "connections", func() bool { return served.Load() >= 50*(round+1) })
			h.tell(t, order{Close: true})
			h.tell(t, order{Open: true})
		}
		close(stop)
		await.All(t, "the connections", &all)
	})
	t.Run("silent first link: the second serves", func(t *testing.T) {
		before := h.tell(t, order{}).Stats.Retried
		drop := h.hag.Command("nft", "add table inet b; add chain inet b in { type filter hook prerouting priority 0; }; add rule inet b in iifname dsl drop")
		if b, err := drop.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, b)
		}
		at := time.Now()
		h.echo(t, web, 5000)
		t.Log("served after", time.Since(at))
		s := h.tell(t, order{}).Stats
		if s.Retried <= before {
			t.Fatalf("%+v", s)
		}
		racing := cfg
		racing.Race = "always"
		h.tell(t, order{Config: &racing})
		for len(asked) > 0 {
			<-asked
		}
		h.echo(t, web, 5000)
		if after := h.tell(t, order{Config: &cfg}).Stats; after.Retried != s.Retried || len(asked) != 1 {
			t.Fatalf("racing: %d Connects, %+v", len(asked), after)
		}
		if err := h.hag.Run("nft", "delete table inet b"); err != nil {
			t.Fatal(err)
		}
		if u := h.tell(t, order{}).Upstreams[0]; !u.Up {
			t.Fatalf("the upstream was blamed: %+v", u)
		}
	})
	t.Run("2,000 connections at once", func(t *testing.T) { h.many(t, web, 2000) })
}

// A hidden listener lets those in whose handshake has begun: TCP_DEFER_ACCEPT keeps one from being complete for the server until
// the client says something.
func TestNoSYNGetsInButHandshakesEnd(t *testing.T) {
	e, err := engine.New(1)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_TCP, unix.TCP_DEFER_ACCEPT, 30),
		unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 8))
	if err != nil {
		t.Fatal(err)
	}
	to := net.TCPAddrFromAddrPort(engine.LocalAddr(fd))
	came := make(chan engine.Arrival, 8)
	l, err := e.Listen(fd, func(a engine.Arrival) { came <- a })
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	first, err := net.DialTCP("tcp", nil, to)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	l.Control(func(fd int) { err = hide(fd, true) })
	if err != nil {
		t.Fatal(err)
	}
	if c, err := net.DialTimeout("tcp", to.String(), 200*time.Millisecond); err == nil {
		c.Close()
		t.Error("a SYN got in")
	}
	hears := func(from *net.TCPConn, word string) {
		t.Helper()
		from.Write([]byte(word))
		var c *net.TCPConn
		select {
		case a := <-came:
			var err error
			if c, err = engine.ConnOf(a.FD); err != nil {
				t.Fatalf("%q: %v", word, err)
			}
		case <-time.After(15 * time.Second):
			t.Fatalf("%q: nobody came", word)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(15 * time.Second))
		got := make([]byte, len(word))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != word {
			t.Errorf("%q, want %q: %v", got, word, err)
		}
	}
	hears(first, "I had begun")
	r := &Relay{}
	r.door.open, r.door.hidden, r.door.listeners = true, true, [2]*engine.Listener{l}
	r.show()
	second, err := net.DialTCP("tcp", nil, to)
	if err != nil {
		t.Fatalf("after it is shown again: %v", err)
	}
	defer second.Close()
	hears(second, "I am new")
	// A successor's sockets are never touched.
	r.door.shared = true
	r.hide()
	third, err := net.DialTCP("tcp", nil, to)
	if err != nil {
		t.Fatalf("a successor's listener is hidden: %v", err)
	}
	defer third.Close()
	hears(third, "I am the successor's")
}

var native8080 = netip.MustParseAddrPort("10.8.8.8:8080")
