// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strings"
)

// writer gathers the table's parts; the text lists counters, sets, chains in this order, because nft wants a name
// declared before it is used.
type writer struct {
	counters []string
	names    map[string]string // of rules by their counters
	sets     []string          // whole declarations
	domains  []string          // names of sets with timeouts
	chains   []*chain
}

type chain struct {
	name, hook string
	lines      []string
	jumps      []string
}

func (w *writer) chain(name, hook string) *chain {
	c := &chain{name: name, hook: hook}
	w.chains = append(w.chains, c)
	return c
}

func (c *chain) add(format string, args ...any) {
	c.lines = append(c.lines, fmt.Sprintf(format, args...))
}

func (c *chain) jump(to string) {
	c.add("jump %s", to)
	c.jumps = append(c.jumps, to)
}

func (w *writer) counter(name string) {
	if !slices.Contains(w.counters, name) {
		w.counters = append(w.counters, name)
	}
}

func (w *writer) body() string {
	var b strings.Builder
	for _, name := range w.counters {
		fmt.Fprintf(&b, "\tcounter %s { }\n", name)
	}
	for _, s := range w.sets {
		b.WriteString(s)
	}
	for _, c := range w.chains {
		fmt.Fprintf(&b, "\tchain %s {\n", c.name)
		if c.hook != "" {
			fmt.Fprintf(&b, "\t\t%s\n", c.hook)
		}
		for _, line := range c.lines {
			fmt.Fprintf(&b, "\t\t%s\n", line)
		}
		b.WriteString("\t}\n")
	}
	return b.String()
}

// shape is the chains with their counts of uses as the kernel counts them: own rules and jumps from others.
func (w *writer) shape() string {
	uses := map[string]int{}
	for _, c := range w.chains {
		uses[c.name] += len(c.lines)
		for _, to := range c.jumps {
			uses[to]++
		}
	}
	return formatShape(uses)
}

func formatShape(uses map[string]int) string {
	var names []string
	for name := range uses {
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, " %s:%d", name, uses[name])
	}
	return b.String()
}

// prefixes declares the set of one family's prefixes. name is "" when any address matches, ok is false when none does.
func (w *writer) prefixes(stem string, all []netip.Prefix, v6 bool) (name string, ok bool) {
	if len(all) == 0 {
		return "", true
	}
	var own []netip.Prefix
	for _, p := range all {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		if p.Addr().Is6() == v6 {
			own = append(own, p.Masked())
		}
	}
	if len(own) == 0 {
		return "", false
	}
	name = stem + map[bool]string{false: "4", true: "6"}[v6]
	var b strings.Builder
	fmt.Fprintf(&b, "\tset %s {\n\t\ttype %s_addr\n\t\tflags interval\n\t\telements = {", name, ipv(v6))
	for i, p := range disjoint(own) {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte(' ')
		b.WriteString(p.String())
	}
	b.WriteString(" }\n\t}\n")
	w.sets = append(w.sets, b.String())
	return name, true
}

// domainSet declares a set that is filled later. Several rules may share it.
func (w *writer) domainSet(stem string, v6 bool) string {
	name := domainSetName(stem, v6)
	if !slices.Contains(w.domains, name) {
		w.domains = append(w.domains, name)
		w.sets = append(w.sets, fmt.Sprintf("\tset %s {\n\t\ttype %s_addr\n\t\tsize %d\n\t\tflags timeout\n\t\ttimeout %s\n\t}\n", name, ipv(v6), domainSize, domainTimeout))
	}
	return name
}

func domainSetName(stem string, v6 bool) string {
	return stem + map[bool]string{false: "4", true: "6"}[v6]
}

// disjoint is the prefixes in order without those that another contains: nft refuses intervals that overlap.
func disjoint(all []netip.Prefix) []netip.Prefix {
	all = slices.Clone(all)
	sort.Slice(all, func(i, j int) bool {
		return cmp.Or(all[i].Addr().Compare(all[j].Addr()), cmp.Compare(all[i].Bits(), all[j].Bits())) < 0
	})
	kept := all[:0]
	for _, p := range all {
		if len(kept) == 0 || !kept[len(kept)-1].Overlaps(p) {
			kept = append(kept, p)
		}
	}
	return kept
}

// ports is the ranges as a set, those that meet joined.
func ports(ranges []PortRange) string {
	ranges = slices.Clone(ranges)
	sort.Slice(ranges, func(i, j int) bool { return ranges[i].First < ranges[j].First })
	joined := ranges[:0]
	for _, r := range ranges {
		if n := len(joined); n > 0 && int(r.First) <= int(joined[n-1].Last)+1 {
			joined[n-1].Last = max(joined[n-1].Last, r.Last)
		} else {
			joined = append(joined, r)
		}
	}
	var out []string
	for _, r := range joined {
		if r.First == r.Last {
			out = append(out, fmt.Sprint(r.First))
		} else {
			out = append(out, fmt.Sprintf("%d-%d", r.First, r.Last))
		}
	}
	return set(out)
}

// set is an anonymous set, sorted and without repetitions, so that the order of the configuration makes no new table.
func set(elements []string) string {
	elements = slices.Clone(elements)
	slices.Sort(elements)
	return "{ " + strings.Join(slices.Compact(elements), ", ") + " }"
}

func quotedSet(names []string) string {
	var quoted []string
	for _, n := range names {
		quoted = append(quoted, `"`+n+`"`)
	}
	return set(quoted)
}

func ip(v6 bool) string {
	if v6 {
		return "ip6"
	}
	return "ip"
}

func ipv(v6 bool) string {
	if v6 {
		return "ipv6"
	}
	return "ipv4"
}
