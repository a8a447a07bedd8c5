// SPDX-License-Identifier: Apache-2.0

package luci

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"spillway/config"
	"spillway/openwrt/uci"
	"spillway/testbed/openwrt"
)

// filled is a section as its fields are filled on the settings page; absent ones are as in a new section. Values are text, or lists.
type filled struct {
	Type string         `json:"type"`
	ID   string         `json:"id"`
	Set  map[string]any `json:"set"`
}

// section is one of the example's that is filled anew, with what its fields need beside the one that is tried.
var section = map[string]filled{
	"global":       {"global", "global", map[string]any{}},
	"lan":          {"lan", "lan", map[string]any{"interfaces": []string{"br-lan"}}},
	"link":         {"link", "lte", map[string]any{"interface": "wwan", "role": "overflow"}},
	"concentrator": {"concentrator", "home", map[string]any{"address": "198.51.100.10", "port": "5124"}},
	"policy":       {"policy", "policy", map[string]any{}},
	"relay":        {"relay", "relay", map[string]any{}},
	"rule":         {"rule", "off", map[string]any{"name": "tv", "dst": []string{"192.0.2.0/24"}, "enabled": "1"}},
}

// tried is what is written into each field: some of it good, some not. Fields to choose from are tried with all their choices.
var tried = map[string][]string{
	"global.memory_limit": {"24MiB", "1GiB", "65536KiB", "1000000", "1000000B", "off", "", "24MB", "24 MiB", "-1", "MiB", "on", "0x10", "4294967295", "4294967296"},

	"lan.interfaces": {"br-lan", "br-lan br-guest", "eth0.2", "", "a-name-far-too-long", "br/lan"},

	"link.interface":   {"wwan", "wan", ""},
	"link.device":      {"", "wwan0"},
	"link.down_kbit":   {"", "0", "50000", "100000000", "100000001", "50M", "-1", "1.5", "1e3"},
	"link.up_kbit":     {"", "10000", "100000001", "10 000"},
	"link.weight":      {"", "1", "100", "0", "101", "1.5"},
	"link.quota":       {"", "0", "50GB", "50 GB", "1.5TB", "500mb", "2GiB", "2gib", "5k", "5Ki", "5iB", "5B", "5 ", "lots", "GB", "5PB", "-5GB", "99999999TB", "8TiB"},
	"link.quota_daily": {"", "5GB", "5GIB", "5G", "5 gB", ".5GB", "1e3"},
	"link.billing_day": {"", "1", "31", "0", "32", "first"},
	"link.hours": {"", "07:00-23:00", "7:00-23:00", "00:00-24:00", "22:00-06:00", "07:00-12:00,13:00-23:00", "07:00-12:00, 13:00-23:00", "29:00-30:00", "07:00-24:01",
		"07:00-07:00", "07:60-08:00", "07:00", "7-8", "07:00-12:00,", "07:00-12:00-13:00"},

	"concentrator.address": {"198.51.100.10", "2001:db8::1", "2001:db8:0:0:0:0:0:1", "home.example.net", "home.example.net.", "_convert._tcp.example.net", "localhost", "", "300.1.1.1",
		"0.0.0.0", "224.0.0.1", "239.1.2.3", "::", "0:0:0:0:0:0:0:0", "ff02::1", "fe80::1%eth0", "*.example.net", "a b", "home..net", "https://home", "2001:db8::1::2",
		"[2001:db8::1]", strings.Repeat("a", 64) + ".net", strings.Repeat("a.", 127) + "net"},
	"concentrator.port":     {"1", "5124", "65535", "", "0", "65536", "x", "-1"},
	"concentrator.priority": {"", "0", "1000000", "high", "1.5"},
	"concentrator.weight":   {"", "1", "100", "0", "101"},
	"concentrator.cookie":   {"", "secret word", strings.Repeat("ä", 127), strings.Repeat("ä", 128)},

	"policy.overflow_enter":     {"", "0.95", "95%", "1", "1.0", "100%", "92.5%", "0", "0%", "1.1", "101%", "0.85", "0.5", "x"},
	"policy.overflow_enter_for": {"", "50ms", "400ms", "0.5s", "1", "3600", "1h", "49ms", "0", "3601", "1h1s", "1d", "x", "5000000000"},
	"policy.overflow_leave":     {"", "0.85", "85%", ".5", "0", "0.95", "0.96", "1", "x", "-0.1"},
	"policy.overflow_leave_for": {"", "100ms", "2s", "1h", "99ms", "61m"},
	"policy.hold_up":            {"", "100ms", "10", "10s", "1m30s", "1h", "0", "2h", "ten"},

	"relay.max_sessions": {"", "0", "1048576", "1048577", "-1"},
	"relay.max_per_host": {"", "0", "1048576", "1048577", "many"},
	"relay.idle_timeout": {"", "2h4m", "3h", "7440", "720h", "2h3m59s", "721h", "30m", "7439"},

	"rule.name":      {"tv", "a.b-c_D9", strings.Repeat("a", 32), strings.Repeat("a", 33), "my rule", "tv!", "relayed", "native", "refused", "concentrator", "voip"},
	"rule.src":       {"", "192.168.1.20", "192.168.1.0/24", "0.0.0.0/0", "2001:db8::1", "2001:db8::/32", "::/0", "192.168.1.0/33", "192.168.1.0/255.255.255.0", "192.168.01.1", "192.168.1.0/08", "192.168.1", "2001:db8::/129", "1:2:3:4:5:6:7:8:9", "fe80::1%eth0", "tv"},
	"rule.dst":       {"192.0.2.1", "::1", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "1::2::3", "1:2:3:4:5:6:7::8", "256.1.1.1", "192.0.2.0/", "/24", "12345::"},
	"rule.mac":       {"", "00:11:22:33:44:55", "AA:bb:CC:dd:EE:ff", "00-11-22-33-44-55", "00:11:22:33:44", "0:1:2:3:4:5", "00:11:22:33:44:5g"},
	"rule.domain":    {"", "www.example.net", "*.example.net", "Example.NET.", "_dns.example.net", "*", "*.", "a..b", "www.*.net", "exa mple.net", strings.Repeat("a", 64)},
	"rule.dst_port":  {"", "443", "1", "65535", "5060-5061", "443-443", "0", "65536", "5061-5060", "0-10", "5060-", "80,443", "http", "99999"},
	"rule.dscp":      {"", "0", "46", "63", "64", "-1", "ef", "1.5"},
	"rule.interface": {"", "br-guest", "a-name-far-too-long", "br/guest", "br*", ".", "..", "a:b"},
}

