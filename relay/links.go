// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"math/rand/v2"
	"net/netip"
)

// links lists the links on which a connection of an action may begin, the preferred one first.
func (p *Plan) links(a Action) []*PlanLink {
	var list []*PlanLink
	add := func(i int) {
		if i < 0 || i >= len(p.Links) {
			return
		}
		l := &p.Links[i]
		if !l.Usable || a == NoLTE && l.Metered {
			return
		}
		for _, have := range list {
			if have == l {
				return
			}
		}
		if list == nil {
			list = make([]*PlanLink, 0, len(p.Links))
		}
		list = append(list, l)
	}
	if a == Primary {
		add(p.Primary)
		return list
	}
	if a == Bond && p.First < 0 {
		return nil
	}
	add(p.start())
	for i := range p.Links {
		if !p.Links[i].Metered {
			add(i)
		}
	}
	for i := range p.Links {
		add(i)
	}
	return list
}

// start is the link on which a connection begins: drawn by the links' weights, or the first where none has one; -1: none.
func (p *Plan) start() int {
	sum := 0
	for i := range p.Links {
		sum += p.Links[i].Weight
	}
	if sum > 0 {
		at := rand.IntN(sum)
		for i := range p.Links {
			if at -= p.Links[i].Weight; at < 0 {
				return i
			}
		}
	}
	return p.First
}

// source is the address to use towards a; ok is false when the link has none of its family.
func (l *PlanLink) source(a netip.Addr) (local netip.Addr, ok bool) {
	if l.Device == "" && !l.Addr4.IsValid() && !l.Addr6.IsValid() {
		return netip.Addr{}, true
	}
	if a.Unmap().Is4() {
		return l.Addr4, l.Addr4.IsValid()
	}
	return l.Addr6, l.Addr6.IsValid()
}
