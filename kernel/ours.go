// SPDX-License-Identifier: Apache-2.0

// Package kernel is the only writer of kernel state: it makes the kernel hold what it is told to hold (nft table,
// routing rules and tables, MPTCP endpoints and limits, sysctls), repairs what others removed, and takes everything
// away at the end. What the kernel holds is read each time, never remembered, so that a restart in an unchanged
// world performs no operation.
package kernel

import (
	"net/netip"

	"spillway/mptcp"
)

// Every number in the kernel that is ours. Others' numbers on an OpenWrt router, to stay clear of:
//
//	mwan3      mark mask 0x3f00; tables 1..250 (the interface's id); rules 1001.., 2001.., 3001..
//	pbr        mark mask 0x00ff0000; tables from 256 up; rules just below 30000
//	netifd     ip4table/ip6table as the user chose (101..); rules 10000, 20000, 90000 + ifindex
//	tailscale  mark mask 0x00ff0000; table 52; rules 5210..5270
//	sqm        conntrack marks in the low octets
//	kernel     rules 0, 32766, 32767; tables 253..255
const (
	// TableName is the nft table, family inet.
	TableName = "spillway"

	// MarkLocal is the one bit of the firewall mark, which is also its mask, of packets that the relay's own sockets
	// are to receive though their destination is elsewhere; of the conntrack mark too, of connections that it receives.
	MarkLocal = 0x10000000
	// MarkDial is the bit for the relay's own connections that must not be taken for LAN traffic by another
	// package's rules: a mark for DialOptions.Mark and for the administrator to match. We match it nowhere.
	//
	// On a LAN host's SYN between the chains prerouting and held it has another meaning (Table.Queue): alone, that the SYN is
	// for the relay; with MarkLocal, that it is to be reset; MarkLocal alone, that its destination is unreachable.
	MarkDial = 0x20000000
	// MarkRule is the mask of the bits by which nft tells the relay which rule took a connection: the socket that is accepted
	// inherits its SYN's mark (tcp_fwmark_accept). RuleMark makes such a mark.
	MarkRule = 0xcf000000
	// MaxRules is how many rules of the relay's can be told apart; 0 is none.
	MaxRules = 63

	// QueueNumber is the packet queue of held SYNs, of 65536.
	QueueNumber = 7700

	// MaxLinks is how many links the numbers below leave room for.
	MaxLinks = 32

	// tableLocal holds `local default dev lo`: a marked packet is ours whatever its destination.
	tableLocal = 7700
	// tableLink + the link's index holds the link's default route.
	tableLink = 7701

	// priorityLocal precedes mwan3's first rule (1001), which would route the marked packet away.
	priorityLocal = 900
	// priorityReply is where the SYN-ACK of such a connection, which still bears the SYN's mark, finds the way to its LAN
	// host, whatever other packages' rules make of their bits in it.
	priorityReply = 901
	// priorityLink + 2 × the link's index, and the one after it, are the link's `from` rules. They precede mwan3's mark
	// rules (2001) and netifd's (10000): the source address that a subflow is bound to decides.
	priorityLink = 910

	// endpointID - 2 × the link's index is the endpoint of its IPv4 address, one less that of its IPv6 address. The kernel
	// numbers other people's endpoints upwards from the highest id there has been, and from 1 when that is 255: ours
	// stand at the end, where nobody is numbered into them.
	endpointID = 255

	// protocol tags our routes and rules (rtm_protocol, FRA_PROTOCOL), so that somebody else's route in our table or
	// rule at our priority is told apart and left alone. Not in /etc/iproute2/rt_protos, which ends at 192.
	protocol = 213
)

// EndpointID is the fixed MPTCP endpoint id of a link's address; link is its index in the configuration.
func EndpointID(link int, v6 bool) uint8 {
	id := endpointID - 2*link
	if v6 {
		id--
	}
	return uint8(id)
}

// LinkOfEndpoint is the inverse of EndpointID; ok is false for an id that isn't ours.
func LinkOfEndpoint(id uint8) (link int, v6, ok bool) {
	down := endpointID - int(id)
	return down / 2, down%2 == 1, down < 2*MaxLinks
}

