// SPDX-License-Identifier: Apache-2.0

package config

import (
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const minimal = `[lan]
interfaces = ["br-lan"]
[[link]]
name = "dsl"
device = "eth1"
[[link]]
name = "lte"
device = "wwan0"
role = "overflow"
[[concentrator]]
address = "198.51.100.10"
port = 5124
`

func TestMinimalHasTheDocumentedDefaults(t *testing.T) {
	c, err := Parse("x.toml", minimal)
	if err != nil {
		t.Fatal(err)
	}
	if c.Links[0].Role != "primary" || c.Links[0].Metered || !c.Links[1].Metered {
		t.Errorf("links = %+v", c.Links)
	}
	if c.Links[0].RoleGiven || !c.Links[1].RoleGiven || c.Links[1].MeteredGiven {
		t.Errorf("what is written is told otherwise: %+v", c.Links)
	}
	got := c.Policy
	want := Policy{Mode: "overflow", OnConcentratorDown: "direct", OverflowEnter: 0.95, OverflowEnterFor: 400 * time.Millisecond,
		OverflowLeave: 0.85, OverflowLeaveFor: 2 * time.Second, HoldUp: 10 * time.Second, Standby: "off", NeverWorse: true,
		PathManager: "auto"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("policy (-want +got):\n%s", diff)
	}
	if c.Relay.IdleTimeout != 124*time.Minute {
		t.Errorf("idle timeout = %s", c.Relay.IdleTimeout)
	}
}

func TestReferenceParses(t *testing.T) {
	c, err := Parse("reference.toml", Reference)
	if err != nil {
		t.Fatal(err)
	}
	if c.Links[1].Quota.Limit != 50e9 || c.Links[1].Quota.SoftShare != 0.9 || c.Rules[0].DstPort[0] != (PortRange{5060, 5061}) {
		t.Errorf("reference = %+v", c)
	}
}

// The values that the reference shows for [policy] and [relay] are called defaults there.
func TestReferenceShowsTheDefaults(t *testing.T) {
	reference, err := Parse("reference.toml", Reference)
	if err != nil {
		t.Fatal(err)
	}
	defaults, err := Parse("x.toml", minimal)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(defaults.Policy, reference.Policy); diff != "" {
		t.Errorf("policy (-default +reference):\n%s", diff)
	}
	if diff := cmp.Diff(defaults.Relay, reference.Relay); diff != "" {
		t.Errorf("relay (-default +reference):\n%s", diff)
	}
	if diff := cmp.Diff(defaults.Daemon, reference.Daemon); diff != "" {
		t.Errorf("daemon (-default +reference):\n%s", diff)
	}
}

// Every key stands in the reference, with prose before it that tells how a change of it reaches a running daemon.
func TestReferenceDocumentsEveryKey(t *testing.T) {
	lines := strings.Split(Reference, "\n")
	class := regexp.MustCompile(`^# \([ncr]\) `)
	for table, keys := range knownKeys() {
		for _, k := range keys {
			if table == "" {
				continue
			}
			at := -1
			section := ""
			for i, l := range lines {
				if strings.HasPrefix(l, "[") {
					section = strings.Trim(l, "[]")
				}
				name, _, _ := strings.Cut(strings.TrimPrefix(l, "# "), " =")
				if section == table && name == k {
					at = i
					break
				}
			}
			if at < 0 {
				if table == "link" && k == "interface" {
					continue // told with device: only one of the two may be given
				}
				t.Errorf("%s.%s is not in reference.toml", table, k)
				continue
			}
			found := false
			for i := at - 1; i >= 0 && i >= at-6 && !strings.HasPrefix(lines[i], "["); i-- {
				if class.MatchString(lines[i]) {
					found = true
					break
				}
			}
			if !found {
				t.Errorf("%s.%s (line %d) has no prose with its class before it", table, k, at+1)
			}
		}
	}
}

// knownKeys lists the keys of each table by the table's name ("" is the top), read off the raw structures.
func knownKeys() map[string][]string {
	known := map[string][]string{}
	collect(reflect.TypeFor[rawFile](), "", known)
	return known
}

func collect(t reflect.Type, table string, known map[string][]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("toml")
		known[table] = append(known[table], name)
		inner := f.Type
		if inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		if inner.Kind() != reflect.Struct {
			continue
		}
		if table != "" {
			name = table + "." + name
		}
		collect(inner, name, known)
	}
}

