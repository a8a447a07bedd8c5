// SPDX-License-Identifier: Apache-2.0

package concentrator

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"spillway/convert"
)

// closedByDefault are the prefixes behind which a rented server has something that isn't the Internet: itself, its
// landlord's network, and the metadata services that hand out credentials (169.254.169.254, fd00:ec2::254,
// 100.100.100.200, 168.63.129.16).
var closedByDefault = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16", "172.16.0.0/12",
	"192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "240.0.0.0/4",
	"::/96", "::ffff:0:0:0/96", "64:ff9b:1::/48", "100::/64", "fc00::/7", "fe80::/10", "fec0::/10",
)

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

func within(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// verdict is what a destination address gets.
type verdict uint8

const (
	open      verdict = iota
	closed            // administratively: Error 32
	malformed         // must not be named at all: Error 1
)

// destinations decides whom clients may reach.
type destinations struct {
	allow, deny []netip.Prefix
	own         ownAddresses
}

// judge decides about one address. What AllowDestinations names is open, even loopback; multicast, broadcast and the
// unspecified address never are.
func (d *destinations) judge(a netip.Addr) verdict {
	a = a.Unmap() // as convert.Parse has it; but a mapped address would be in none of the prefixes
	inner, wraps := embedded(a)
	switch {
	case convert.Forbidden(a) && !(a.IsLoopback() && within(d.allow, a)):
		return malformed
	case within(d.deny, a) || wraps && within(d.deny, inner):
		return closed
	case within(d.allow, a):
		return open
	case within(closedByDefault, a) || d.own.has(a):
		return closed
	}
	if wraps {
		return d.judge(inner)
	}
	return open
}

// embedded is the IPv4 address that a translator would make of an IPv6 one: NAT64 (RFC 6052) and 6to4 (RFC 3056).
func embedded(a netip.Addr) (netip.Addr, bool) {
	if !a.Is6() {
		return a, false
	}
	b := a.As16()
	switch {
	case nat64.Contains(a):
		return netip.AddrFrom4([4]byte(b[12:])), true
	case sixToFour.Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	}
	return a, false
}

var (
	nat64     = netip.MustParsePrefix("64:ff9b::/96")
	sixToFour = netip.MustParsePrefix("2002::/16")
)

// ownAddresses remembers this host's addresses for a while.
type ownAddresses struct {
	mu    sync.Mutex
	read  time.Time
	addrs map[netip.Addr]bool
}

// ownLife is how long the list of this host's addresses is believed.
const ownLife = 30 * time.Second

func (o *ownAddresses) has(a netip.Addr) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.addrs == nil || time.Since(o.read) > ownLife {
		if now, err := interfaceAddrs(); err == nil {
			o.addrs, o.read = now, time.Now()
		} // else those of before hold: clients can use up the descriptors that it takes to list them
	}
	return o.addrs[a]
}

// interfaceAddrs lists this host's addresses. What can't be listed isn't known as ours; the prefixes still hold.
func interfaceAddrs() (map[netip.Addr]bool, error) {
	list, err := net.InterfaceAddrs()
	all := map[netip.Addr]bool{}
	for _, ifa := range list {
		if n, ok := ifa.(*net.IPNet); ok {
			if a, ok := netip.AddrFromSlice(n.IP); ok {
				all[a.Unmap()] = true
			}
		}
	}
	return all, err
}