// together are fields whose values have to do with each other.
var together = []filled{
	{"link", "lte", map[string]any{"device": "wwan0"}},
	{"link", "lte", map[string]any{"device": "a-name-far-too-long"}},
	{"link", "lte", map[string]any{"device": "ww an0"}},
	{"link", "lte", map[string]any{"device": "br-lan"}},
	{"link", "lte", map[string]any{}},
	{"link", "lte", map[string]any{"device": "wwan0", "interface": "wwan"}},
	{"link", "lte", map[string]any{"interface": "wwan", "quota": "50GB", "quota_soft": "90%"}},
	{"link", "lte", map[string]any{"interface": "wwan", "quota": "50GB", "quota_soft": "100.0%"}},
	{"link", "lte", map[string]any{"interface": "wwan", "quota": "50GB", "quota_soft": "100.5%"}},
	{"link", "lte", map[string]any{"interface": "wwan", "quota": "50GB", "quota_soft": "0%"}},
	{"link", "lte", map[string]any{"interface": "wwan", "quota": "50GB", "quota_soft": "0.9"}},
	{"link", "lte", map[string]any{"interface": "wwan", "quota_soft": "90%"}},
	{"concentrator", "home", map[string]any{"address": "_convert._tcp.example.net"}},
	{"concentrator", "home", map[string]any{"protocol": "transparent"}},
	{"concentrator", "home", map[string]any{"protocol": "transparent", "address": "198.51.100.10", "port": "0", "cookie": "x", "user": "x", "password": "x"}},
	{"concentrator", "home", map[string]any{"protocol": "socks5", "address": "198.51.100.10", "port": "1080", "user": "me", "password": "secret", "pipeline": "1"}},
	{"concentrator", "home", map[string]any{"protocol": "socks5", "address": "198.51.100.10", "port": "1080", "user": strings.Repeat("a", 256)}},
	{"concentrator", "home", map[string]any{"protocol": "socks5", "address": "198.51.100.10", "port": "1080", "password": strings.Repeat("a", 256)}},
	{"concentrator", "home", map[string]any{"protocol": "socks4a", "address": "198.51.100.10", "port": "1080", "user": "me", "password": "secret", "pipeline": "1", "cookie": "x"}},
	{"policy", "policy", map[string]any{"overflow_enter": "0.8", "overflow_leave": "0.7"}},
	{"policy", "policy", map[string]any{"overflow_enter": "80%", "overflow_leave": "0.8"}},
	{"policy", "policy", map[string]any{"overflow_enter": "0.5", "overflow_leave": "60%"}},
	{"rule", "off", map[string]any{"name": "tv", "enabled": "1"}},
	{"rule", "off", map[string]any{"name": "vo.ip", "enabled": "1", "domain": []string{"example.net"}}},
	{"rule", "off", map[string]any{"name": "tv", "enabled": "1", "days": []string{"mon", "sun"}}},
	{"rule", "off", map[string]any{"name": "tv", "enabled": "1", "from": "08:00", "to": "17:00"}},
	{"rule", "off", map[string]any{"name": "tv", "enabled": "1", "from": "22:00", "to": "6:00"}},
	{"rule", "off", map[string]any{"name": "tv", "enabled": "1", "from": "00:00", "to": "24:00"}},
	{"rule", "off", map[string]any{"name": "tv", "enabled": "1", "from": "08:00"}},
	{"rule", "off", map[string]any{"name": "tv", "enabled": "1", "to": "08:00"}},
	{"rule", "off", map[string]any{"name": "tv", "enabled": "1", "from": "08:00", "to": "8:00"}},
	{"rule", "off", map[string]any{"name": "tv", "enabled": "1", "from": "29:00", "to": "08:00"}},
	{"rule", "off", map[string]any{"name": "tv", "enabled": "1", "from": "08:00", "to": "24:01"}},
	{"rule", "off", map[string]any{"name": "tv", "enabled": "1", "from": "08:00", "to": "evening"}},
	{"rule", "off", map[string]any{"name": "tv", "enabled": "0"}},
}

