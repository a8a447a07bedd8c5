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

// TableName is the nft table, family inet.
const TableName = "spillway"

// Numbers are those of ours in the kernel, where others keep theirs too. Others' on an OpenWrt router, of which the usual ones stay clear:
//
//	mwan3      mark mask 0x3f00; tables 1..250 (the interface's id); rules 1001.., 2001.., 3001..
//	pbr        mark mask 0x00ff0000; tables from 256 up; rules just below 30000
//	netifd     ip4table/ip6table as the user chose (101..); rules 10000, 20000, 90000 + ifindex
//	tailscale  mark mask 0x00ff0000; table 52; rules 5210..5270
//	sqm        conntrack marks in the low octets
//	kernel     rules 0, 32766, 32767; tables 253..255
type Numbers struct {
	// Mark is the mask of our eight bits of the firewall mark.
	Mark uint32
	// Table is the first of TableCount routing tables. It holds `local default dev lo`: a marked packet is ours whatever its
	// destination. The link's, with its default route, is the one after it plus the link's index.
	Table uint32
	// Priority is the first of PriorityCount rules. It should precede mwan3's first rule (1001), which would route a marked packet
	// away, and its mark rules (2001) and netifd's (10000): the source address that a subflow is bound to decides.
	Priority uint32
	// Endpoint is the highest of EndpointCount MPTCP endpoint ids. The kernel numbers other people's endpoints upwards from the highest
	// id there has been, and from 1 when that is 255: ours usually stand at the end, where nobody is numbered into them.
	Endpoint uint8
}

// Usual are the numbers unless configured otherwise.
func Usual() Numbers { return Numbers{Mark: 0xff000000, Table: 7700, Priority: 900, Endpoint: 255} }

// How many of each are ours from Numbers on.
const (
	// MaxLinks is how many links the numbers leave room for.
	MaxLinks      = 32
	TableCount    = 1 + MaxLinks
	PriorityCount = firstLink + 2*MaxLinks
	EndpointCount = 2 * MaxLinks
	// MaxRules is how many rules of the relay's can be told apart by their marks; 0 is none.
	MaxRules = 63
	// QueueNumber is the packet queue of held SYNs, of 65536.
	QueueNumber = 7700
)

// Rules' priorities, from Numbers.Priority on.
const (
	replyRule = 1  // by which the SYN-ACK of a marked connection, which still bears the SYN's mark, finds the way to its LAN host
	firstLink = 10 // + 2 × the link's index, and the one after it: the link's `from` rules
)

// protocol tags our routes and rules (rtm_protocol, FRA_PROTOCOL), so that somebody else's route in our table or rule at our priority
// is told apart and left alone. Not in /etc/iproute2/rt_protos, which ends at 192.
const protocol = 213

// bit is one of the eight bits of the mark, from the lowest.
func (n Numbers) bit(i int) uint32 {
	m := n.Mark
	for range i {
		m &= m - 1
	}
	return m & -m
}

// MarkLocal is the one bit of the firewall mark, which is also its mask, of packets that the relay's own sockets are to receive though
// their destination is elsewhere; of the conntrack mark too, of connections that it receives.
func (n Numbers) MarkLocal() uint32 { return n.bit(4) }

// MarkDial is the bit for the relay's own connections that must not be taken for LAN traffic by another package's rules: a mark for
// DialOptions.Mark and for the administrator to match. We match it nowhere, but on a LAN host's SYN between the chains prerouting and held
// (Table.Queue): alone it says there that the SYN is for the relay, with MarkLocal that it is to be reset; MarkLocal alone, that its
// destination is unreachable.
func (n Numbers) MarkDial() uint32 { return n.bit(5) }

// MarkRule is the mask of the bits by which nft tells the relay which rule took a connection: the socket that is accepted inherits
// its SYN's mark (tcp_fwmark_accept). RuleMark makes such a mark.
func (n Numbers) MarkRule() uint32 { return n.Mark &^ (n.bit(4) | n.bit(5)) }

// RuleMark is the mark of the relay's rule k, 1 to MaxRules.
func (n Numbers) RuleMark(k int) uint32 {
	var m uint32
	for i, b := range [6]int{0, 1, 2, 3, 6, 7} {
		if k>>i&1 != 0 {
			m |= n.bit(b)
		}
	}
	return m
}

// EndpointID is the fixed MPTCP endpoint id of a link's address; link is its index in the configuration.
func (n Numbers) EndpointID(link int, v6 bool) uint8 {
	id := int(n.Endpoint) - 2*link
	if v6 {
		id--
	}
	return uint8(id)
}

// LinkOfEndpoint is the inverse of EndpointID; ok is false for an id that isn't ours.
func (n Numbers) LinkOfEndpoint(id uint8) (link int, v6, ok bool) {
	down := int(n.Endpoint) - int(id)
	return down / 2, down%2 == 1, down >= 0 && down < EndpointCount
}

