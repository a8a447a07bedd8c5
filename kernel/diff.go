// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"spillway/mptcp"
)

// Op is one change of the kernel's state; it prints as the command that would do it. Only the field that Kind
// names is set.
type Op struct {
	Kind       OpKind
	Key, Value string // SetSysctl
	Limits     mptcp.Limits
	Route      Route
	Rule       Rule
	Endpoint   mptcp.Endpoint
	Ruleset    Ruleset
}

// OpKind is what an Op does.
type OpKind uint8

// The kinds.
const (
	SetSysctl OpKind = iota
	SetLimits
	AddRoute
	DelRoute
	AddRule
	DelRule
	AddEndpoint
	DelEndpoint
	SetFlags // of Endpoint, to Endpoint.Flags
	LoadTable
	DelTable
)

func (o Op) String() string {
	switch o.Kind {
	case SetSysctl:
		return fmt.Sprintf("sysctl %s=%s", o.Key, o.Value)
	case SetLimits:
		return fmt.Sprintf("ip mptcp limits set subflows %d add_addr_accepted %d", o.Limits.Subflows, o.Limits.AddAddrs)
	case AddRoute:
		return verb(o.Route.String(), "route", "add")
	case DelRoute:
		return verb(o.Route.String(), "route", "del")
	case AddRule:
		return verb(o.Rule.String(), "rule", "add")
	case DelRule:
		return verb(o.Rule.String(), "rule", "del")
	case AddEndpoint:
		return "ip mptcp endpoint add " + endpointString(o.Endpoint)
	case DelEndpoint:
		return fmt.Sprintf("ip mptcp endpoint del id %d %v", o.Endpoint.ID, o.Endpoint.Addr)
	case SetFlags:
		flag := "nobackup"
		if o.Endpoint.Flags&mptcp.FlagBackup != 0 {
			flag = "backup"
		}
		return fmt.Sprintf("ip mptcp endpoint change id %d %s", o.Endpoint.ID, flag)
	case LoadTable:
		return fmt.Sprintf("nft load table inet %s (%s)", TableName, o.Ruleset.Mark)
	case DelTable:
		return "nft delete table inet " + TableName
	}
	return "unknown operation"
}

// verb puts the verb behind the object: "ip -6 route default" becomes "ip -6 route add default".
func verb(line, object, verb string) string {
	return strings.Replace(line, object, object+" "+verb, 1)
}

func endpointString(e mptcp.Endpoint) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v", e.Addr)
	if e.Port != 0 {
		fmt.Fprintf(&b, " port %d", e.Port)
	}
	fmt.Fprintf(&b, " id %d", e.ID)
	if e.IfIndex != 0 {
		fmt.Fprintf(&b, " dev %d", e.IfIndex)
	}
	for i, name := range []string{"signal", "subflow", "backup", "fullmesh", "implicit", "laminar"} {
		if e.Flags&(1<<i) != 0 {
			b.WriteString(" " + name)
		}
	}
	return b.String()
}

// Diff tells what leads from have to want, in the order in which traffic is hurt least. It is empty when nothing
// differs. A zero want.Limits asks for no change, and so does a sysctl that want does not name: their earlier values
// are known to the Reconciler alone. A sysctl that have does not name does not exist: its device has gone, or is yet to come.
func Diff(have, want State) []Op {
	var ops []Op
	empty := want.Ruleset.Mark == "" && len(want.Endpoints) == 0
	settings := diffSettings(have, want)
	// Sysctls and limits count for connections and subflows to come, so they are in place before an endpoint makes
	// subflows; at the end they stay until nothing of ours needs them.
	if !empty {
		ops = append(ops, settings...)
	}
	// A route before the rule that leads to it: a rule to an empty table sends packets on to the next rule, out of the
	// wrong link. Both before the endpoints, whose SYNs leave at once.
	addRoutes, delRoutes := diffSet(have.Routes, want.Routes, compareRoutes)
	for _, r := range addRoutes {
		ops = append(ops, Op{Kind: AddRoute, Route: r})
	}
	addRules, delRules := diffSet(have.Rules, want.Rules, compareRules)
	for _, r := range addRules {
		ops = append(ops, Op{Kind: AddRule, Rule: r})
	}
	carry, drop := diffEndpoints(have.Endpoints, want.Endpoints)
	ops = append(ops, carry...)
	// The table leads LAN traffic to the relay. It goes before the relay's ways out and while marked packets find home; it
	// is loaded when these stand, and after a dead link's endpoint is gone: nft takes up to 0.1 s, a failover must not.
	if have.Ruleset.Mark != want.Ruleset.Mark && want.Ruleset.Mark == "" {
		ops = append(ops, Op{Kind: DelTable})
	}
	ops = append(ops, drop...)
	if have.Ruleset.Mark != want.Ruleset.Mark && want.Ruleset.Mark != "" {
		ops = append(ops, Op{Kind: LoadTable, Ruleset: want.Ruleset})
	}
	// A rule before its route, for the same reason as above.
	for _, r := range delRules {
		ops = append(ops, Op{Kind: DelRule, Rule: r})
	}
	for _, r := range delRoutes {
		ops = append(ops, Op{Kind: DelRoute, Route: r})
	}
	if empty {
		ops = append(ops, settings...)
	}
	return ops
}

