// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"fmt"
	"net/netip"
)

// way checks the way by one link to one concentrator, up to the second subflow. suffix tells several apart.
func way(l Link, c Concentrator, suffix string) []Node {
	name := func(check string) string { return "link " + l.Name + "/" + check + suffix }
	at := func(check func(*World, Link, Concentrator) Result) func(*World) Result {
		return func(w *World) Result { return check(w, l, c) }
	}
	return []Node{
		{name("source route"), "link " + l.Name + "/route", at(checkSource)},
		{name("concentrator reachable"), name("source route"), at(checkConnect)},
		{name("path mtu"), name("concentrator reachable"), at(checkPathMTU)},
		{name("address as seen"), name("concentrator reachable"), at(checkSeen)},
		{name("convert answers"), name("concentrator reachable"), at(checkInfo)},
		{name("syn data"), name("convert answers"), at(checkSYNData)},
		{name("mptcp kept"), name("convert answers"), at(checkKept)},
		{name("join"), name("mptcp kept"), at(checkJoin)},
	}
}

// idle is the reason not to probe, if there is one.
func idle(l Link, missing bool) (Result, bool) {
	switch {
	case missing:
		return skip("no probe in this run"), true
	case l.Idle:
		return skip("metered and not in use: nothing is sent"), true
	}
	return Result{}, false
}

func checkSource(w *World, l Link, c Concentrator) Result {
	from := l.Addr(c.Addr.Addr())
	if !from.IsValid() {
		return skip("%s has no address of the family of %s", l.Device, c.Addr.Addr())
	}
	if w.Route == nil {
		return skip("routes are not asked in this run")
	}
	device, err := w.Route(from, c.Addr.Addr())
	if err != nil {
		return fail(fmt.Sprintf("no route from %s to %s: %v", from, c.Addr.Addr(), err), "The rule or the table of this link is missing. Is the daemon running?", fmt.Sprintf("ip rule; ip route get %s from %s", c.Addr.Addr(), from))
	}
	if device != l.Device {
		return fail(fmt.Sprintf("packets from %s leave by %s instead of %s", from, device, l.Device),
			"The link's own routing table is not in force: another program's rule goes before ours, or the daemon does not run.", fmt.Sprintf("ip rule; ip route get %s from %s", c.Addr.Addr(), from))
	}
	return ok("packets from %s leave by %s", from, device)
}

func checkConnect(w *World, l Link, c Concentrator) Result {
	if r, yes := idle(l, w.Connect == nil); yes {
		return r
	}
	took, err := w.Connect(l, c)
	if err != nil {
		return fail(fmt.Sprintf("no TCP connection to %s by %s: %v", c.Addr, l.Device, err),
			"If it fails by all links, the concentrator is down or its firewall does not know us; if by this one only, this provider blocks the port or the line is dead.",
			fmt.Sprintf("ping -I %s %s", l.Device, c.Addr.Addr()))
	}
	return ok("%s answers within %d ms", c.Addr, took.Milliseconds())
}

func checkPathMTU(w *World, l Link, c Concentrator) Result {
	if r, yes := idle(l, w.PathMTU == nil); yes {
		return r
	}
	n, err := w.PathMTU(l, c)
	switch {
	case err != nil:
		return warn(fmt.Sprintf("the path MTU is not known: %v", err), "If large transfers stall while small ones work, lower the MTU of the link.", fmt.Sprintf("ip link set %s mtu %d", l.Device, leastMTU))
	case n < l.MTU:
		return warn(fmt.Sprintf("packets of %d octets arrive, the link thinks %d", n, l.MTU), "Lower the link's MTU to what the path carries: it saves a stall at the start of connections.", fmt.Sprintf("ip link set %s mtu %d", l.Device, n))
	}
	return ok("packets of %d octets arrive", n)
}

