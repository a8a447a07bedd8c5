// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"math/rand/v2"
	"net/netip"
	"slices"
)

// links lists the links on which a connection of an action may begin, the one drawn for it first.
func (p *Plan) links(a Action) []*PlanLink { return p.linksFrom(a, p.start()) }

// linksFrom is links where the link of index start was drawn.
func (p *Plan) linksFrom(a Action, start int) []*PlanLink {
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
	add(start)
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

// begins lists the links that may be drawn as the first for connections of an action.
func (p *Plan) begins(a Action) (list []*PlanLink) {
	add := func(start int) {
		if links := p.linksFrom(a, start); len(links) > 0 && !slices.Contains(list, links[0]) {
			list = append(list, links[0])
		}
	}
	weighted := false
	for i := range p.Links {
		if p.Links[i].Weight > 0 {
			weighted = true
			add(i)
		}
	}
	if !weighted {
		add(p.First)
	}
	return list
}

// is tells whether two are one link in the same state, whatever share of the connections it has and what it costs.
func (l *PlanLink) is(o *PlanLink) bool {
	same := *o
	same.Metered, same.Weight = l.Metered, l.Weight
	return same == *l
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