func diffSettings(have, want State) []Op {
	var ops []Op
	for _, key := range slices.Sorted(maps.Keys(want.Sysctls)) {
		if value, ok := have.Sysctls[key]; ok && value != want.Sysctls[key] {
			ops = append(ops, Op{Kind: SetSysctl, Key: key, Value: want.Sysctls[key]})
		}
	}
	if want.Limits != (mptcp.Limits{}) && have.Limits != want.Limits {
		ops = append(ops, Op{Kind: SetLimits, Limits: want.Limits})
	}
	return ops
}

// diffSet is what to add and what to remove. A changed route or rule is an added and a removed one: both stand for a
// moment, so that no packet finds neither.
func diffSet[T comparable](have, want []T, by func(a, b T) int) (add, del []T) {
	for _, w := range sorted(want, by) {
		if !slices.Contains(have, w) {
			add = append(add, w)
		}
	}
	for _, h := range sorted(have, by) {
		if !slices.Contains(want, h) {
			del = append(del, h)
		}
	}
	return add, del
}

// mutableFlags are those that SET_FLAGS can change on a living endpoint.
const mutableFlags = mptcp.FlagBackup | mptcp.FlagFullmesh

// diffEndpoints orders the endpoints' changes: a link that shall carry does (carry) before one that shall not stops (drop).
func diffEndpoints(have, want []mptcp.Endpoint) (carry, drop []Op) {
	want = sorted(want, compareEndpoints)
	have = sorted(have, compareEndpoints)
	var promote, demote, clear, add, del []Op
	keep := map[mptcp.Endpoint]bool{} // of have
	var fresh []mptcp.Endpoint
	for _, w := range want {
		i := slices.IndexFunc(have, func(h mptcp.Endpoint) bool {
			flags := (h.Flags ^ w.Flags) &^ mutableFlags
			h.Flags = w.Flags
			return h == w && flags == 0
		})
		switch {
		case i < 0:
			fresh = append(fresh, w)
		case have[i].Flags == w.Flags:
			keep[have[i]] = true
		case have[i].Flags&mptcp.FlagBackup != 0 && w.Flags&mptcp.FlagBackup == 0:
			keep[have[i]] = true
			promote = append(promote, Op{Kind: SetFlags, Endpoint: w})
		default:
			keep[have[i]] = true
			demote = append(demote, Op{Kind: SetFlags, Endpoint: w})
		}
	}
	for _, h := range have {
		if keep[h] {
			continue
		}
		// The kernel refuses a second endpoint with the same id or the same address: such a one must go first.
		if slices.ContainsFunc(fresh, func(w mptcp.Endpoint) bool { return w.ID == h.ID || w.Addr == h.Addr && w.Port == h.Port }) {
			clear = append(clear, Op{Kind: DelEndpoint, Endpoint: h})
		} else {
			del = append(del, Op{Kind: DelEndpoint, Endpoint: h})
		}
	}
	for _, w := range fresh {
		add = append(add, Op{Kind: AddEndpoint, Endpoint: w})
	}
	return slices.Concat(promote, clear, add), slices.Concat(demote, del)
}
