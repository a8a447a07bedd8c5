// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// healthy is a router on which everything is as it should be; scenarios break one thing in it.
type healthy struct {
	*World
	files map[string]string
	rc    []string // enabled services

	tokenless uint64 // of 10,000 other connections
}

var errTest, errLate = errors.New("connection timed out"), fmt.Errorf("nft: %w: ", context.DeadlineExceeded)

// fw4Input is the chain of OpenWrt's firewall as `nft list chain` has it, and ourAccept what the package puts into it.
const (
	fw4Input = `table inet fw4 {
	chain input {
		type filter hook input priority filter; policy drop;
		iifname "lo" accept comment "!fw4: Accept traffic from loopback"
%s		ct state established,related accept comment "!fw4: Allow inbound established and related flows"
		tcp flags & (fin | syn | rst | ack) == syn jump syn_flood comment "!fw4: Rate limit TCP syn packets"
		iifname "br-lan" jump input_lan comment "!fw4: Handle lan IPv4/IPv6 input traffic"
		jump handle_reject
	}
}
`
	ourAccept = "\t\tmeta mark & 0x10000000 == 0x10000000 tcp flags & (fin | syn | rst | ack) == syn accept comment \"!spillway: relayed connections\"\n"
)

func newHealthy() *healthy {
	dsl := Link{Name: "dsl", Device: "pppoe-wan", Role: "primary", Present: true, Up: true, Carrier: true, Joins: true, PointToPoint: true, MTU: 1492,
		Addr4: netip.MustParseAddr("203.0.113.7"), Route4: true}
	lte := Link{Name: "lte", Device: "wwan0", Role: "overflow", Present: true, Up: true, Carrier: true, Joins: true, MTU: 1428,
		Addr4: netip.MustParseAddr("100.64.1.2"), Gateway4: netip.MustParseAddr("100.64.1.1"), Route4: true,
		Addr6: netip.MustParseAddr("2001:db8::2"), Gateway6: netip.MustParseAddr("fe80::1"), Route6: true}
	h := &healthy{files: map[string]string{
		"/proc/sys/net/ipv6/conf/all/forwarding":      "1\n",
		"/proc/meminfo":                               "MemTotal:       124000 kB\nMemFree:         9000 kB\nMemAvailable:    51000 kB\n",
		"/proc/sys/net/mptcp/enabled":                 "1\n",
		"/proc/sys/net/netfilter/nf_conntrack_count":  "300\n",
		"/proc/sys/net/netfilter/nf_conntrack_max":    "16384\n",
		"/proc/sys/net/mptcp/blackhole_timeout":       "0\n",
		"/proc/sys/net/mptcp/pm_type":                 "0\n",
		"/proc/sys/net/ipv4/tcp_fastopen":             "0x5\n",
		"/proc/sys/net/ipv4/ip_forward":               "1\n",
		"/proc/sys/net/ipv4/conf/all/rp_filter":       "0\n",
		"/proc/sys/net/ipv4/conf/pppoe-wan/rp_filter": "2\n",
		"/proc/sys/net/ipv4/conf/wwan0/rp_filter":     "2\n",
		"/sys/class/net/br-lan/flags":                 "0x1003\n",
		"/etc/config/firewall":                        "config defaults\n\toption flow_offloading '0'\n",
	}}
	h.World = &World{
		Now:      time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC),
		StateDir: "/etc/spillway",
		LAN:      []string{"br-lan"},
		Features: Features{true, true, true, true, true, true, true, true, true},
		Links:    []Link{dsl, lte},
		Remotes:  []Concentrator{{Name: "hag", Addr: netip.MustParseAddrPort("198.51.100.10:5124"), Protocol: "convert"}},
		ReadFile: func(path string) ([]byte, error) {
			if s, ok := h.files[path]; ok {
				return []byte(s), nil
			}
			return nil, os.ErrNotExist
		},
		Glob: func(pattern string) []string {
			if name, found := strings.CutPrefix(pattern, "/etc/rc.d/S??"); found && slices.Contains(h.rc, name) {
				return []string{"/etc/rc.d/S99" + name}
			}
			return nil
		},
		Space:    func(string) (Space, error) { return Space{Free: 4 << 20, Total: 8 << 20}, nil },
		LookPath: func(string) bool { return true },
		Run:      func(string, ...string) (string, error) { return "", nil },
		NftCheck: func(string) error { return nil },
		Route: func(from, _ netip.Addr) (string, error) {
			if from == dsl.Addr4 {
				return "pppoe-wan", nil
			}
			return "wwan0", nil
		},
		Counter: func(name string) uint64 {
			if name == "MPCapableSYNTX" {
				return 10000
			}
			return h.tokenless
		},
		Door:    func() Door { return Door{Open: true, Port4: 40001, Port6: 40002} },
		Good:    func() error { return nil },
		Table:   func() error { return nil },
		Saved:   func() error { return nil },
		Connect: func(Link, Concentrator) (time.Duration, error) { return 31 * time.Millisecond, nil },
		PathMTU: func(l Link, _ Concentrator) (int, error) { return l.MTU, nil },
		Info:    func(Link, Concentrator) (string, error) { return "a converter that supports MPTCP", nil },
		SYNData: func(Link, Concentrator) (bool, error) { return true, nil },
		MPTCP:   func(Link, Concentrator) (bool, error) { return true, nil },
		Join:    func(Link, Link, Concentrator) (bool, error) { return true, nil },
		SeenFrom: func(l Link, _ Concentrator) (netip.Addr, error) {
			if l.Name == "dsl" {
				return l.Addr4, nil
			}
			return netip.MustParseAddr("192.0.2.200"), nil
		},
	}
	return h
}

