// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math/bits"
	"net/netip"
	"slices"

	"spillway/kernel"
	"spillway/linkmon"
	"spillway/mptcp"
	"spillway/policy"
	"spillway/relay"
)

// families tells in which address families concentrators are reached; subflows can join in these only.
type families struct{ v4, v6 bool }

// familiesOf looks at the concentrators' addresses; none known, or a transparent one: both.
func familiesOf(addrs [][]netip.AddrPort) families {
	var f families
	for _, of := range addrs {
		if len(of) == 0 {
			return families{true, true}
		}
		for _, a := range of {
			if a.Addr().Unmap().Is4() {
				f.v4 = true
			} else {
				f.v6 = true
			}
		}
	}
	return f
}

// subflowLimit is the most extra subflows of a connection; the kernel's own maximum before 7.2.
const subflowLimit = 8

// want joins what was decided with what was sensed: what the kernel should hold.
func want(n kernel.Numbers, inward []string, ruleset kernel.Ruleset, sysctls map[string]string, snap *linkmon.Snapshot, paths []pathState, f families, v6 bool) kernel.State {
	s := kernel.State{
		Ruleset: ruleset, Sysctls: sysctls, Limits: mptcp.Limits{Subflows: subflowLimit},
		Rules: n.LocalRules(inward, v6), Routes: n.LocalRoutes(v6),
	}
	for i := range snap.Links {
		l := &snap.Links[i]
		if !l.Present || !l.Up {
			continue
		}
		if l.Addr4.IsValid() && l.Route4 {
			s.Rules = append(s.Rules, n.LinkRules(i, l.Addr4)...)
			s.Routes = append(s.Routes, n.LinkRoute(i, l.Index, l.Gateway4, l.Addr4))
		}
		if l.Addr6.IsValid() && l.Route6 && v6 {
			s.Rules = append(s.Rules, n.LinkRules(i, l.Addr6)...)
			s.Routes = append(s.Routes, n.LinkRoute(i, l.Index, l.Gateway6, l.Addr6))
		}
	}
	s.Endpoints = endpoints(n, snap, paths, f)
	return s
}

// endpoints are the links' MPTCP endpoints. The kernel has no two of one address, which two modems with a network of their own may give the
// router: then there is that of the link that carries, of several the first.
func endpoints(n kernel.Numbers, snap *linkmon.Snapshot, paths []pathState, f families) []mptcp.Endpoint {
	var out []mptcp.Endpoint
	for _, want := range []endpointWant{endpointActive, endpointBackup} {
		for i := range snap.Links {
			l := &snap.Links[i]
			if paths[i].want != want || !l.Present {
				continue
			}
			for _, addr := range []netip.Addr{l.Addr4, l.Addr6} {
				taken := slices.ContainsFunc(out, func(e mptcp.Endpoint) bool { return e.Addr == addr })
				if addr.IsValid() && !taken && (addr.Is4() && f.v4 || addr.Is6() && f.v6) {
					out = append(out, n.LinkEndpoint(i, l.Index, addr, want == endpointBackup))
				}
			}
		}
	}
	return out
}

// sameAddresses tells of links that have one address, a sentence each.
func sameAddresses(links []linkmon.Link) (out []string) {
	for i := range links {
		for j := range i {
			if a := links[i].Addr4; a.IsValid() && a == links[j].Addr4 {
				out = append(out, "the links "+links[j].Name+" and "+links[i].Name+" have the same address "+a.String()+
					", so that a connection can't be on both: give one of the modems another network")
			}
		}
	}
	return out
}

// unlike is how many times the first link's capacity the others' sum must be for SYN data to do harm: the other end of a
// connection that began with SYN data takes the receive window for larger than it is (Linux 6.18), and when the slow link
// leaves a gap, what the fast one brings beyond the window is thrown away: 0.7 Mbit/s over 2 and 20, against 19 (`matrix rate-1:10`). From
// 1:2 it was not seen. Four satellite lines of 128 kbit/s carry 21 % of their sum with SYN data and all of it without
// (`scenario satellites`).
const unlike = 3

// unlikeLinks tells whether the first link is so much slower than the others that may carry, as far as capacities are known. Where
// connections begin on others too, by weight, it may be any.
func unlikeLinks(plan *policy.Plan, o *policy.Observation) bool {
	if plan.First < 0 {
		return false
	}
	if plan.Links[plan.First].Weight > 0 {
		return true
	}
	if o.Links[plan.First].DownCap <= 0 {
		return false
	}
	others := 0.0
	for i := range o.Links {
		if i != plan.First && o.Links[i].Usable {
			others += o.Links[i].DownCap
		}
	}
	return others >= unlike*o.Links[plan.First].DownCap
}

// roomFor is the receive buffer, octets, that a bonded connection needs by the links that may carry, as far as capacities are known: twice what they bring
// together within roomTime. That holds what is on its way with 0.2 s of queue, as much again that the other end has given to subflows
// beforehand, and what arrives while something lost is repeated (room.go of package relay). It is no more than a 64th of the memory, and a power
// of two, so that a capacity that is learnt seldom moves it; 0: no more than usual.
func roomFor(o *policy.Observation, memory uint64) int {
	together := 0.0
	for i := range o.Links {
		if o.Links[i].Usable {
			together += o.Links[i].DownCap / 8
		}
	}
	needed := min(2*together*roomTime, float64(memory/64), roomMost)
	if !(needed >= roomLeast) { // also what is no number
		return 0
	}
	return 1 << (bits.Len(uint(needed)) - 1)
}

const (
	roomTime  = 0.7     // s
	roomLeast = 4 << 20 // receiveBuffer makes that usual at most
	roomMost  = 16 << 20
)

// relayPlan is what the relay must know of the plan.
func relayPlan(plan *policy.Plan, snap *linkmon.Snapshot) relay.Plan {
	out := relay.Plan{First: startOn(plan), Primary: -1}
	for i := range snap.Links {
		l, p := &snap.Links[i], &plan.Links[i]
		out.Links = append(out.Links, relay.PlanLink{Name: l.Name, Device: l.Device, Index: l.Index, Addr4: l.Addr4, Addr6: l.Addr6,
			Usable: l.Usable && (p.Role >= policy.Active || p.Available), Metered: p.Metered, Weight: int(p.Weight)})
		if out.Primary < 0 && p.Primary && p.Role >= policy.Active {
			out.Primary = i
		}
	}
	return out
}

// startOn is the link on which new connections start: the first, or while that rests one that carries.
func startOn(plan *policy.Plan) int {
	if plan.First < 0 || !plan.Links[plan.First].Resting {
		return plan.First
	}
	for i := range plan.Links {
		if l := &plan.Links[i]; l.Role >= policy.Active && !l.Resting {
			return i
		}
	}
	return plan.First
}

// samePlan tells whether two plans mean the same to the relay.
func samePlan(a, b relay.Plan) bool {
	if a.First != b.First || a.NoSYNData != b.NoSYNData || a.Room != b.Room || a.Primary != b.Primary || len(a.Links) != len(b.Links) {
		return false
	}
	for i := range a.Links {
		if a.Links[i] != b.Links[i] {
			return false
		}
	}
	return true
}
