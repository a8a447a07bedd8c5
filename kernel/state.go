// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sort"
	"strings"

	"spillway/mptcp"
)

// State is what the kernel holds, or should hold, of ours: what is wanted and what was found have one type.
type State struct {
	Ruleset   Ruleset // of Render; the zero value: no table
	Routes    []Route
	Rules     []Rule
	Endpoints []mptcp.Endpoint // of LinkEndpoint
	// Limits of the MPTCP path manager; the zero value: as they were before us.
	Limits mptcp.Limits
	// Sysctls by path under /proc/sys ("net/ipv4/conf/eth0.2/rp_filter": a device's name may hold dots). One that
	// is no longer wanted goes back to what it was before us.
	Sysctls map[string]string
}

// Route is one default route in a table of ours.
type Route struct {
	Table   uint32
	V6      bool
	Local   bool       // delivers to this machine, whatever the destination
	Gateway netip.Addr // zero: none, the device alone
	Index   int        // interface
	Src     netip.Addr // zero: the kernel chooses
	Window  uint32     // segments in the receive window of a SYN (initrwnd); 0: the kernel chooses
	Clamp   uint32     // octets of a receive window at most (window), which sets its scale; 0: the kernel chooses
}

// Rule is one rule of ours that points at a routing table.
type Rule struct {
	Priority        uint32
	V6              bool
	From            netip.Addr // zero: any source
	Iif             string     // device by which a packet came in; "": any, and our own
	Mark, Mask      uint32     // Mask 0: any mark
	Table           uint32
	SuppressDefault bool // a default route found in Table does not count
}

// String prints the state as lines of ip and nft, sorted, for tests and for people.
func (s State) String() string {
	var b strings.Builder
	unset := State{Sysctls: map[string]string{}}
	for key, value := range s.Sysctls {
		unset.Sysctls[key] = value + "?"
	}
	for _, op := range Diff(unset, s) {
		fmt.Fprintln(&b, strings.Replace(op.String(), " add ", " ", 1))
	}
	return b.String()
}

func (r Route) String() string {
	var b strings.Builder
	b.WriteString(family(r.V6))
	b.WriteString(" route ")
	if r.Local {
		b.WriteString("local ")
	}
	b.WriteString("default")
	if r.Gateway.IsValid() {
		b.WriteString(" via ")
		if r.Gateway.Is6() && !r.V6 {
			b.WriteString("inet6 ")
		}
		b.WriteString(r.Gateway.String())
	}
	fmt.Fprintf(&b, " dev %d", r.Index)
	if r.Src.IsValid() {
		fmt.Fprintf(&b, " src %v", r.Src)
	}
	fmt.Fprintf(&b, " table %d", r.Table)
	if r.Window > 0 {
		fmt.Fprintf(&b, " initrwnd %d", r.Window)
	}
	if r.Clamp > 0 {
		fmt.Fprintf(&b, " window %d", r.Clamp)
	}
	return b.String()
}

func (r Rule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s rule pref %d", family(r.V6), r.Priority)
	if r.From.IsValid() {
		fmt.Fprintf(&b, " from %v", r.From)
	}
	if r.Iif != "" {
		fmt.Fprintf(&b, " iif %s", r.Iif)
	}
	if r.Mask != 0 {
		fmt.Fprintf(&b, " fwmark %#x/%#x", r.Mark, r.Mask)
	}
	fmt.Fprintf(&b, " lookup %d", r.Table)
	if r.SuppressDefault {
		b.WriteString(" suppress_prefixlength 0")
	}
	return b.String()
}

func family(v6 bool) string {
	if v6 {
		return "ip -6"
	}
	return "ip"
}

// equal tells whether two states are the same whatever the order of their parts.
func (s State) equal(o State) bool {
	return s.Ruleset.Mark == o.Ruleset.Mark && s.Limits == o.Limits && maps.Equal(s.Sysctls, o.Sysctls) &&
		slices.Equal(sorted(s.Routes, compareRoutes), sorted(o.Routes, compareRoutes)) &&
		slices.Equal(sorted(s.Rules, compareRules), sorted(o.Rules, compareRules)) &&
		slices.Equal(sorted(s.Endpoints, compareEndpoints), sorted(o.Endpoints, compareEndpoints))
}

// sorted is a sorted copy without repetitions.
func sorted[T comparable](s []T, by func(a, b T) int) []T {
	s = slices.Clone(s)
	sort.Slice(s, func(i, j int) bool { return by(s[i], s[j]) < 0 }) // slices.SortFunc costs 12 kB of flash for each type
	return slices.Compact(s)
}

func compareRoutes(a, b Route) int {
	return cmp.Or(cmp.Compare(a.Table, b.Table), compareBool(a.V6, b.V6), compareBool(a.Local, b.Local),
		a.Gateway.Compare(b.Gateway), cmp.Compare(a.Index, b.Index), a.Src.Compare(b.Src), cmp.Compare(a.Window, b.Window), cmp.Compare(a.Clamp, b.Clamp))
}

func compareRules(a, b Rule) int {
	return cmp.Or(cmp.Compare(a.Priority, b.Priority), compareBool(a.V6, b.V6), a.From.Compare(b.From),
		cmp.Compare(a.Iif, b.Iif), cmp.Compare(a.Mark, b.Mark), cmp.Compare(a.Mask, b.Mask), cmp.Compare(a.Table, b.Table), compareBool(a.SuppressDefault, b.SuppressDefault))
}

// compareEndpoints puts the first link first: the kernel makes subflows in the order of the endpoints.
func compareEndpoints(a, b mptcp.Endpoint) int {
	return cmp.Or(cmp.Compare(b.ID, a.ID), a.Addr.Compare(b.Addr), cmp.Compare(a.Port, b.Port),
		cmp.Compare(a.Flags, b.Flags), cmp.Compare(a.IfIndex, b.IfIndex))
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
