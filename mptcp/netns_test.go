// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"context"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"spillway/testbed/accept"
	"spillway/testbed/netns"
)

// patience bounds every wait of these tests: generous, as the machine may be busy.
const patience = 10 * time.Second

// world is a router with two links to a concentrator, both families on each:
//
//	cpe dsl 10.1.0.1, fd01::1 ---- 10.1.0.2, fd01::2 dsl hag
//	cpe lte 10.2.0.1, fd02::1 ---- 10.2.0.2, fd02::2 lte hag
type world struct {
	cpe, hag *netns.NS
}

func newWorld(t testing.TB) world {
	t.Helper()
	w := world{cpe: netns.New(t, "cpe"), hag: netns.New(t, "hag")}
	must(t, netns.Veth(w.cpe, "dsl", w.hag, "dsl"))
	must(t, netns.Veth(w.cpe, "lte", w.hag, "lte"))
	must(t, w.cpe.Script(`addr add 10.1.0.1/24 dev dsl
addr add 10.2.0.1/24 dev lte
addr add fd01::1/64 dev dsl nodad
addr add fd02::1/64 dev lte nodad
route add 10.9.0.9 via 10.1.0.2
route add 10.9.0.9 via 10.2.0.2 table 102
route add fd09::9 via fd01::2
route add fd09::9 via fd02::2 table 102
rule add from 10.2.0.1 lookup 102
`))
	must(t, w.cpe.Run("ip", "-6", "rule", "add", "from", "fd02::1", "lookup", "102"))
	must(t, w.hag.Script(`addr add 10.1.0.2/24 dev dsl
addr add 10.2.0.2/24 dev lte
addr add fd01::2/64 dev dsl nodad
addr add fd02::2/64 dev lte nodad
addr add 10.9.0.9/32 dev lo
addr add fd09::9/128 dev lo nodad
`))
	fastOpen := "3"
	if !Probe().FastOpenNoCookie {
		fastOpen = "7" // as the daemon has it there
	}
	for _, ns := range []*netns.NS{w.cpe, w.hag} {
		must(t, ns.KeepMPTCP())
		must(t, ns.Sysctl("net.ipv4.tcp_fastopen", fastOpen))
		must(t, inPM(ns, func(pm *PathManager) error { return pm.SetLimits(Limits{Subflows: 8, AddAddrs: 8}) }))
	}
	return w
}

// inPM runs fn with a path manager of a namespace. fn returns its errors: it runs on another goroutine than the test.
func inPM(ns *netns.NS, fn func(*PathManager) error) error {
	return ns.Do(func() error {
		pm, ok, err := OpenPathManager()
		if err != nil {
			return err
		}
		if !ok {
			return net.UnknownNetworkError("mptcp_pm")
		}
		defer pm.Close()
		return fn(pm)
	})
}

// echo serves on the concentrator until the test ends: what comes goes back.
func (w world) echo(t testing.TB, local string, o ListenOptions) netip.AddrPort {
	t.Helper()
	var l *net.TCPListener
	must(t, w.hag.Do(func() (err error) {
		l, err = Listen(context.Background(), netip.MustParseAddrPort(local), o)
		return err
	}))
	return accept.Until(t, l, echoOne)
}

// echoOne answers once the third ACK was seen: a Linux server that writes earlier stalls (fast open over MPTCP).
func echoOne(c *net.TCPConn) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(3 * patience))
	b := make([]byte, 1<<16)
	for {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		for o, err := Inspect(c); err == nil && !o.Established && o.State == 3; o, err = Inspect(c) {
			time.Sleep(time.Millisecond)
		}
		if _, err := c.Write(b[:n]); err != nil {
			return
		}
	}
}

// dial connects from the router.
func (w world) dial(t testing.TB, remote netip.AddrPort, o DialOptions) *net.TCPConn {
	t.Helper()
	var c *net.TCPConn
	must(t, w.cpe.Do(func() (err error) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		c, err = Dial(ctx, remote, o)
		return err
	}))
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(2 * patience))
	return c
}

// ping sends text and wants it back.
func ping(t testing.TB, c *net.TCPConn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, len(text))
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatal(err)
	}
	if string(b) != text {
		t.Fatalf("sent %q, got %q back", text, b)
	}
}

// subflows dumps the router's subflows.
func (w world) subflows(t testing.TB) []Subflow {
	t.Helper()
	var out []Subflow
	must(t, w.cpe.Do(func() error {
		d, err := OpenDiag()
		if err != nil {
			return err
		}
		defer d.Close()
		out, err = d.Subflows(Which{})
		return err
	}))
	return out
}

// connections dumps the router's MPTCP connections; ok is false where the kernel can't.
func (w world) connections(t testing.TB) (out []Connection, ok bool) {
	t.Helper()
	must(t, w.cpe.Do(func() error {
		d, err := OpenDiag()
		if err != nil {
			return err
		}
		defer d.Close()
		out, ok, err = d.Connections()
		return err
	}))
	return out, ok
}

// eventually waits until ok answers true; what says for what.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("waited %v in vain for %s", patience, what)
}

// find returns the subflow from a local address.
func find(subflows []Subflow, local string) (Subflow, bool) {
	for _, s := range subflows {
		if s.Local.Addr() == netip.MustParseAddr(local) {
			return s, true
		}
	}
	return Subflow{}, false
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