func TestHealthyRouterHasNoComplaint(t *testing.T) {
	h := newHealthy()
	nodes := Tree(h.World)
	if err := validate(nodes); err != nil {
		t.Fatal(err)
	}
	r := Run(t.Context(), h.World, nodes)
	for _, f := range r.Findings {
		if f.Status != OK {
			t.Errorf("%s: %v: %s", f.Name, f.Status, f.What)
		}
		if f.What == "" {
			t.Errorf("%s says nothing", f.Name)
		}
	}
	if r.ExitCode() != 0 {
		t.Errorf("exit code %d", r.ExitCode())
	}
}

// scenarios: what is broken, which check says so, how bad it is, and words that it says.
var scenarios = []struct {
	name  string
	hurt  func(*healthy)
	node  string
	want  Status
	words string
}{
	{"configuration refused", func(h *healthy) { h.Good = func() error { return errors.New("spillway.lte.quota: unknown") } }, "machine/configuration", Fail, "goes on with what was before: spillway.lte.quota"},
	{"configuration not asked for", func(h *healthy) { h.Good = nil }, "machine/configuration", Skip, "does not run"},
	{"no battery, no NTP", func(h *healthy) { h.Now = time.Unix(1000, 0) }, "machine/clock", Fail, "the clock says 1970"},
	{"memory is gone", func(h *healthy) { h.files["/proc/meminfo"] = "MemAvailable: 3000 kB\n" }, "machine/memory", Fail, "3000 KiB"},
	{"meminfo is odd", func(h *healthy) { h.files["/proc/meminfo"] = "MemAvailable:\nMemAvailable: x kB\n" }, "machine/memory", Skip, "not known"},
	{"flash is full", func(h *healthy) {
		h.Space = func(string) (Space, error) { return Space{Free: 4096, Total: 1 << 20}, nil }
	}, "machine/flash", Fail, "4 KiB free"},
	{"flash is read-only", func(h *healthy) {
		h.Space = func(string) (Space, error) { return Space{Free: 1 << 20, ReadOnly: true}, nil }
	}, "machine/flash", Fail, "read-only"},
	{"no state directory", func(h *healthy) { h.Space = func(string) (Space, error) { return Space{}, os.ErrNotExist } }, "machine/flash", Fail, "can't be examined"},
	{"counters can't be written", func(h *healthy) { h.Saved = func() error { return errTest } }, "machine/quota counters", Fail, "not saved"},
	{"conntrack is full", func(h *healthy) { h.files["/proc/sys/net/netfilter/nf_conntrack_count"] = "16384\n" }, "machine/conntrack", Fail, "drops new connections"},
	{"conntrack is nearly full", func(h *healthy) { h.files["/proc/sys/net/netfilter/nf_conntrack_count"] = "14000\n" }, "machine/conntrack", Warn, "nearly full"},
	{"no conntrack", func(h *healthy) { delete(h.files, "/proc/sys/net/netfilter/nf_conntrack_max") }, "machine/conntrack", OK, "tracks no connections"},
	{"kernel without MPTCP", func(h *healthy) { delete(h.files, "/proc/sys/net/mptcp/enabled") }, "machine/mptcp", Fail, "no MPTCP"},
	{"MPTCP switched off", func(h *healthy) { h.files["/proc/sys/net/mptcp/enabled"] = "0\n" }, "machine/mptcp", Fail, "switched off"},
	{"MPTCP was off when the daemon started", func(h *healthy) { h.Features.MPTCP = false }, "machine/mptcp", Fail, "was off when Spillway started"},
	{"few tokens", func(h *healthy) { h.tokenless = 200 }, "machine/mptcp tokens", Warn, "200 of 10200 connections"},
	{"no tokens", func(h *healthy) { h.tokenless = 4000 }, "machine/mptcp tokens", Fail, "4000 of 14000"},
	{"tokens not known", func(h *healthy) { h.Counter = nil }, "machine/mptcp tokens", Skip, "can't be read"},
	{"no path manager", func(h *healthy) { h.Features.PathManager = false }, "machine/path manager", Fail, "path manager"},
	{"no pm_type", func(h *healthy) { delete(h.files, "/proc/sys/net/mptcp/pm_type") }, "machine/path manager", OK, "answers"},
	{"pm_type of others", func(h *healthy) { h.files["/proc/sys/net/mptcp/pm_type"] = "1\n" }, "machine/path manager", Fail, "no second link joins"},
	{"pm_type taken away", func(h *healthy) { h.Apart, h.PathManager = true, "user" }, "machine/path manager", Fail, "pm_type = 0"},
	{"kernel too old for user", func(h *healthy) { h.PathManager, h.Features.Apart = "user", false }, "machine/path manager", Warn, "can't treat connections apart"},
	{"other programs", func(h *healthy) {
		h.Apart, h.PathManager, h.Strangers, h.files["/proc/sys/net/mptcp/pm_type"] = true, "user", 3, "1\n"
	}, "machine/path manager", OK, "3 now"},
	{"old kernel", func(h *healthy) { h.Features.UserspacePM = false; h.Features.IsMPTCP = false }, "machine/kernel features", Warn, "userspace path manager"},
	{"blackhole detection", func(h *healthy) { h.files["/proc/sys/net/mptcp/blackhole_timeout"] = "3600\n" }, "machine/sysctl blackhole_timeout", Fail, "3600"},
	{"blackhole detection before the start", func(h *healthy) { h.Door = nil; h.files["/proc/sys/net/mptcp/blackhole_timeout"] = "3600\n" }, "machine/sysctl blackhole_timeout", Skip, "3600"},
	{"no fast open", func(h *healthy) { h.files["/proc/sys/net/ipv4/tcp_fastopen"] = "2\n" }, "machine/sysctl tcp_fastopen", Warn, "no data in a SYN"},
	{"no forwarding", func(h *healthy) { h.files["/proc/sys/net/ipv4/ip_forward"] = "0\n" }, "machine/sysctl ip_forward", Fail, "ip_forward = 0"},
	{"no IPv6 forwarding", func(h *healthy) { h.files["/proc/sys/net/ipv6/conf/all/forwarding"] = "0\n" }, "machine/sysctl ipv6 forwarding", Warn, "forwarding = 0"},
	{"no nft", func(h *healthy) { h.LookPath = func(string) bool { return false } }, "machine/nft", Fail, "nft is not there"},
	{"no queue, and it is asked for", func(h *healthy) {
		h.Faithful, h.NftCheck = true, func(s string) error {
			if strings.Contains(s, "queue") {
				return errors.New("No such file or directory")
			}
			return nil
		}
	}, "machine/queue", Fail, "rule with queue"},
	{"another reader of the queue", func(h *healthy) {
		h.Faithful, h.Held = true, func() error { return errors.New("operation not permitted") }
	}, "lan/held SYNs", Fail, "not held"},
	{"too busy for tproxy", func(h *healthy) { h.NftCheck = func(string) error { return errLate } }, "machine/tproxy", Skip, "busy"},
	{"too busy for the queue", func(h *healthy) {
		h.Faithful, h.NftCheck = true, func(s string) error {
			if strings.Contains(s, "queue") {
				return errLate
			}
			return nil
		}
	}, "machine/queue", Skip, "busy"},
	{"too busy for the firewall", func(h *healthy) {
		h.Run = func(string, ...string) (string, error) { return "", errLate }
	}, "lan/firewall", Skip, "busy"},
	{"no tproxy module", func(h *healthy) { h.NftCheck = func(string) error { return errors.New("No such file or directory") } }, "machine/tproxy", Fail, "tproxy"},

	{"LAN bridge is missing", func(h *healthy) { delete(h.files, "/sys/class/net/br-lan/flags") }, "lan/br-lan", Fail, "does not exist"},
	{"LAN bridge is off", func(h *healthy) { h.files["/sys/class/net/br-lan/flags"] = "0x1002\n" }, "lan/br-lan", Fail, "switched off"},
	{"table flushed", func(h *healthy) { h.Table = func() error { return errors.New("chain prerouting is missing") } }, "lan/nft table", Fail, "chain prerouting"},
	{"door closed", func(h *healthy) { h.Door = func() Door { return Door{Why: "no concentrator answers"} } }, "lan/door", Fail, "no concentrator answers"},
	{"door half open", func(h *healthy) { h.Door = func() Door { return Door{Open: true, Port4: 1} } }, "lan/door", Warn, "no listener for IPv6"},
	{"daemon does not run", func(h *healthy) { h.Table = nil }, "lan/nft table", Skip, "does not run"},

	{"PPP is not up", func(h *healthy) { h.Links[0].Present = false }, "link dsl/device", Fail, "device pppoe-wan does not exist"},
	{"interface without device", func(h *healthy) { h.Links[0].Device = "" }, "link dsl/device", Fail, "not known"},
	{"device off", func(h *healthy) { h.Links[1].Up = false }, "link lte/device", Fail, "switched off"},
	{"no sync", func(h *healthy) { h.Links[0].Carrier = false }, "link dsl/carrier", Fail, "no carrier"},
	{"no lease", func(h *healthy) { h.Links[0].Addr4 = netip.Addr{} }, "link dsl/address", Fail, "no usable address"},
	{"no default route", func(h *healthy) { h.Links[0].Route4 = false }, "link dsl/route", Fail, "no default route"},
	{"route of the other family only", func(h *healthy) { h.Links[0].Route4, h.Links[0].Route6 = false, true }, "link dsl/route", Fail, "no default route"},
	{"rule missing", func(h *healthy) { h.Route = func(_, _ netip.Addr) (string, error) { return "pppoe-wan", nil } }, "link lte/source route", Fail, "leave by pppoe-wan instead of wwan0"},
	{"no route at all", func(h *healthy) { h.Route = func(_, _ netip.Addr) (string, error) { return "", errTest } }, "link dsl/source route", Fail, "no route from"},
	{"other family", func(h *healthy) { h.Remotes[0].Addr = netip.MustParseAddrPort("[2001:db8::1]:5124") }, "link dsl/source route", Skip, "no address of the family"},
	{"strict reverse path", func(h *healthy) { h.files["/proc/sys/net/ipv4/conf/wwan0/rp_filter"] = "1\n" }, "link lte/rp_filter", Fail, "strict"},
	{"strict reverse path before the start", func(h *healthy) { h.Door = nil; h.files["/proc/sys/net/ipv4/conf/wwan0/rp_filter"] = "1\n" }, "link lte/rp_filter", Skip, "strict"},
	{"loose by all", func(h *healthy) {
		h.files["/proc/sys/net/ipv4/conf/all/rp_filter"] = "2\n"
		h.files["/proc/sys/net/ipv4/conf/wwan0/rp_filter"] = "1\n"
	}, "link lte/rp_filter", OK, "rp_filter is 2"},
	{"tiny MTU", func(h *healthy) { h.Links[1].MTU = 576 }, "link lte/mtu", Fail, "576"},
	{"blackhole", func(h *healthy) { h.Links[0].Dead = "nothing acknowledged for 320 ms" }, "link dsl/steady", Fail, "nothing acknowledged"},
	{"flapping", func(h *healthy) { h.Links[0].Flapping = true }, "link dsl/steady", Warn, "lost several times"},

	{"concentrator down", func(h *healthy) { h.Connect = func(Link, Concentrator) (time.Duration, error) { return 0, errTest } }, "link dsl/concentrator reachable", Fail, "timed out"},
	{"path smaller than the link", func(h *healthy) { h.PathMTU = func(Link, Concentrator) (int, error) { return 1400, nil } }, "link dsl/path mtu", Warn, "1400"},
	{"path MTU unknown", func(h *healthy) { h.PathMTU = func(Link, Concentrator) (int, error) { return 0, errTest } }, "link dsl/path mtu", Warn, "not known"},
	{"both by one line", func(h *healthy) {
		h.SeenFrom = func(Link, Concentrator) (netip.Addr, error) { return netip.MustParseAddr("192.0.2.200"), nil }
	}, "link lte/address as seen", Warn, "as link dsl is"},
	{"behind the provider's NAT", func(h *healthy) {}, "link lte/address as seen", OK, "behind the provider's NAT"},
	{"no Convert there", func(h *healthy) { h.Info = func(Link, Concentrator) (string, error) { return "", errTest } }, "link lte/convert answers", Fail, "no Convert answer"},
	{"a SOCKS server", func(h *healthy) { h.Remotes[0].Protocol = "socks5" }, "link lte/convert answers", Skip, "speaks socks5"},
	{"SYN data dropped", func(h *healthy) {
		h.SYNData = func(l Link, _ Concentrator) (bool, error) { return l.Name == "dsl", nil }
	}, "link lte/syn data", Warn, "not accepted"},
	{"SYN data breaks", func(h *healthy) { h.SYNData = func(Link, Concentrator) (bool, error) { return false, errTest } }, "link lte/syn data", Warn, "ends in an error"},
	{"options stripped", func(h *healthy) { h.MPTCP = func(l Link, _ Concentrator) (bool, error) { return l.Name != "lte", nil } }, "link lte/mptcp kept", Fail, "falls back"},
	{"MPTCP dropped", func(h *healthy) { h.MPTCP = func(Link, Concentrator) (bool, error) { return false, errTest } }, "link dsl/mptcp kept", Fail, "no MPTCP connection"},
	{"join refused", func(h *healthy) { h.Join = func(Link, Link, Concentrator) (bool, error) { return false, nil } }, "link dsl/join", Fail, "refused"},
	{"join lost", func(h *healthy) { h.Join = func(Link, Link, Concentrator) (bool, error) { return false, errTest } }, "link dsl/join", Fail, "no second subflow"},
	{"link without endpoint", func(h *healthy) { h.Links[0].Joins = false }, "link dsl/join", Skip, "not in use"},
	{"no link to join", func(h *healthy) { h.Links[1].Carrier = false }, "link dsl/join", Skip, "no other link"},
	{"metered and idle", func(h *healthy) { h.Links[1].Idle = true }, "link lte/concentrator reachable", Skip, "nothing is sent"},

	{"rule before ours", func(h *healthy) {
		h.Collisions = func() ([]string, error) { return []string{"`ip rule pref 100 lookup 5` comes before our rules"}, nil }
	}, "others/numbers", Warn, "pref 100"},
	{"mask of mwan3 moved into ours", func(h *healthy) {
		h.MarkMask, h.files["/etc/config/mwan3"] = 0xff000000, "config globals 'globals'\n\toption mmx_mask '0x3F000000'\n"
	}, "others/numbers", Warn, "mwan3 marks packets in 0x3f000000"},
	{"pbr where it always is, and we there too", func(h *healthy) {
		h.MarkMask, h.files["/etc/config/pbr"] = 0x00ff0000, "config pbr 'config'\n\toption enabled '1'\n"
	}, "others/numbers", Warn, "pbr marks packets in 0xff0000"},
	{"mwan3", func(h *healthy) { h.rc = []string{"mwan3"} }, "others/mwan3", Warn, "mwan3 is enabled"},
	{"pbr", func(h *healthy) {
		h.rc = []string{"pbr"}
		h.files["/etc/config/pbr"] = "config pbr 'config'\n\toption enabled '1'\n"
	}, "others/pbr", Warn, "pbr is enabled"},
	{"pbr installed only", func(h *healthy) { h.rc = []string{"pbr"}; h.files["/etc/config/pbr"] = "\toption enabled '0'\n" }, "others/pbr", OK, "not at work"},
	{"sqm", func(h *healthy) {
		h.rc = []string{"sqm"}
		h.files["/etc/config/sqm"] = "config queue\n\toption enabled '1'\n"
	}, "others/sqm", Warn, "shapes"},
	{"sqm on its second queue", func(h *healthy) {
		h.rc = []string{"sqm"}
		h.files["/etc/config/sqm"] = "config queue 'eth1'\n\toption enabled '0'\n\nconfig queue 'dsl'\n\toption enabled '1'\n"
	}, "others/sqm", Warn, "shapes"},
	{"sqm on none of its queues", func(h *healthy) {
		h.rc = []string{"sqm"}
		h.files["/etc/config/sqm"] = "config queue 'eth1'\n\toption enabled '0'\n"
	}, "others/sqm", OK, "not at work"},
	{"a firewall that counts relayed SYNs", func(h *healthy) {
		h.Run = func(string, ...string) (string, error) { return fmt.Sprintf(fw4Input, ""), nil }
	}, "lan/firewall", Fail, "flood"},
	{"a firewall that lets them in by another mark", func(h *healthy) {
		h.MarkLocal = 0x80
		h.Run = func(string, ...string) (string, error) { return fmt.Sprintf(fw4Input, ourAccept), nil }
	}, "lan/firewall", Fail, "flood"},
	{"a firewall that lets them in", func(h *healthy) {
		h.MarkLocal = 0x10000000
		h.Run = func(string, ...string) (string, error) { return fmt.Sprintf(fw4Input, ourAccept), nil }
	}, "lan/firewall", OK, "lets relayed"},
	{"a firewall that counts none", func(h *healthy) {
		h.Run = func(string, ...string) (string, error) { return "table inet fw4 {\n\tchain input {\n\t}\n}\n", nil }
	}, "lan/firewall", OK, "does not count"},
	{"no such firewall", func(h *healthy) {
		h.Run = func(string, ...string) (string, error) { return "", errTest }
	}, "lan/firewall", OK, "not there"},
	{"offloading by UCI", func(h *healthy) { h.files["/etc/config/firewall"] = "config defaults\n\toption flow_offloading '1'\n" }, "others/flow offloading", Warn, "on"},
	{"offloading by nft", func(h *healthy) {
		h.Run = func(string, ...string) (string, error) {
			return "table inet fw4 { flowtable ft { hook ingress priority 0; devices = { eth0 } } }", nil
		}
	}, "others/flow offloading", Warn, "on"},
	{"passwall", func(h *healthy) { h.rc = []string{"passwall"} }, "others/transparent proxies", Warn, "passwall"},
}

