// SPDX-License-Identifier: Apache-2.0

package linkmon

import (
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// Values of IFLA_OPERSTATE that let traffic through (RFC 2863 section 3.1.14; include/uapi/linux/if.h).
const (
	operUnknown = 0 // PPP, tun and many drivers never say
	operUp      = 6
)

// look joins one reading with the configuration: the facts of each link. before holds the links as they were, so that
// an address that is still as good as any other stays the one to use. Pure.
func look(cfg Config, w world, before []Link) []Link {
	links := make([]Link, len(cfg.Links))
	for i, c := range cfg.Links {
		links[i] = lookLink(c, cfg.OwnTable, w, named(before, i, c.Name))
	}
	return links
}

func lookLink(c LinkConfig, own func(uint32) bool, w world, old Link) Link {
	l := Link{Name: c.Name, Device: c.Device}
	if d, ok := w.find(c.Device); ok {
		d.into(&l)
		l.Addr4 = w.source(l.Index, false, old.Addr4)
		l.Addr6 = w.source(l.Index, true, old.Addr6)
		l.Route4, l.Gateway4 = w.wayOut(l, l.Addr4, false, own)
		l.Route6, l.Gateway6 = w.wayOut(l, l.Addr6, true, own)
	}
	l.Reason = unusable(l)
	l.Usable = l.Reason == ""
	return l
}

// find returns the device of a name. Its own name goes before somebody's alternative name (`ip link property`).
func (w world) find(name string) (device, bool) {
	if name == "" {
		return device{}, false
	}
	for _, d := range w.devices {
		if d.name == name {
			return d, true
		}
	}
	for _, d := range w.devices {
		if slices.Contains(d.alternative, name) {
			return d, true
		}
	}
	return device{}, false
}

// into writes the facts and counters of the device into the link.
func (d device) into(l *Link) {
	l.Present, l.Index, l.MTU = true, d.index, d.mtu
	l.Up = d.flags&unix.IFF_UP != 0
	l.PointToPoint = d.flags&unix.IFF_POINTOPOINT != 0
	// The flag is of now; the operational state may follow up to a second later (net/core/link_watch.c), but knows
	// more: a VLAN whose lower device is down, a port that is not authorised yet.
	l.Carrier = l.Up && d.carrier && (d.operation == operUnknown || d.operation == operUp)
	l.RxBytes, l.TxBytes, l.RxPackets, l.TxPackets = d.rxBytes, d.txBytes, d.rxPackets, d.txPackets
}

// source picks the source address of one family on a device; zero: there is none.
func (w world) source(index int, v6 bool, before netip.Addr) netip.Addr {
	var best address
	score := -1
	for _, a := range w.addresses {
		if a.index != index || !a.usable(v6) {
			continue
		}
		s := a.score()
		if s > score || s == score && a.addr == before {
			best, score = a, s
		}
	}
	return best.addr
}

// usable tells whether connections may start from the address at all.
func (a address) usable(v6 bool) bool {
	if a.addr.Is6() != v6 || a.scope != unix.RT_SCOPE_UNIVERSE || !a.addr.IsGlobalUnicast() {
		return false
	}
	if a.flags&unix.IFA_F_DADFAILED != 0 {
		return false
	}
	tentative := a.flags&unix.IFA_F_TENTATIVE != 0 && a.flags&unix.IFA_F_OPTIMISTIC == 0
	return !tentative && a.flags&unix.IFA_F_DEPRECATED == 0 && a.preferred != 0
}

// score orders usable addresses. An address of the world goes before a private one where IPv6 has both (ULA, RFC 4193),
// and a lasting one before a temporary (RFC 8981) or secondary one: connections live as long as their address.
func (a address) score() int {
	s := 0
	if !(a.addr.Is6() && a.addr.IsPrivate()) {
		s += 2
	}
	if a.flags&unix.IFA_F_TEMPORARY == 0 { // the same bit is IFA_F_SECONDARY in IPv4
		s++
	}
	return s
}

// wayOut tells whether addr has a way out by the link, and by which gateway: the default route of the main table if
// there is one, else of another table; of several the one with the lowest metric.
func (w world) wayOut(l Link, addr netip.Addr, v6 bool, own func(uint32) bool) (bool, netip.Addr) {
	found := false
	var best route
	for _, r := range w.routes {
		if r.index != l.Index || r.v6 != v6 || own != nil && own(r.table) {
			continue
		}
		if r.source.IsValid() && !(addr.IsValid() && r.source.Contains(addr)) {
			continue
		}
		if !found || r.before(best) {
			best, found = r, true
		}
	}
	return found || l.PointToPoint && addr.IsValid(), best.gateway
}

func (r route) before(o route) bool {
	if main := r.table == unix.RT_TABLE_MAIN; main != (o.table == unix.RT_TABLE_MAIN) {
		return main
	}
	return r.priority < o.priority
}

// unusable says in words why a link can't be used, "" if it can.
func unusable(l Link) string {
	switch {
	case l.Device == "":
		return "its interface is down, or its device not known yet"
	case !l.Present:
		return "device " + l.Device + " does not exist"
	case !l.Up:
		return "device " + l.Device + " is switched off"
	case !l.Carrier:
		return "no carrier"
	case !l.Addr4.IsValid() && !l.Addr6.IsValid():
		return "no address"
	case l.Addr4.IsValid() && l.Route4, l.Addr6.IsValid() && l.Route6:
		return ""
	case l.Addr4.IsValid():
		return fmt.Sprintf("address %s has no default route by %s", l.Addr4, l.Device)
	default:
		return fmt.Sprintf("address %s has no default route by %s", l.Addr6, l.Device)
	}
}