func TestErrorsNameFileLineKeyAndRemedy(t *testing.T) {
	tests := []struct{ name, edit, with, want string }{
		{"unknown key", `device = "eth1"`, `devise = "eth1"`, `x.toml:5: link[0].devise: no such key; did you mean device?`},
		{"unknown table", `[lan]`, "[polcy]\nmode = \"bond\"\n[lan]", `x.toml:1: polcy: no such key; did you mean policy?`},
		{"wrong type", `port = 5124`, `port = "5124"`, `x.toml:12: concentrator[0].port: this is a text in quotes; write a whole number, without quotes`},
		{"range", `port = 5124`, `port = 70000`, `x.toml:12: concentrator[0].port: 70000 is out of range; write a number from 1 to 65535`},
		{"no port", "port = 5124\n", ``, `x.toml:10: concentrator[0].port: missing: RFC 8803 names no default port`},
		{"cookie of another protocol", `port = 5124`, "port = 5124\nprotocol = \"socks5\"\ncookie = \"x\"", `x.toml:14: concentrator[0].cookie: a cookie belongs to protocol "convert"`},
		{"learnt and told", `port = 5124`, "port = 5124\nlearn = \"/tmp/x\"", `x.toml:13: concentrator[0].learn: it brings the address`},
		{"learn code", `port = 5124`, "port = 5124\nlearn_code = 0", `x.toml:13: concentrator[0].learn_code: 0 is out of range`},
		{"warm", "[lan]", "[relay]\nwarm = 100\n[lan]", `x.toml:2: relay.warm: 100 is out of range`},
		{"one set for two rules", "[[link]]", "[[rule]]\nname = \"a-b\"\ndomain = [\"x.net\"]\naction = \"bond\"\n[[rule]]\nname = \"a.b\"\ndomain = [\"y.net\"]\naction = \"bond\"\n[[link]]", `x.toml:8: rule[1].name: "a_b" is used by rule 1 as well`},
		{"no device", "device = \"eth1\"\n", ``, `x.toml:3: link[0].device: missing`},
		{"two names", `name = "lte"`, `name = "dsl"`, `x.toml:7: link[1].name: "dsl" is used by link 1 as well`},
		{"bad role", `role = "overflow"`, `role = "spare"`, `x.toml:9: link[1].role: "spare" is not one of "primary", "overflow", "backup", "off"`},
		{"no primary", `device = "eth1"`, "device = \"eth1\"\nrole = \"backup\"", `x.toml:6: link[0].role: no link has role "primary"`},
		{"size", `role = "overflow"`, "role = \"overflow\"\nquota = \"50XB\"", `x.toml:10: link[1].quota: "50XB" is not a size`},
		{"a quota of nothing", `role = "overflow"`, "role = \"overflow\"\nquota = \"0GB\"", `x.toml:10: link[1].quota: "0GB" is no limit; leave the key out where there is none, or write role = "off"`},
		{"a day of less than an octet", `role = "overflow"`, "role = \"overflow\"\nquota_daily = \"0.4\"", `x.toml:10: link[1].quota_daily: "0.4" is no limit`},
		{"hours", `role = "overflow"`, "role = \"overflow\"\nhours = \"25:00-26:00\"", `"25:00-26:00" is not a time window`},
		{"lan device", `interfaces = ["br-lan"]`, `interfaces = ["eth1"]`, `"eth1" is a LAN interface too`},
		{"lan by a pattern", `interfaces = ["br-lan"]`, `interfaces = ["br-*"]`, `"br-*" is not a device name`},
		{"one interface twice", "device = \"eth1\"\n", "interface = \"wwan0\"\n[[link]]\nname = \"two\"\ninterface = \"wwan0\"\n", `x.toml:8: link[1].interface: "wwan0" is used by link 1 as well`},
		{"password of socks4a", `port = 5124`, "port = 5124\nprotocol = \"socks4a\"\npassword = \"x\"", `x.toml:14: concentrator[0].password: only protocol "socks5" has a password`},
		{"interface without a bus", "[lan]", "[daemon]\nubus = \"off\"\n[[link]]\nname = \"x\"\ninterface = \"wan\"\n[lan]", `x.toml:5: link[0].interface: netifd is asked over ubus, which daemon.ubus = "off" forbids`},
		{"no lan", `interfaces = ["br-lan"]`, ``, `x.toml:1: lan.interfaces: missing`},
		{"idle", `[lan]`, "[relay]\nidle_timeout = \"1h\"\n[lan]", `x.toml:2: relay.idle_timeout: 1h0m0s is out of range; write a duration from 2h4m0s`},
		{"hysteresis", `[lan]`, "[policy]\noverflow_leave = 0.95\n[lan]", `x.toml:2: policy.overflow_leave: 0.95 is not below overflow_enter (0.95)`},
		{"share", `[lan]`, "[policy]\noverflow_enter = 1.5\n[lan]", `overflow_enter: 1.5 is out of range`},
		{"duration", `[lan]`, "[policy]\nhold_up = \"10\"\n[lan]", `"10" is not a duration`},
		{"rule action", `[lan]`, "[[rule]]\nname = \"a\"\ndst = [\"192.0.2.1\"]\naction = \"drop\"\n[lan]", `x.toml:4: rule[0].action: "drop" is not one of`},
		{"rule prefix", `[lan]`, "[[rule]]\nname = \"a\"\ndst = [\"192.0.2.300\"]\naction = \"block\"\n[lan]", `"192.0.2.300" is not an address or prefix`},
		{"rule all", `[lan]`, "[[rule]]\nname = \"a\"\naction = \"block\"\n[lan]", `matches everything`},
		{"syntax", `[lan]`, `[lan`, `x.toml:1: syntax: expected '.' or "]" after the table's name`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(minimal, tt.edit, tt.with, 1)
			if text == minimal {
				t.Fatal("the edit changed nothing")
			}
			_, err := Parse("x.toml", text)
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error:\n%v\nwant:\n%s", err, tt.want)
			}
		})
	}
}

