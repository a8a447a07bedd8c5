// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"spillway/doctor"
	"spillway/linkmon"
	"spillway/mptcp"
	"spillway/policy"
	"spillway/ubus/netifd"
)

// lines is what netifd says of DSL at "wan" and of mobile lines at "wwan" and "wwan2".
func lines() netifd.State {
	s := said("wan", "pppoe-wan", "wwan", "wwan0", "wwan2", "wwan1")
	for i, kind := range []netifd.Kind{netifd.DSL, netifd.LTE, netifd.LTE} {
		s.Interfaces[i].Kind = kind
	}
	return s
}

func TestRolesThatAreNotWritten(t *testing.T) {
	link := func(interfaceAndMore string) string {
		name, more, _ := strings.Cut(interfaceAndMore, " ")
		return "[[link]]\nname = \"" + name + "\"\ninterface = \"" + name + "\"\n" + strings.ReplaceAll(more, " ", "\n") + "\n"
	}
	for name, tt := range map[string]struct {
		links string // interfaces, with more keys
		want  string // roles, * with metered, ! decided by netifd's word
	}{
		"DSL and LTE":             {"wan, wwan", "primary overflow*!"},
		"LTE stands first":        {"wwan, wan", "overflow*! primary"},
		"metered is written":      {"wan, wwan metered=false", "primary overflow!"},
		"the role is written":     {"wan, wwan role=\"primary\"", "primary primary"},
		"so is another":           {"wan, wwan role=\"backup\"", "primary backup*"},
		"metered alone":           {"wan metered=true, wwan", "primary* overflow*!"},
		"LTE alone":               {"wwan", "primary!"},
		"two of LTE":              {"wwan, wwan2", "primary! overflow*!"},
		"one of them is primary":  {"wwan, wwan2 role=\"primary\"", "overflow*! primary"},
		"DSL is off":              {"wan role=\"off\", wwan", "off primary!"},
		"DSL is for backup":       {"wwan2, wwan, wan role=\"backup\"", "primary! overflow*! backup*"},
		"netifd has no such line": {"wan, other", "primary primary"},
	} {
		var text strings.Builder
		for l := range strings.SplitSeq(tt.links, ", ") {
			text.WriteString(link(l))
		}
		c := configOf(t, text.String())
		links, why := roled(c.Links, lines())
		var got []string
		for i, l := range links {
			s := l.Role
			if l.Metered {
				s += "*"
			}
			if why[i] != "" {
				s += "!"
			}
			got = append(got, s)
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %q, want %s", name, got, tt.want)
		}
		before, why := roled(c.Links, netifd.State{})
		if slices.ContainsFunc(why, func(s string) bool { return s != "" }) || before[0].Role != c.Links[0].Role {
			t.Errorf("%s: before netifd answers: %+v, %q", name, before, why)
		}
	}
}

// TestNetifdsWordComesLateAndChanges, and is told by status and doctor; what is set by hand goes before it.
func TestNetifdsWordComesLateAndChanges(t *testing.T) {
	h := houseOf(t, strings.Replace(twoByName, "role = \"overflow\"\n", "", 1))
	is := func(when string, want policy.Role, metered bool, why string) {
		t.Helper()
		role, _ := h.machine.Role(1)
		h.plan = h.machine.Step(policy.Observation{Now: time.Now(), Links: []policy.LinkObs{{Usable: true}, {Usable: true}}})
		h.snap.Links = []linkmon.Link{{Name: "dsl"}, {Name: "lte"}}
		status := h.links(time.Now())[1]
		if role != want || h.plan.Links[1].Metered != metered || status.Role != want.String() || status.RoleWhy != why {
			t.Errorf("%s: %v, metered %v, status %s %q; want %v, %v, %q", when, role, h.plan.Links[1].Metered, status.Role, status.RoleWhy, want, metered, why)
		}
	}
	const overflow = "lte is overflow, as its interface wwan is a mobile line and no role is written"
	is("at the start", policy.RolePrimary, false, "")
	h.adoptNetifd(lines())
	is("netifd answers", policy.RoleOverflow, true, overflow)
	var w doctor.World
	fillWorld(&w, h.cfg, h.network, h.snap.Links, h.addrs, mptcp.Features{})
	if i := slices.IndexFunc(doctor.Tree(&w), func(n doctor.Node) bool { return n.Name == "link lte/role" }); i < 0 || doctor.Tree(&w)[i].Check(&w).What != overflow {
		t.Errorf("doctor has it as %d", i)
	}
	cable := lines()
	cable.Interfaces[1].Kind = netifd.Unknown
	h.adoptNetifd(cable)
	is("the interface is another", policy.RolePrimary, false, "")
	h.adoptNetifd(lines())
	if err := h.set(linkRole{Link: "lte", Role: "backup"}); err != nil {
		t.Fatal(err)
	}
	is("set by hand", policy.RoleBackup, true, "")
	if err := h.set(linkRole{Link: "lte"}); err != nil {
		t.Fatal(err)
	}
	is("no longer", policy.RoleOverflow, true, overflow)
	if err := h.adopt(configOf(t, strings.Replace(twoByName, "overflow", "primary", 1))); err != nil {
		t.Fatal(err)
	}
	is("written", policy.RolePrimary, false, "")
	if err := h.adopt(configOf(t, strings.Replace(twoByName, "role = \"overflow\"\n", "", 1))); err != nil {
		t.Fatal(err)
	}
	is("no longer written", policy.RoleOverflow, true, overflow)
}
