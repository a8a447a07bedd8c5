// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite testdata")

func prefixes(s ...string) (all []netip.Prefix) {
	for _, p := range s {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}

// household is a table with one of everything.
func household() Table {
	return Table{
		Interfaces:    []string{"br-lan", "br-guest"},
		Links:         []string{"pppoe-wan", "wwan0"},
		Door4:         5000,
		Door6:         5001,
		Burst:         128,
		Concentrators: []netip.AddrPort{netip.MustParseAddrPort("198.51.100.10:5124"), netip.MustParseAddrPort("[2001:db8:c::10]:5124")},
		Rules: []TableRule{
			{Name: "work laptop", Number: 17, Action: ActionRelay, MAC: []MAC{{0, 0x11, 0x22, 0x33, 0x44, 0x55}}},
			{Name: "voip", Action: ActionBypass, Dst: prefixes("192.0.2.0/24", "192.0.2.7/32", "2001:db8:1::/48"), DSCP: []uint8{46, 34}},
			{Name: "tv", Action: ActionBypass, Src: prefixes("192.168.1.9/32"), Dst: prefixes("203.0.113.0/24"), DomainSet: "streams"},
			{Name: "tv", Action: ActionBypass, DomainSet: "streams", DstPorts: []PortRange{{443, 443}}},
			{Name: "mail", Action: ActionBlock, DstPorts: []PortRange{{25, 25}, {8000, 8100}, {8050, 8200}, {26, 26}}, Interfaces: []string{"br-guest"}},
			{Name: "all of v6", Action: ActionBypass, Dst: prefixes("::/0")},
		},
	}
}

func TestRender(t *testing.T) {
	closed := Table{Interfaces: []string{"br-lan"}, RelayNative: true}
	refuse := closed
	refuse.Door4, refuse.Door6, refuse.Refuse = 5000, 5000, true
	open := household()
	open.OpenConcentrators, open.Rules, open.Door6, open.Conntrack = true, nil, 0, true
	transparent := household()
	transparent.Transparent, transparent.Conntrack, transparent.Rules = true, true, transparent.Rules[:1]
	held := household()
	held.Queue, held.Conntrack, held.Rules = true, true, held.Rules[:1]
	for name, table := range map[string]Table{"held": held, "household": household(), "closed": closed, "refuse": refuse, "open": open, "transparent": transparent, "empty": {}} {
		t.Run(name, func(t *testing.T) {
			r, err := Render(table)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name+".nft")
			if *update {
				if err := os.WriteFile(file, []byte(r.Text()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if r.Text() != string(want) {
				t.Errorf("differs from %s (go test ./kernel -run Render -update):\n%s", file, r.Text())
			}
			again, _ := Render(table)
			if again.Mark != r.Mark {
				t.Errorf("rendered twice: %q and %q", r.Mark, again.Mark)
			}
		})
	}
}

func TestRenderRefuses(t *testing.T) {
	for _, tt := range []struct {
		rule TableRule
		want string
	}{
		{TableRule{DstPorts: []PortRange{{90, 80}}}, `rule 1 "x": port range 90-80: write the lower first, from 1`},
		{TableRule{DstPorts: []PortRange{{0, 80}}}, `rule 1 "x": port range 0-80: write the lower first, from 1`},
		{TableRule{Dst: []netip.Prefix{{}}}, `rule 1 "x": prefix invalid Prefix: write it as 192.0.2.0/24 or 2001:db8::/32`},
		{TableRule{DSCP: []uint8{64}}, `rule 1 "x": dscp 64: 0 to 63`},
		{TableRule{DomainSet: "a-b"}, `rule 1 "x": domain set "a-b": a letter, then letters, digits and _, 40 at most, not r_ at the beginning`},
		{TableRule{Interfaces: []string{`a" accept`}}, `rule 1 "x": interface "a\" accept": not a device's name`},
		{TableRule{Action: 9}, `rule 1 "x": unknown action 9`},
	} {
		tt.rule.Name = "x"
		if _, err := Render(Table{Rules: []TableRule{tt.rule}}); err == nil || err.Error() != tt.want {
			t.Errorf("%+v: %v, want %s", tt.rule, err, tt.want)
		}
	}
	if _, err := Render(Table{Rules: []TableRule{{Name: CounterRelayed}}}); err == nil {
		t.Error("a rule with a counter's name is rendered")
	}
	if _, err := Render(Table{Interfaces: []string{"a b"}}); err == nil {
		t.Error("a LAN interface with a space is rendered")
	}
}

// The order in which the configuration lists things makes no new table, so no reload.
func TestRenderIsCanonical(t *testing.T) {
	a := Table{Interfaces: []string{"b", "a"}, Rules: []TableRule{{Name: "r", Dst: prefixes("10.2.0.0/16", "10.1.0.0/16", "10.1.2.3/32", "::ffff:10.1.0.0/112")}}}
	b := Table{Interfaces: []string{"a", "b", "a"}, Rules: []TableRule{{Name: "r", Dst: prefixes("10.1.2.3/16", "10.2.0.0/16")}}}
	ra, err := Render(a)
	if err != nil {
		t.Fatal(err)
	}
	rb, err := Render(b)
	if err != nil {
		t.Fatal(err)
	}
	if ra.Mark != rb.Mark {
		t.Errorf("%s\n%s", ra.Text(), rb.Text())
	}
}

func TestCounterNamesAreSafe(t *testing.T) {
	r, err := Render(Table{Rules: []TableRule{{Name: "a b\"; }"}, {Name: "a_b____"}, {Name: ""}, {Name: strings.Repeat("ü", 99)}}})
	if err != nil {
		t.Fatal(err)
	}
	for id, name := range map[string]string{"r_a_b____": `a b"; }`, "r_a_b_____2": "a_b____", "r_rule_3": "rule 3"} {
		if r.names[id] != name {
			t.Errorf("counter %s is of %q, want %q, all: %v", id, r.names[id], name, r.names)
		}
	}
	if len(r.names) != 4 {
		t.Errorf("counters: %v", r.names)
	}
}

func TestCarryOver(t *testing.T) {
	text := "table inet spillway {\n\tcounter relayed { }\n\tcounter r_x { }\n}\n"
	got := carryCounters(text, map[string]Counter{"relayed": {3, 180}, "gone": {1, 1}})
	want := "table inet spillway {\n\tcounter relayed { packets 3 bytes 180; }\n\tcounter r_x { }\n}\n"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	got = addElements("tv", []netip.Addr{netip.MustParseAddr("::ffff:10.0.0.1"), netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8::1")}, 1)
	want = `add element inet spillway tv4 { 10.0.0.1 }
delete element inet spillway tv4 { 10.0.0.1 }
add element inet spillway tv4 { 10.0.0.1 timeout 1s }
add element inet spillway tv6 { 2001:db8::1 }
delete element inet spillway tv6 { 2001:db8::1 }
add element inet spillway tv6 { 2001:db8::1 timeout 1s }
`
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}
