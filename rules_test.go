// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"spillway/config"
	"spillway/kernel"
	"spillway/relay"
)

func relayed(names ...string) (out []config.Rule) {
	for _, n := range names {
		out = append(out, config.Rule{Name: n, Action: "bond"})
	}
	return out
}

// A rule keeps its number whatever comes and goes around it, and a new one gets none that was in use a moment ago.
func TestRuleNumbersStay(t *testing.T) {
	first := numberRules(append(relayed("a", "b"), config.Rule{Name: "x", Action: "bypass"}), nil)
	if want := map[string]int{"a": 1, "b": 2}; fmt.Sprint(first) != fmt.Sprint(want) {
		t.Fatalf("%v, want %v", first, want)
	}
	second := numberRules(relayed("c", "b"), first)
	if want := map[string]int{"b": 2, "c": 3}; fmt.Sprint(second) != fmt.Sprint(want) {
		t.Fatalf("%v, want %v", second, want)
	}
	numbers := second
	for i := range 200 {
		names := []string{"b"}
		for k := range kernel.MaxRules - 1 {
			names = append(names, fmt.Sprint(i/3, k))
		}
		numbers = numberRules(relayed(names...), numbers)
		seen := map[int]bool{}
		for _, n := range numbers {
			if n < 1 || n > kernel.MaxRules || seen[n] {
				t.Fatalf("round %d: %v", i, numbers)
			}
			seen[n] = true
		}
		if numbers["b"] != 2 || len(numbers) != kernel.MaxRules {
			t.Fatalf("round %d: %d rules, b is %d", i, len(numbers), numbers["b"])
		}
	}
}

// Both sides of a rule are told by the same mark.
func TestRuleHasTwoSides(t *testing.T) {
	c, err := config.Parse("x", `[lan]
interfaces = ["br-lan"]
[[link]]
name = "dsl"
device = "eth1"
[[concentrator]]
address = "198.51.100.10"
port = 5124
[[rule]]
name = "guests"
interface = ["br-guest"]
action = "block"
[[rule]]
name = "tv-box"
mac = ["00:11:22:33:44:55"]
domain = ["*.example.net"]
action = "no-lte"
`)
	if err != nil {
		t.Fatal(err)
	}
	if said := elsewhere(c.Rules, c.LAN.Interfaces); len(said) != 1 || !strings.Contains(said[0], "guests: br-guest") {
		t.Errorf("of a rule for what is no LAN: %q", said)
	}
	numbers := numberRules(c.Rules, nil)
	r := relayConfig(c, literal(c.Concentrators), numbers)
	n := nftTable(c, []string{"eth1"}, nil, numbers, 1, 2)
	if len(r.Rules) != 1 || r.Rules[0] != (relay.Rule{Name: "tv-box", Mark: kernel.Usual().RuleMark(1), Action: relay.NoLTE, Class: kernel.Usual().RuleMark(markNoLTE)}) {
		t.Errorf("relay: %+v", r.Rules)
	}
	if n.Rules[0].Number != 0 || n.Rules[0].Action != kernel.ActionBlock || n.Rules[1].Number != 1 || n.Rules[1].DomainSet != "d_tv_box" {
		t.Errorf("nft: %+v", n.Rules)
	}
	if _, err := kernel.Render(n); err != nil {
		t.Error(err)
	}
}

// TestDevicesThatAreTakenMakeATable: what config takes and nft does not would leave the table as it was, and say so in the log alone.
func TestDevicesThatAreTakenMakeATable(t *testing.T) {
	for c := range 256 {
		name := "a" + string(rune(c)) + "b"
		parsed, err := config.Parse("x", "[lan]\ninterfaces = ["+strconv.Quote(name)+"]\n[[link]]\nname = \"dsl\"\ndevice = \"eth1\"\n[[concentrator]]\naddress = \"192.0.2.1\"\nport = 1\n")
		if err != nil {
			continue
		}
		if _, err := kernel.Render(nftTable(parsed, []string{"eth1"}, nil, nil, 1, 1)); err != nil {
			t.Errorf("%q is taken: %v", name, err)
		}
	}
}
