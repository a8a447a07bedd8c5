// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// leastMTU is what each IPv6 link must carry (RFC 8200 section 5).
const leastMTU = 1280

// link checks one link as far as this router can see it.
func link(l Link) []Node {
	name := func(check string) string { return "link " + l.Name + "/" + check }
	at := func(check func(*World, Link) Result) func(*World) Result {
		return func(w *World) Result { return check(w, l) }
	}
	nodes := []Node{
		{name("device"), "", at(checkDevice)},
		{name("carrier"), name("device"), at(checkCarrier)},
		{name("address"), name("carrier"), at(checkAddress)},
		{name("route"), name("address"), at(checkRoute)},
		{name("rp_filter"), name("device"), at(checkReversePath)},
		{name("mtu"), name("device"), at(checkMTU)},
		{name("steady"), name("carrier"), at(checkSteady)},
	}
	if l.RoleWhy != "" {
		nodes = append(nodes, Node{name("role"), "", func(*World) Result { return ok("%s", l.RoleWhy) }})
	}
	return nodes
}

func checkDevice(_ *World, l Link) Result {
	switch {
	case l.Device == "":
		return fail("its device is not known", "Give the link a device, or a logical interface that netifd knows and has brought up.", "ubus call network.interface dump")
	case !l.Present:
		return fail("device "+l.Device+" does not exist", "Bring the interface up; a PPP or mobile device exists only while it is connected. Is the name right?", "ip link")
	case !l.Up:
		return fail("device "+l.Device+" is switched off", "Switch it on.", "ip link set "+l.Device+" up")
	}
	return ok("device %s is up", l.Device)
}

func checkCarrier(_ *World, l Link) Result {
	if !l.Carrier {
		return fail("device "+l.Device+" has no carrier", "Look at the cable, at the modem's sync or at the mobile registration.", "cat /sys/class/net/"+l.Device+"/carrier; logread | tail")
	}
	return ok("carrier")
}

func checkAddress(_ *World, l Link) Result {
	switch {
	case l.Addr4.IsValid() && l.Addr6.IsValid():
		return ok("addresses %s and %s", l.Addr4, l.Addr6)
	case l.Addr4.IsValid():
		return ok("address %s, no global IPv6 address", l.Addr4)
	case l.Addr6.IsValid():
		return ok("address %s, no IPv4 address", l.Addr6)
	}
	return fail("no usable address on "+l.Device, "DHCP, PPP or the router advertisement has given none, or it is still being tested or already deprecated.", "ip address show dev "+l.Device)
}

func checkRoute(_ *World, l Link) Result {
	with := func(addr netip.Addr, route bool) bool { return addr.IsValid() && route }
	if !with(l.Addr4, l.Route4) && !with(l.Addr6, l.Route6) {
		return fail("no default route by "+l.Device, "netifd makes one per interface (option defaultroute 1; give each interface its own metric). A device without gateway must be point-to-point.", "ip route show dev "+l.Device)
	}
	switch {
	case l.Gateway4.IsValid():
		return ok("default route by %s", l.Gateway4)
	case l.Gateway6.IsValid():
		return ok("default route by %s", l.Gateway6)
	}
	return ok("default route without gateway")
}

// checkReversePath computes the effective rp_filter: the stricter of "all" and the device's (Documentation/networking/ip-sysctl.rst).
func checkReversePath(w *World, l Link) Result {
	most := int64(-1)
	for _, dev := range []string{"all", l.Device} {
		if v, err := sysctl(w, "net/ipv4/conf/"+dev+"/rp_filter"); err == nil {
			if n, err := strconv.ParseInt(v, 10, 32); err == nil {
				most = max(most, n)
			}
		}
	}
	switch {
	case most == -1:
		return skip("rp_filter of %s is not known", l.Device)
	case most == 1 && w.Door == nil:
		return skip("rp_filter is strict on %s; the daemon, which does not run, makes it loose at its start", l.Device)
	case most == 1:
		return fail("rp_filter is strict on "+l.Device+": answers that come by this link while another has the better route are dropped",
			"Make it loose (2); Spillway does so at its start, somebody else has changed it since.", "sysctl -w net.ipv4.conf."+strings.ReplaceAll(l.Device, ".", "/")+".rp_filter=2")
	}
	return ok("rp_filter is %d", most)
}

func checkMTU(_ *World, l Link) Result {
	if l.MTU < leastMTU {
		return fail(fmt.Sprintf("MTU %d of %s is less than the %d that IPv6 needs", l.MTU, l.Device, leastMTU), "Set a larger MTU: 1492 is usual for PPPoE, 1500 for Ethernet, 1428 and up for mobile.", fmt.Sprintf("ip link set %s mtu 1492", l.Device))
	}
	return ok("MTU %d", l.MTU)
}

func checkSteady(_ *World, l Link) Result {
	switch {
	case l.Dead != "":
		return fail("the live connections call it dead: "+l.Dead, "The line is up but nothing comes through: restart the modem or ask the provider. It is used again once it answers.", "spillway why")
	case l.Flapping:
		return warn("it has been lost several times within a minute or two", "Look for the cause of the losses: cable, sync, mobile signal. It is used last until it stays up.", "spillway why")
	}
	return ok("steady")
}
