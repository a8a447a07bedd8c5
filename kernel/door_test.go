// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"spillway/mptcp"
	"spillway/testbed/accept"
	"spillway/testbed/netns"
)

// greet answers each connection with a line: what it is, and the address it was reached at. Then it echoes.
func greet(t *testing.T, l net.Listener, name string) {
	accept.Until(t, l, func(c *net.TCPConn) {
		fmt.Fprintf(c, "%s %v from %v\n", name, c.LocalAddr(), c.RemoteAddr().(*net.TCPAddr).IP)
		in := bufio.NewScanner(c)
		for in.Scan() {
			fmt.Fprintln(c, in.Text())
		}
	})
}

// server listens in the Internet, on any address.
func (h *house) server() {
	h.t.Helper()
	for _, p := range []string{port, "8080", "25"} {
		var l net.Listener
		h.must(h.net.Do(func() (err error) {
			lc := net.ListenConfig{}
			lc.SetMultipathTCP(true)
			l, err = lc.Listen(h.t.Context(), "tcp", ":"+p)
			return err
		}))
		greet(h.t, l, "server")
	}
}

// doors opens the relay's transparent listeners.
func (h *house) doors() (l4, l6 *net.TCPListener) {
	h.t.Helper()
	l4, l6 = h.listeners()
	greet(h.t, l4, "relay")
	greet(h.t, l6, "relay")
	return l4, l6
}

// listeners are the doors with nobody behind them.
func (h *house) listeners() (l4, l6 *net.TCPListener) {
	h.t.Helper()
	h.must(h.cpe.Do(func() (err error) {
		o := mptcp.ListenOptions{Transparent: true}
		if l4, err = mptcp.Listen(h.t.Context(), netip.MustParseAddrPort("127.0.0.1:0"), o); err != nil {
			return err
		}
		l6, err = mptcp.Listen(h.t.Context(), netip.MustParseAddrPort("[::1]:0"), o)
		return err
	}))
	h.t.Cleanup(func() { l4.Close(); l6.Close() })
	return l4, l6
}

// macOf is the hardware address of a device.
func (h *house) macOf(ns *netns.NS, device string) (m MAC) {
	h.t.Helper()
	h.must(ns.Do(func() error {
		i, err := net.InterfaceByName(device)
		if err == nil {
			copy(m[:], i.HardwareAddr)
		}
		return err
	}))
	return m
}

func portOf(l net.Listener) uint16 { return uint16(l.Addr().(*net.TCPAddr).Port) }

// connect is a LAN host's connection.
func (h *house) connect(addr string, multipath bool) (c net.Conn, err error) {
	h.lan.Do(func() error {
		d := net.Dialer{Timeout: 5 * time.Second}
		d.SetMultipathTCP(multipath)
		c, err = d.Dial("tcp", addr)
		return err
	})
	return c, err
}

// who tells who answers a LAN host at an address: the greeting, or "refused".
func (h *house) who(addr string, multipath bool) string {
	h.t.Helper()
	c, err := h.connect(addr, multipath)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case err != nil:
		return err.Error()
	}
	defer c.Close()
	return hear(c)
}

func hear(c net.Conn) string {
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(line)
}

// expect compares who answers with the beginning of what is expected.
func (h *house) expect(when, addr, want string) {
	h.t.Helper()
	if got := h.who(addr, false); !strings.HasPrefix(got, want) {
		h.t.Errorf("%s: %s is answered by %q, want %q", when, addr, got, want)
	}
}
