// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"spillway/config"
	"spillway/kernel"
	"spillway/testbed/changes"
	"spillway/testbed/pages"
	"spillway/ubus/netifd"
)

// Each key's class in the reference is what a reload does with it: what applies at the next start is named, and what applies at
// once or to new connections reaches a room.
func TestEachKeyHasTheClassThatTheReferenceTells(t *testing.T) {
	all, err := changes.All()
	if err != nil {
		t.Fatal(err)
	}
	parse := func(text string) *config.Config {
		c, err := config.Parse("x.toml", text)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		return c
	}
	base := parse(config.Reference)
	for _, change := range all {
		n := 0
		if change.Table == "link" && change.Key != "device" {
			n = 1 // LTE's has quotas
		}
		c := parse(change.Apply(config.Reference, n))
		named := len(needRestart(base, c)) > 0
		if named != (change.Class == 'r') {
			t.Errorf("%s is of class %c, but a reload says %v", change.Name(), change.Class, needRestart(base, c))
		}
		if change.Class != 'r' && reflect.DeepEqual(given(base), given(c)) {
			t.Errorf("%s is of class %c, but a reload with %q gives nothing to any room", change.Name(), change.Class, change.Set)
		}
	}
}

// given is what a reload gives to the rooms.
func given(c *config.Config) []any {
	names := make([]string, len(c.Links))
	for i, l := range c.Links {
		names[i] = l.Device
	}
	addrs := make([][]netip.AddrPort, len(c.Concentrators))
	for i, u := range c.Concentrators {
		addrs[i] = append(addrs[i], netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), u.Port)) // what is resolved, or learnt
	}
	numbers := numberRules(c.Rules, nil)
	return []any{linkmonConfig(c, names), policyConfig(c, netifd.State{}), relayConfig(c, addrs, numbers), nftTable(c, names, addrs, numbers, 1, 2),
		logLevel(c.LogLevel), receiveBuffer(c.Relay.ReceiveBuffer, 1<<30), literal(c.Concentrators), sources(c)}
}

// sources is where names and learnt addresses come from, and which domains are asked for.
func sources(c *config.Config) (all []any) {
	for _, u := range c.Concentrators {
		all = append(all, u.Address, u.Learn, u.LearnCode)
	}
	for _, r := range c.Rules {
		all = append(all, r.Domain)
	}
	return all
}

// TestNoRoomRefusesWhatTheConfigurationAllows: what `check` accepts, the daemon takes. Each key at both ends of its range; the page has these, which
// a test of config's holds against the parser.
func TestNoRoomRefusesWhatTheConfigurationAllows(t *testing.T) {
	shares := changes.Change{Table: "policy", Set: []string{"overflow_enter = 0.02", "overflow_leave = 0.01"}}
	texts := []string{shares.Apply(config.Reference, 0)}
	all, err := changes.All()
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (number|kbit/s|octets|duration), (\\S+) to (\\S+) \\|")
	for section := range strings.SplitSeq(pages.Read(t, "docs/CONFIGURATION.md"), "\n## ") {
		table, rest, _ := strings.Cut(section, "\n")
		for _, m := range row.FindAllStringSubmatch(rest, -1) {
			i := slices.IndexFunc(all, func(c changes.Change) bool { return c.Name() == strings.Trim(table, "[]")+"."+m[1] })
			if i < 0 {
				t.Fatalf("no key %s of %s", m[1], table)
			}
			for _, value := range m[3:] {
				if m[2] == "duration" {
					value = strconv.Quote(value)
				}
				c := all[i]
				c.Set = append([]string{m[1] + " = " + value}, c.Set[1:]...)
				texts = append(texts, c.Apply(config.Reference, 0))
			}
		}
	}
	if len(texts) < 30 {
		t.Fatalf("%d ends of ranges", len(texts))
	}
	for _, text := range texts {
		c, err := config.Parse("x.toml", text)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		names := devicesOf(c.Links, netifd.State{})
		numbers, addrs := numberRules(c.Rules, nil), literal(c.Concentrators)
		policy, links, relay := policyConfig(c, netifd.State{}), linkmonConfig(c, names), relayConfig(c, addrs, numbers)
		_, err = kernel.Render(nftTable(c, names, addrs, numbers, 1, 2))
		if err := errors.Join(err, policy.Validate(), links.Validate(), relay.Validate()); err != nil {
			t.Errorf("%v, of\n%s", err, text)
		}
	}
}