// TestConcentratorsAreToldApart: status knows them by their names, and Prometheus takes no two series of one.
func TestConcentratorsAreToldApart(t *testing.T) {
	c, err := Parse("x", minimal+"[[concentrator]]\naddress = \"198.51.100.10\"\nport = 1080\nprotocol = \"socks5\"\n")
	if err != nil {
		t.Fatal(err)
	}
	if a, b := c.Concentrators[0].Name, c.Concentrators[1].Name; a != "198.51.100.10" || b != "198.51.100.10 port 1080" {
		t.Errorf("names %q and %q", a, b)
	}
	named := "[[concentrator]]\nname = \"198.51.100.10\"\naddress = \"192.0.2.1\"\nport = 1\n"
	if _, err := Parse("x", minimal+named); err == nil || !strings.Contains(err.Error(), `concentrator[1].name: "198.51.100.10" is used by concentrator 1 as well`) {
		t.Errorf("two of one name: %v", err)
	}
}

func TestAllErrorsAreFound(t *testing.T) {
	text := strings.NewReplacer("port = 5124", "port = 0", `role = "overflow"`, `role = "x"`).Replace(minimal)
	_, err := Parse("x.toml", text)
	if err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("want two lines, got: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(minimal)
	f.Add(Reference)
	f.Add("[[link]]\nname = 1")
	f.Add("[[rule]]\ndst = [\"::/0\"]\nfrom=\"1:1\"\nto=\"0:0\"")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse("f", text)
		if (c == nil) == (err == nil) {
			t.Fatalf("config %v, error %v", c, err)
		}
		if c != nil && (len(c.Links) == 0 || len(c.Concentrators) == 0 || len(c.LAN.Interfaces) == 0) {
			t.Fatalf("accepted a configuration without its parts: %+v", c)
		}
	})
}