func TestScenarios(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			h := newHealthy()
			s.hurt(h)
			r := Run(t.Context(), h.World, Tree(h.World))
			found := false
			for _, f := range r.Findings {
				if f.Name != s.node {
					continue
				}
				found = true
				if f.Status != s.want || !strings.Contains(f.What, s.words) {
					t.Errorf("%s: %v: %s; want %v with %q", f.Name, f.Status, f.What, s.want, s.words)
				}
				if f.Status == Warn || f.Status == Fail {
					if f.Remedy == "" || f.Command == "" {
						t.Errorf("%s: no remedy or no command: %+v", f.Name, f)
					}
				}
			}
			if !found {
				t.Errorf("there is no check %q", s.node)
			}
			if code := r.ExitCode(); s.want == Fail && code != 1 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

// Each check must be seen to fail or warn in some scenario; the same check of another link counts.
func TestEachCheckHasAScenarioInWhichItFails(t *testing.T) {
	kind := func(name string) string {
		group, check, _ := strings.Cut(name, "/")
		if strings.HasPrefix(group, "link ") {
			group = "link"
		}
		return group + "/" + check
	}
	covered := map[string]bool{}
	for _, s := range scenarios {
		if s.want == Warn || s.want == Fail {
			covered[kind(s.node)] = true
		}
	}
	for _, n := range Tree(newHealthy().World) {
		if !covered[kind(n.Name)] {
			t.Errorf("%s never fails in a scenario", n.Name)
		}
	}
}

func TestDeadLinkGivesOneComplaint(t *testing.T) {
	h := newHealthy()
	h.Links[0].Present = false
	r := Run(t.Context(), h.World, Tree(h.World))
	if n := r.Count(Fail); n != 1 {
		t.Errorf("%d complaints about one missing device:\n%s", n, outcomes(r))
	}
	for _, f := range r.Findings {
		if strings.HasPrefix(f.Name, "link dsl/") && f.Status == Blocked && f.What != "not checked: depends on link dsl/device" {
			t.Errorf("%s: %s", f.Name, f.What)
		}
		if strings.HasPrefix(f.Name, "link lte/") && f.Status != OK {
			t.Errorf("the other link: %s: %v", f.Name, f.Status)
		}
	}
}

func TestSeveralConcentratorsAreToldApart(t *testing.T) {
	h := newHealthy()
	h.Remotes = append(h.Remotes, Concentrator{Addr: netip.MustParseAddrPort("192.0.2.99:5124"), Protocol: "convert"})
	h.Connect = func(_ Link, c Concentrator) (time.Duration, error) {
		if c.Addr.Addr() == netip.MustParseAddr("192.0.2.99") {
			return 0, errTest
		}
		return time.Millisecond, nil
	}
	nodes := Tree(h.World)
	if err := validate(nodes); err != nil {
		t.Fatal(err)
	}
	if n := Run(t.Context(), h.World, nodes).Count(Fail); n != 2 {
		t.Errorf("%d failures, want one per link", n)
	}
}

func TestWithoutDaemonAndProbesTheRestIsStillChecked(t *testing.T) {
	w := System(t.Context())
	w.Links, w.Remotes = newHealthy().Links, newHealthy().Remotes
	w.Route = nil
	nodes := Tree(w)
	if err := validate(nodes); err != nil {
		t.Fatal(err)
	}
	r := Run(t.Context(), w, nodes)
	for _, f := range r.Findings {
		if strings.Contains(f.What, "the check itself broke") {
			t.Errorf("%s: %s", f.Name, f.What)
		}
	}
	if len(r.Findings) != len(nodes) {
		t.Errorf("%d findings of %d checks", len(r.Findings), len(nodes))
	}
}

func TestSpaceOfARealDirectory(t *testing.T) {
	s, err := space(t.TempDir())
	if err != nil || s.Total == 0 || s.Free > s.Total {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := space("/nowhere/at/all"); err == nil {
		t.Error("no error for a directory that does not exist")
	}
}
