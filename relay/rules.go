// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// rule is a Rule made ready.
type rule struct {
	*Rule
	src, dst prefixes
	hits     *atomic.Int64
}

// newRule keeps the hits of a rule of the same name.
func newRule(r *Rule, old *settings) rule {
	n := rule{Rule: r, src: sortPrefixes(r.Src), dst: sortPrefixes(r.Dst), hits: new(atomic.Int64)}
	if old == nil || r.Name == "" {
		return n
	}
	for i := range old.rules {
		if old.rules[i].Name == r.Name {
			n.hits = old.rules[i].hits
		}
	}
	return n
}

// match gives the first rule that matches, nil without.
func (s *settings) match(src, dst netip.AddrPort, now time.Time) *rule {
	for i := range s.rules {
		if r := &s.rules[i]; r.matches(src.Addr(), dst, now) {
			r.hits.Add(1)
			return r
		}
	}
	return nil
}

func (r *rule) matches(src netip.Addr, dst netip.AddrPort, now time.Time) bool {
	return (len(r.Src) == 0 || r.src.contains(src)) &&
		(len(r.Dst) == 0 || r.dst.contains(dst.Addr())) &&
		(len(r.Ports) == 0 || slices.ContainsFunc(r.Ports, func(p PortRange) bool {
			return p.First <= dst.Port() && dst.Port() <= p.Last
		})) &&
		(r.Active == nil || r.Active(now)) &&
		(r.Domain == nil || r.Domain(dst.Addr()))
}

// prefixes are a set of prefixes, looked up in one probe for each length that occurs: thousands of them cost what
// a few do.
type prefixes struct {
	set    map[netip.Prefix]struct{}
	v4, v6 []int // lengths that occur
}

func sortPrefixes(list []netip.Prefix) prefixes {
	p := prefixes{}
	if len(list) == 0 {
		return p
	}
	p.set = make(map[netip.Prefix]struct{}, len(list))
	for _, x := range list {
		x = x.Masked()
		p.set[x] = struct{}{}
		lengths := &p.v6
		if x.Addr().Is4() {
			lengths = &p.v4
		}
		if !slices.Contains(*lengths, x.Bits()) {
			*lengths = append(*lengths, x.Bits())
		}
	}
	return p
}

func (p *prefixes) contains(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	lengths := p.v6
	if a.Is4() {
		lengths = p.v4
	}
	for _, n := range lengths {
		if x, err := a.Prefix(n); err == nil {
			if _, ok := p.set[x]; ok {
				return true
			}
		}
	}
	return false
}
