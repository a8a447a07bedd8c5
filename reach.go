// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"

	"spillway/kernel"
	"spillway/linkmon"
	"spillway/policy"
)

// reach is what a connection shall have on one link.
type reach uint8

const (
	reachNone   reach = iota // no subflow: what is there goes
	reachSilent              // what is there falls silent; nothing new
	reachSpare               // a silent subflow
	reachCarry               // a subflow that carries
)

// The classes of policy.Class, as a size.
const steerClasses = int(policy.Unmetered) + 1

// steerLink is one link as a connection sees it.
type steerLink struct {
	addr4, addr6 netip.Addr
	index        int         // of the device
	id           [2][2]uint8 // address ids by family (IPv6: 1), the usual one and another for when the kernel has that for an earlier address
	dead         bool        // nothing can be told over it
	want         [steerClasses]reach
}

// A connection's class is in the mark of its sockets: the kernel copies it to each subflow, and a successor of the daemon reads it too.
const (
	markAny     = iota // interactive or bulk, by what it moves
	markBond           // rule "bond"
	markPrimary        // rule "primary"
	markNoLTE          // rule "no-lte"
	markCount
)

// classMark is the mark of the relay's connections with one of these.
func classMark(n kernel.Numbers, class int) uint32 { return n.MarkDial() | n.RuleMark(class) }

// steerLinks joins what was decided with what was sensed, for each link.
func steerLinks(n kernel.Numbers, plan *policy.Plan, views []pathView, links []linkmon.Link) []steerLink {
	out := make([]steerLink, len(links))
	for i := range out {
		l := &links[i]
		s := &out[i]
		s.index, s.dead = l.Index, views[i].dead
		if l.Route4 {
			s.addr4 = l.Addr4
		}
		if l.Route6 {
			s.addr6 = l.Addr6
		}
		for family := range s.id {
			s.id[family] = [2]uint8{n.EndpointID(i, family == 1), n.EndpointID(i+policy.MaxLinks, family == 1)}
		}
	}
	for class := range steerClasses {
		allowed := uint32(0)
		for _, i := range plan.Allowed(policy.Class(class)) {
			allowed |= 1 << i
		}
		for i := range out {
			out[i].want[class] = reachOf(policy.Class(class), &plan.Links[i], views[i].plan, allowed>>i&1 != 0)
		}
	}
	return out
}

// reachOf is what a class shall have on a link. now is the link's state but for a moment: at rest, or to be ready as another is in doubt.
func reachOf(c policy.Class, l *policy.LinkPlan, now policy.State, allowed bool) reach {
	if c == policy.Pinned && l.Metered && l.Role != policy.First {
		allowed = false // in mode "bond" every link serves as a primary, but this rule is to save the metered ones
	}
	switch {
	case c == policy.Unmetered && l.Metered:
		return reachNone
	case allowed && (!l.Resting || c == policy.Bonded):
		return reachCarry
	case now == policy.Standby && !l.Draining && l.Role <= policy.Standby && c != policy.Pinned:
		return reachSpare
	case l.Role >= policy.Standby:
		return reachSilent
	}
	return reachNone
}

// reach is what a connection shall have on the link.
func (l *steerLink) reach(c *steered) reach {
	if l.dead {
		return reachNone
	}
	class := policy.Interactive
	switch {
	case c.mark == markBond:
		class = policy.Bonded
	case c.mark == markPrimary:
		class = policy.Pinned
	case c.mark == markNoLTE:
		class = policy.Unmetered
	case c.bulk:
		class = policy.Bulk
	}
	return l.want[class]
}

// linkAt is the link with this address; -1: none.
func linkAt(links []steerLink, a netip.Addr) int {
	for i := range links {
		if links[i].addr4 == a || links[i].addr6 == a {
			return i
		}
	}
	return -1
}