// ourEndpoint tells an endpoint as LinkEndpoint makes it from somebody's that came by an id of ours.
func ourEndpoint(e mptcp.Endpoint) bool {
	_, v6, ok := LinkOfEndpoint(e.ID)
	return ok && e.Addr.Is6() == v6 && e.Port == 0 && e.IfIndex != 0 && e.Flags&^mutableFlags == mptcp.FlagSubflow
}

// LinkTable is the number of the routing table of a link.
func LinkTable(link int) uint32 { return uint32(tableLink + link) }

// LinkRules are the rules that make packets with the link's source address addr leave by the link. The more specific
// routes of table main come first, else an answer from that address to the LAN would leave by the link as well.
func LinkRules(link int, addr netip.Addr) []Rule {
	addr = plain(addr)
	p := uint32(priorityLink + 2*link)
	return []Rule{
		{Priority: p, V6: addr.Is6(), From: addr, Table: tableMain, SuppressDefault: true},
		{Priority: p + 1, V6: addr.Is6(), From: addr, Table: LinkTable(link)},
	}
}

// LinkRoute is the link's own default route. gateway is the zero Addr on a point-to-point link or where the default
// route is on-link; src is the link's source address, which also says the family.
func LinkRoute(link, ifindex int, gateway, src netip.Addr) Route {
	gateway, src = plain(gateway), plain(src)
	return Route{Table: LinkTable(link), V6: src.Is6(), Gateway: gateway, Index: ifindex, Src: src}
}

// LinkEndpoint is the link's MPTCP endpoint for its address.
func LinkEndpoint(link, ifindex int, addr netip.Addr, backup bool) mptcp.Endpoint {
	addr = plain(addr)
	e := mptcp.Endpoint{ID: EndpointID(link, addr.Is6()), Addr: addr, IfIndex: ifindex, Flags: mptcp.FlagSubflow}
	if backup {
		e.Flags |= mptcp.FlagBackup
	}
	return e
}

// plain is an address as the kernel tells it, so that want and have compare equal: the device is named apart.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// RuleMark is the mark of the relay's rule n, 1 to MaxRules. Its bits lie on both sides of MarkLocal and MarkDial, where
// no other package's masks are.
func RuleMark(n int) uint32 { return uint32(n&15)<<24 | uint32(n>>4&3)<<30 }

// LocalRules and LocalRoutes deliver marked packets from these interfaces to the relay's sockets. v6 is false where the
// kernel has no IPv6.
func LocalRules(interfaces []string, v6 bool) []Rule {
	var rules []Rule
	for _, family := range []bool{false, true} {
		if family && !v6 {
			break
		}
		for _, name := range interfaces {
			rules = append(rules, Rule{Priority: priorityLocal, V6: family, Iif: name, Mark: MarkLocal, Mask: MarkLocal, Table: tableLocal})
		}
		rules = append(rules, Rule{Priority: priorityReply, V6: family, Mark: MarkLocal, Mask: MarkLocal, Table: tableMain, SuppressDefault: true})
	}
	return rules
}

// LocalRoutes are the routes of the table that LocalRules names.
func LocalRoutes(v6 bool) []Route {
	routes := []Route{{Table: tableLocal, Local: true, Index: loopbackIndex}}
	if v6 {
		routes = append(routes, Route{Table: tableLocal, V6: true, Local: true, Index: loopbackIndex})
	}
	return routes
}

const (
	tableMain     = 254
	loopbackIndex = 1 // of lo, in every namespace
)

// OwnTable tells whether a routing table is one that we fill: its routes are no evidence of a way out.
func OwnTable(t uint32) bool { return ourTable(t) }

func ourTable(t uint32) bool { return t >= tableLocal && t < tableLink+MaxLinks }

func ourPriority(p uint32) bool {
	return p == priorityLocal || p == priorityReply || p >= priorityLink && p < priorityLink+2*MaxLinks
}
