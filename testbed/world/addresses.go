// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"
	"net/netip"
	"time"

	"spillway/testbed/linkemu"
)

// The fixed addresses.
const (
	Host4, Host6                 = "192.168.1.2", "2001:db8:1::2"
	Router4, Router6             = "192.168.1.1", "2001:db8:1::1"
	Concentrator4, Concentrator6 = "198.51.100.10", "2001:db8:9::10"
	Server4, Server6             = "203.0.113.10", "2001:db8:5::10"

	Port       = 5124 // the concentrator's
	ServerPort = 7000 // of the server with checked octets
	FilesPort  = 8080 // of the file server
	LANDevice  = "lan0"
)

// Shape is a line direction of so many Mbit/s and so many ms, its queue of the usual length.
func Shape(mbit float64, delay int) linkemu.Shape {
	return linkemu.Shape{Rate: mbit * 1e6, Delay: time.Duration(delay) * time.Millisecond}
}

// To is the address of the server with checked octets, for a family ("4" or "6").
func To(family string) string { return at(family, ServerPort) }

// At is an address of the server with another port.
func At(family string, port uint16) string { return at(family, port) }

// URL names a file on the file server.
func URL(family, file string) string { return "http://" + at(family, FilesPort) + "/" + file }

func at(family string, port uint16) string {
	a := netip.MustParseAddr(Server4)
	if family == "6" {
		a = netip.MustParseAddr(Server6)
	}
	return netip.AddrPortFrom(a, port).String()
}

// network is the IPv4 prefix between router and provider.
func (w *World) network(i int) netip.Prefix {
	if n := w.Links[i].Network; n.IsValid() {
		return n
	}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, byte(i), 0}), 24)
}

// Address4 is the router's IPv4 address on a link.
func (w *World) Address4(i int) netip.Addr {
	host := w.Links[i].Host
	if host == 0 {
		host = 2
	}
	return host4(w.network(i), host)
}

// Gateway4 is the provider's.
func (w *World) Gateway4(i int) netip.Addr { return host4(w.network(i), 1) }

// Address6 is the router's IPv6 address on a link.
func (w *World) Address6(i int) netip.Addr { return address6(0x70+i, 2) }

// Gateway6 is the provider's.
func (w *World) Gateway6(i int) netip.Addr { return address6(0x70+i, 1) }

func host4(p netip.Prefix, host byte) netip.Addr {
	b := p.Addr().As4()
	b[3] = host
	return netip.AddrFrom4(b)
}

func address6(net, host int) netip.Addr {
	return netip.MustParseAddr(fmt.Sprintf("2001:db8:%x::%x", net, host))
}