// ourEndpoint tells an endpoint as LinkEndpoint makes it from somebody's that came by an id of ours.
func (n Numbers) ourEndpoint(e mptcp.Endpoint) bool {
	_, v6, ok := n.LinkOfEndpoint(e.ID)
	return ok && e.Addr.Is6() == v6 && e.Port == 0 && e.IfIndex != 0 && e.Flags&^mutableFlags == mptcp.FlagSubflow
}

// LinkTable is the number of the routing table of a link.
func (n Numbers) LinkTable(link int) uint32 { return n.Table + 1 + uint32(link) }

// LinkRules are the rules that make packets with the link's source address addr leave by the link. The more specific
// routes of table main come first, else an answer from that address to the LAN would leave by the link as well.
func (n Numbers) LinkRules(link int, addr netip.Addr) []Rule {
	addr = plain(addr)
	p := n.Priority + firstLink + 2*uint32(link)
	return []Rule{
		{Priority: p, V6: addr.Is6(), From: addr, Table: tableMain, SuppressDefault: true},
		{Priority: p + 1, V6: addr.Is6(), From: addr, Table: n.LinkTable(link)},
	}
}

// synWindow is the receive window of a SYN by a link's own route, in segments. A connection that begins with data in the SYN should not
// offer more: Linux (6.18 for one) at the other end takes the window of such a SYN for scaled, and until that much has passed, sends beyond the
// real window over several subflows. What is beyond is thrown away here and repeated late (MPTcpExtNoDSSInWindow): 2 Mbit/s over 20 and
// 40 where the LAN host reads 12. Ten segments are what a sender may begin with (RFC 6928), so nothing is slower for it; fewer would be: the
// window grows from there, and with one it stood still on Ethernet.
const synWindow = 10

// mostWindow is the largest receive window, octets, by a link's own route: half of what the largest buffer holds, so that what waits there for something
// that was lost does not narrow it (room.go of package relay). Its scale, 2 to the 6th, makes 0.9 MB of a SYN's ten segments, which is less than a
// bonded connection offers at once, so that what the other end sends in error has room. 4.2 MB are 480 Mbit/s at 70 ms, for one connection.
const mostWindow = 0xffff << 6

// LinkRoute is the link's own default route. gateway is the zero Addr on a point-to-point link or where the default
// route is on-link; src is the link's source address, which also says the family.
func (n Numbers) LinkRoute(link, ifindex int, gateway, src netip.Addr) Route {
	gateway, src = plain(gateway), plain(src)
	return Route{Table: n.LinkTable(link), V6: src.Is6(), Gateway: gateway, Index: ifindex, Src: src, Window: synWindow, Clamp: mostWindow}
}

// LinkEndpoint is the link's MPTCP endpoint for its address.
func (n Numbers) LinkEndpoint(link, ifindex int, addr netip.Addr, backup bool) mptcp.Endpoint {
	addr = plain(addr)
	e := mptcp.Endpoint{ID: n.EndpointID(link, addr.Is6()), Addr: addr, IfIndex: ifindex, Flags: mptcp.FlagSubflow}
	if backup {
		e.Flags |= mptcp.FlagBackup
	}
	return e
}

// plain is an address as the kernel tells it, so that want and have compare equal: the device is named apart.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// LocalRules and LocalRoutes deliver marked packets from these interfaces to the relay's sockets. v6 is false where the
// kernel has no IPv6.
func (n Numbers) LocalRules(interfaces []string, v6 bool) []Rule {
	var rules []Rule
	local := n.MarkLocal()
	for _, family := range []bool{false, true} {
		if family && !v6 {
			break
		}
		for _, name := range interfaces {
			rules = append(rules, Rule{Priority: n.Priority, V6: family, Iif: name, Mark: local, Mask: local, Table: n.Table})
		}
		rules = append(rules, Rule{Priority: n.Priority + replyRule, V6: family, Mark: local, Mask: local, Table: tableMain, SuppressDefault: true})
	}
	return rules
}

// LocalRoutes are the routes of the table that LocalRules names.
func (n Numbers) LocalRoutes(v6 bool) []Route {
	routes := []Route{{Table: n.Table, Local: true, Index: loopbackIndex}}
	if v6 {
		routes = append(routes, Route{Table: n.Table, V6: true, Local: true, Index: loopbackIndex})
	}
	return routes
}

const (
	tableMain     = 254
	loopbackIndex = 1 // of lo, in every namespace
)

// OwnTable tells whether a routing table is one that we fill: its routes are no evidence of a way out.
func (n Numbers) OwnTable(t uint32) bool { return t >= n.Table && t-n.Table < TableCount }

// ourPriority leaves the eight between the local rules and the links' to whoever wants them.
func (n Numbers) ourPriority(p uint32) bool {
	d := p - n.Priority
	return p >= n.Priority && (d <= replyRule || d >= firstLink && d < PriorityCount)
}