// checkSeen compares with the other links: two that are seen from one address share their line.
func checkSeen(w *World, l Link, c Concentrator) Result {
	if r, yes := idle(l, w.SeenFrom == nil); yes {
		return r
	}
	seen, err := w.SeenFrom(l, c)
	if err != nil {
		return skip("the other end does not tell: %v", err)
	}
	if w.seen == nil {
		w.seen = map[netip.Addr]string{}
	}
	if other, taken := w.seen[seen]; taken && other != l.Name {
		return warn(fmt.Sprintf("seen from %s, as link %s is", seen, other), "Both links leave by the same line: bonding brings nothing, and both fail together. Look at the modem's routes, or at a router before us.", "ip rule; ip route show table all")
	}
	w.seen[seen] = l.Name
	switch {
	case seen == l.Addr(seen):
		return ok("seen from its own address, no NAT")
	case carrierGrade.Contains(l.Addr(seen)):
		return ok("seen from %s: behind the provider's NAT", seen)
	}
	return ok("seen from %s: behind a NAT", seen)
}

// carrierGrade is the shared address space of providers' NATs (RFC 6598).
var carrierGrade = netip.MustParsePrefix("100.64.0.0/10")

func checkInfo(w *World, l Link, c Concentrator) Result {
	if c.Protocol != "convert" {
		return skip("the concentrator speaks %s", c.Protocol)
	}
	if r, yes := idle(l, w.Info == nil); yes {
		return r
	}
	what, err := w.Info(l, c)
	if err != nil {
		return fail(fmt.Sprintf("no Convert answer from %s: %v", c.Addr, err),
			"Something listens there but does not speak RFC 8803 with us: wrong port, a client address that is not allowed, or a cookie that is asked for.", fmt.Sprintf("nc %s %d", c.Addr.Addr(), c.Addr.Port()))
	}
	return ok("%s", what)
}

func checkSYNData(w *World, l Link, c Concentrator) Result {
	if r, yes := idle(l, w.SYNData == nil); yes {
		return r
	}
	accepted, err := w.SYNData(l, c)
	switch {
	case err != nil:
		return warn(fmt.Sprintf("data in the SYN ends in an error: %v", err), "Spillway connects first and sends then, at one round trip more. Set fast_open = \"never\" to stop trying.", "nstat -as TcpExtTCPFastOpenActiveFail")
	case !accepted:
		return warn("data in the SYN is not accepted by this link", "The concentrator's fast open is off, or this provider drops such packets. Spillway connects first and sends then, at one round trip more.", "sysctl net.ipv4.tcp_fastopen")
	}
	return ok("data in the SYN is accepted")
}

func checkKept(w *World, l Link, c Concentrator) Result {
	if r, yes := idle(l, w.MPTCP == nil); yes {
		return r
	}
	kept, err := w.MPTCP(l, c)
	switch {
	case err != nil:
		return fail(fmt.Sprintf("no MPTCP connection to %s: %v", c.Addr, err), "TCP works here, MPTCP does not even connect: a middlebox drops what it does not know.", "nstat -as | grep MPTcp")
	case !kept:
		return fail("the connection falls back to plain TCP: no bonding for what starts here", "The concentrator has no MPTCP, or this provider's middlebox strips its options. Try another access point name (APN), port or provider; let connections start on another link.", "nstat -as | grep -i fallback")
	}
	return ok("MPTCP is kept")
}

func checkJoin(w *World, l Link, c Concentrator) Result {
	if r, yes := idle(l, w.Join == nil); yes {
		return r
	}
	if !l.Joins {
		return skip("not in use now: no connection is to get a subflow here")
	}
	from := -1
	for i, o := range w.Links {
		if o.Name != l.Name && !o.Idle && o.Dead == "" && o.Carrier && o.Addr(c.Addr.Addr()).IsValid() {
			from = i
			break
		}
	}
	if from < 0 {
		return skip("no other link is in use, on which a connection could begin")
	}
	joined, err := w.Join(w.Links[from], l, c)
	switch {
	case err != nil:
		return fail(fmt.Sprintf("no second subflow by %s: %v", l.Device, err), "The limits of either end are too small, or a firewall before the concentrator wants each subflow to be known.", "ip mptcp limits show; nstat -as | grep MPJoin")
	case !joined:
		return fail("a second subflow by "+l.Device+" is refused", "The concentrator's limit of subflows is reached, or its firewall drops the join.", "ip mptcp limits show; nstat -as | grep MPJoin")
	}
	return ok("joins a connection of link %s", w.Links[from].Name)
}