// stricter is what the page refuses though the parser takes it: nobody means it.
var stricter = []string{".5GB", "1e3", "300.1.1.1"}

// verdict is what the page says of a section.
type verdict struct {
	Wrong  []string       `json:"wrong"`
	Stored map[string]any `json:"stored"`
}

// TestSettingsTakeWhatTheParserTakes: what the page accepts and the parser does not, the init script refuses, and nobody sees why but in the system log.
func TestSettingsTakeWhatTheParserTakes(t *testing.T) {
	_, fields := settings(t, nil)
	cases, of := slices.Clone(together), make([]string, len(together))
	for kind, options := range fields {
		for option, choices := range options {
			for _, v := range append(choices, tried[kind+"."+option]...) {
				c := section[kind]
				c.Set = maps.Clone(c.Set)
				if c.Set[option] = v; listed(kind, option) {
					c.Set[option] = strings.Fields(v)
				}
				cases, of = append(cases, c), append(of, kind+"."+option)
			}
		}
	}
	verdicts, _ := settings(t, cases)
	taken, refused := map[string]bool{}, map[string]bool{}
	for i, v := range verdicts {
		c := cases[i]
		set, _ := json.Marshal(c.Set)
		if err := parsed(t, c, v.Stored); len(v.Wrong) == 0 {
			taken[of[i]] = true
			for option := range c.Set {
				taken[c.Type+"."+option] = true
			}
			if err != nil {
				t.Errorf("%s %s: the page takes it; the parser: %v", c.Type, set, err)
			}
		} else {
			refused[of[i]] = true
			if err == nil && !slices.ContainsFunc(stricter, func(s string) bool { return bytes.Contains(set, []byte(`"`+s+`"`)) }) {
				t.Errorf("%s %s: the parser takes it; the page: %q", c.Type, set, v.Wrong)
			}
		}
	}
	for name := range tried {
		if !taken[name] || !refused[name] {
			t.Errorf("%s: no value of it was taken, or none refused", name)
		}
	}
	for kind, options := range fields {
		for option := range options {
			if !taken[kind+"."+option] {
				t.Errorf("%s.%s was not tried", kind, option)
			}
		}
	}
}

// listed tells whether an option has a list of values.
func listed(of, option string) bool {
	lists := map[string][]string{"lan": {"interfaces"}, "rule": {"src", "mac", "dst", "domain", "dst_port", "dscp", "interface", "days"}}
	return slices.Contains(lists[of], option)
}

// settings asks the page; fields are its options by type of section, with what there is to choose from.
func settings(t *testing.T, cases []filled) (verdicts []verdict, fields map[string]map[string][]string) {
	t.Helper()
	raw, err := json.Marshal(append([]filled{}, cases...))
	if err != nil {
		t.Fatal(err)
	}
	cmd := node(t, "settings.mjs")
	var complaints bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(raw), &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, complaints.String())
	}
	var answer struct {
		Cases  []verdict                      `json:"cases"`
		Fields map[string]map[string][]string `json:"fields"`
	}
	if err := json.Unmarshal(out, &answer); err != nil || len(answer.Cases) != len(cases) {
		t.Fatalf("%v: %d answers to %d cases\n%s", err, len(answer.Cases), len(cases), complaints.String())
	}
	return answer.Cases, answer.Fields
}

// parsed is what `spillway check` says of the example with this section in the place of its own.
func parsed(t *testing.T, c filled, stored map[string]any) error {
	t.Helper()
	example, err := os.ReadFile("../../openwrt/uci/testdata/spillway")
	if err != nil {
		t.Fatal(err)
	}
	sections, err := uci.Parse(string(example))
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(sections, func(s *uci.Section) bool { return s.Type == c.Type && s.Name == c.ID })
	if i < 0 {
		t.Fatalf("the example has no %s", c.ID)
	}
	for _, s := range sections {
		if s.Name == "" {
			s.Name = "anonymous"
		}
	}
	sections[i].Options = nil
	for name, v := range stored {
		o := uci.Option{Name: name}
		if all, ok := v.([]any); ok {
			o.List = true
			for _, one := range all {
				o.Values = append(o.Values, one.(string))
			}
		} else {
			o.Values = []string{v.(string)}
		}
		sections[i].Options = append(sections[i].Options, o)
	}
	text, err := uci.Import(strings.NewReader(openwrt.Text(sections)), "spillway")
	if err == nil {
		_, err = config.Parse("spillway", string(text))
	}
	return err
}
