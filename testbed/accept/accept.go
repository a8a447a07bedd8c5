// SPDX-License-Identifier: Apache-2.0

// Package accept has what every small server of tests and scenarios begins with: the loop that accepts.
package accept

import (
	"net"
	"net/netip"
	"testing"
)

// Each runs talk for each TCP connection that comes to l, each on its own, and closes the connection after it. It returns at once;
// closing l ends it.
func Each(l net.Listener, talk func(*net.TCPConn)) {
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				talk(c.(*net.TCPConn))
			}()
		}
	}()
}

// Until is Each for a test: l is closed at its end. It returns l's address.
func Until(tb testing.TB, l net.Listener, talk func(*net.TCPConn)) netip.AddrPort {
	tb.Cleanup(func() { l.Close() })
	Each(l, talk)
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// Loopback is Until with a listener on 127.0.0.1, which takes MPTCP too, as all of package net do by themselves.
func Loopback(tb testing.TB, talk func(*net.TCPConn)) netip.AddrPort {
	tb.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		tb.Fatal(err)
	}
	return Until(tb, l, talk)
}
