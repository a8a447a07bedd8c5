// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"spillway/convert"
	"spillway/mptcp"
	"spillway/sockopt"
	"spillway/testbed/accept"
)

// warmth is how many warm connections the first upstream has.
func warmth(r *Relay) int {
	p := &r.settings.Load().upstreams[0].warm
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.list)
}

// Where MPTCP is lost on the way, warm connections are plain TCP from the beginning, as others are: a socket that fell back can lose octets.
func TestWarmConnectionsWhereMPTCPIsLost(t *testing.T) {
	l, err := mptcp.Listen(t.Context(), netip.MustParseAddrPort("127.0.0.1:0"), mptcp.ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	at := accept.Until(t, l, func(c *net.TCPConn) {
		if m, err := readConvert(c); err == nil && m.Connect != nil {
			accepted(c, m)
		}
	})
	r := newRelay(t, Config{Upstreams: []Upstream{{Addrs: []netip.AddrPort{at}, FastOpen: "never"}}, Warm: 2})
	u := r.settings.Load().upstreams[0]
	plain := func() (n int) {
		u.warm.mu.Lock()
		defer u.warm.mu.Unlock()
		for _, w := range u.warm.list {
			if rc, err := w.c.SyscallConn(); err == nil {
				rc.Control(func(fd uintptr) {
					if p, err := sockopt.Int(int(fd), unix.SOL_SOCKET, unix.SO_PROTOCOL); err == nil && p == unix.IPPROTO_TCP {
						n++
					}
				})
			}
		}
		return n
	}
	until(t, "two warm connections of TCP", func() bool { return plain() == 2 })
	u.mu.Lock()
	u.syn["dsl"].again = time.Now().Add(time.Hour) // else the next one may be to try MPTCP
	u.mu.Unlock()
	echoes(t, r)
	if n := r.Stats().Warm; n != 1 {
		t.Errorf("%d of 1 connection went over a warm one", n)
	}
	u.sawMPTCP("dsl", true, time.Now())
	r.warmSoon()
	until(t, "an end of those of TCP", func() bool { return plain() == 0 })
}

func TestWarmConnectionsAreUsedAndReplaced(t *testing.T) {
	var mu sync.Mutex
	var idle []*net.TCPConn
	var served atomic.Int64
	at := accept.Loopback(t, func(c *net.TCPConn) {
		mu.Lock()
		idle = append(idle, c)
		mu.Unlock()
		if m, err := readConvert(c); err == nil && m.Connect != nil {
			served.Add(1)
			accepted(c, m)
		}
	})
	cfg := Config{Upstreams: []Upstream{{Addrs: []netip.AddrPort{at}, FastOpen: "never"}}, Warm: 2}
	r := newRelay(t, cfg)
	until(t, "two warm connections", func() bool { return warmth(r) == 2 })
	echoes(t, r)
	if n := r.Stats().Warm; n != 1 {
		t.Fatalf("%d of 1 connection went over a warm one", n)
	}
	until(t, "two again", func() bool { return warmth(r) == 2 })
	// What the far side has closed is not used; the LAN host does not notice.
	mu.Lock()
	for _, c := range idle {
		c.SetLinger(0)
		c.Close()
	}
	mu.Unlock()
	echoes(t, r)
	if n := served.Load(); n != 2 {
		t.Fatalf("%d Connects for 2 connections", n)
	}
	cfg.Warm = 0
	if err := r.SetConfig(cfg); err != nil {
		t.Fatal(err)
	}
	until(t, "none", func() bool { return warmth(r) == 0 })
}

// Where connections begin on two links each has its share of the warm ones, which neither the other's connections nor a look take from it.
func TestWarmConnectionsOnEachLinkThatHasAWeight(t *testing.T) {
	var made atomic.Int64
	at := accept.Loopback(t, func(c *net.TCPConn) {
		made.Add(1)
		if m, err := readConvert(c); err == nil && m.Connect != nil {
			accepted(c, m)
		}
	})
	r := newRelay(t, Config{Upstreams: []Upstream{{Addrs: []netip.AddrPort{at}, FastOpen: "never"}}, Warm: 4})
	r.SetPlan(Plan{Primary: 0, Links: []PlanLink{
		{Name: "dsl", Addr4: netip.MustParseAddr("127.0.0.2"), Usable: true, Weight: 1},
		{Name: "cable", Addr4: netip.MustParseAddr("127.0.0.3"), Usable: true, Weight: 1},
		{Name: "lte", Addr4: netip.MustParseAddr("127.0.0.4"), Usable: true, Metered: true, Weight: 1}}})
	shares := func() map[string]int {
		p := &r.settings.Load().upstreams[0].warm
		p.mu.Lock()
		defer p.mu.Unlock()
		n := map[string]int{}
		for _, w := range p.list {
			n[w.link]++
		}
		return n
	}
	full := func() bool { n := shares(); return len(n) == 2 && n["dsl"] == 2 && n["cable"] == 2 }
	until(t, "two warm connections on each of two links", full)
	until(t, "those of before are gone", func() bool { return made.Load() >= 4 })
	before := made.Load()
	const served = 30
	for range served {
		echoes(t, r)
		until(t, "as many again", full)
	}
	if n, warm := made.Load()-before, r.Stats().Warm; n > served+2 || warm == served || warm < served/3 {
		t.Errorf("%d connections were made for %d, of which %d went over warm ones", n, served, warm)
	}
}

// Of the handshakes on two links one carries the Connect, and only one.
func TestRaceAsksOnce(t *testing.T) {
	var connects atomic.Int64
	f := newFake(t, func(c *net.TCPConn, m *convert.Message) {
		connects.Add(1)
		accepted(c, m)
	})
	r := newRelay(t, Config{Upstreams: upstreams(f), Race: "always"})
	r.SetPlan(Plan{Links: []PlanLink{{Name: "dsl", Usable: true}, {Name: "lte", Usable: true, Metered: true}}, Primary: 0})
	for range 20 {
		c := lanDial(t, r, server)
		c.Write([]byte("x"))
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if n := connects.Load(); n != 20 {
		t.Fatalf("%d Connects for 20 connections", n)
	}
}
