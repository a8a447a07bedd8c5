// SPDX-License-Identifier: Apache-2.0

package linkmon

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

func up(index int, name string) device {
	return device{index: index, name: name, flags: unix.IFF_UP | unix.IFF_LOWER_UP, carrier: true, operation: operUp, mtu: 1500}
}

func addr(index int, s string, flags uint32) address {
	return address{index: index, addr: netip.MustParseAddr(s), flags: flags, preferred: ^uint32(0)}
}

func way(index int, gw string, priority uint32) route {
	r := route{index: index, table: unix.RT_TABLE_MAIN, priority: priority}
	if gw != "" {
		r.gateway = netip.MustParseAddr(gw)
		r.v6 = r.gateway.Is6()
	}
	return r
}

func TestSourceAddress(t *testing.T) {
	none := ""
	for _, c := range []struct {
		name   string
		v6     bool
		have   []address
		before string
		want   string
	}{
		{"none", false, nil, none, none},
		{"other device's", false, []address{addr(9, "192.0.2.1", 0)}, none, none},
		{"first of equals", false, []address{addr(3, "192.0.2.1", 0), addr(3, "192.0.2.2", 0)}, none, "192.0.2.1"},
		{"stays with what it had", false, []address{addr(3, "192.0.2.1", 0), addr(3, "192.0.2.2", 0)}, "192.0.2.2", "192.0.2.2"},
		{"primary before secondary", false, []address{addr(3, "192.0.2.1", unix.IFA_F_SECONDARY), addr(3, "192.0.2.2", 0)}, "192.0.2.1", "192.0.2.2"},
		{"link-local is none", false, []address{addr(3, "169.254.3.4", 0)}, none, none},
		{"private IPv4 is as good as any", false, []address{addr(3, "192.168.1.2", 0)}, none, "192.168.1.2"},
		{"tentative is not yet", true, []address{addr(3, "2001:db8::1", unix.IFA_F_TENTATIVE)}, none, none},
		{"optimistic is", true, []address{addr(3, "2001:db8::1", unix.IFA_F_TENTATIVE|unix.IFA_F_OPTIMISTIC)}, none, "2001:db8::1"},
		{"duplicate is never", true, []address{addr(3, "2001:db8::1", unix.IFA_F_DADFAILED)}, none, none},
		{"deprecated no more", true, []address{addr(3, "2001:db8::1", unix.IFA_F_DEPRECATED)}, "2001:db8::1", none},
		{"lasting before temporary", true, []address{addr(3, "2001:db8::f00", unix.IFA_F_TEMPORARY), addr(3, "2001:db8::1", 0)}, none, "2001:db8::1"},
		{"temporary before private", true, []address{addr(3, "fd00::1", 0), addr(3, "2001:db8::f00", unix.IFA_F_TEMPORARY)}, none, "2001:db8::f00"},
		{"temporary and deprecated", true, []address{addr(3, "2001:db8::f00", unix.IFA_F_TEMPORARY|unix.IFA_F_DEPRECATED), addr(3, "fd00::1", 0)}, none, "fd00::1"},
		{"link-local IPv6 is none", true, []address{addr(3, "fe80::1", 0)}, none, none},
	} {
		t.Run(c.name, func(t *testing.T) {
			var before, want netip.Addr
			if c.before != none {
				before = netip.MustParseAddr(c.before)
			}
			if c.want != none {
				want = netip.MustParseAddr(c.want)
			}
			if got := (world{addresses: c.have}).source(3, c.v6, before); got != want {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

func TestNoPreferredLifetimeLeftIsDeprecated(t *testing.T) {
	a := addr(3, "2001:db8::1", 0)
	a.preferred = 0
	if got := (world{addresses: []address{a}}).source(3, true, netip.Addr{}); got.IsValid() {
		t.Errorf("picked %v", got)
	}
}

func TestLinksOfOneReading(t *testing.T) {
	cfg := Config{
		Links:    []LinkConfig{{Name: "dsl", Device: "wan"}, {Name: "lte", Device: "wwan0"}},
		OwnTable: func(table uint32) bool { return table >= 7000 },
	}
	ppp := device{index: 4, name: "wwan0", flags: unix.IFF_UP | unix.IFF_LOWER_UP | unix.IFF_POINTOPOINT, carrier: true}
	ours := way(3, "192.0.2.254", 0)
	ours.table = 7001
	other := way(3, "192.0.2.253", 0)
	other.table = 5001
	for _, c := range []struct {
		name string
		w    world
		want [2]string // reasons
		gw   string    // of dsl
	}{
		{"all there", world{[]device{up(3, "wan"), ppp}, []address{addr(3, "192.0.2.2", 0), addr(4, "10.0.0.7", 0)},
			[]route{way(3, "192.0.2.1", 20)}}, [2]string{}, "192.0.2.1"},
		{"lowest metric, main table first", world{[]device{up(3, "wan"), ppp}, []address{addr(3, "192.0.2.2", 0), addr(4, "10.0.0.7", 0)},
			[]route{other, way(3, "192.0.2.1", 20), way(3, "192.0.2.9", 10)}}, [2]string{}, "192.0.2.9"},
		{"another's table is evidence", world{[]device{up(3, "wan")}, []address{addr(3, "192.0.2.2", 0)},
			[]route{other}}, [2]string{"", "device wwan0 does not exist"}, "192.0.2.253"},
		{"our own table is not", world{[]device{up(3, "wan")}, []address{addr(3, "192.0.2.2", 0)},
			[]route{ours}}, [2]string{"address 192.0.2.2 has no default route by wan", "device wwan0 does not exist"}, ""},
		{"a point-to-point device without address", world{[]device{ppp}, nil, nil}, [2]string{"device wan does not exist", "no address"}, ""},
		{"a route without address", world{[]device{up(3, "wan"), ppp}, []address{addr(4, "10.0.0.7", 0)}, []route{way(3, "192.0.2.1", 0)}},
			[2]string{"no address", ""}, "192.0.2.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			links := look(cfg, c.w, nil)
			for i, l := range links {
				if l.Reason != c.want[i] || l.Usable != (c.want[i] == "") {
					t.Errorf("%s: usable %v, reason %q, want %q", l.Name, l.Usable, l.Reason, c.want[i])
				}
			}
			var gw netip.Addr
			if c.gw != "" {
				gw = netip.MustParseAddr(c.gw)
			}
			if links[0].Gateway4 != gw {
				t.Errorf("gateway %v, want %v", links[0].Gateway4, gw)
			}
		})
	}
}

func TestCarrierNeedsTheOperationalStateToo(t *testing.T) {
	for oper, want := range map[uint8]bool{operUnknown: true, 1: false, 2: false, 3: false, 4: false, 5: false, operUp: true} {
		d := up(3, "wan")
		d.operation = oper
		var l Link
		if d.into(&l); l.Carrier != want {
			t.Errorf("operational state %d: carrier %v", oper, l.Carrier)
		}
	}
}

func TestAlternativeNameYieldsToAName(t *testing.T) {
	a, b := up(3, "eth0"), up(4, "wan")
	a.alternative = []string{"wan", "uplink"}
	w := world{devices: []device{a, b}}
	if d, _ := w.find("wan"); d.index != 4 {
		t.Errorf("wan is device %d", d.index)
	}
	if d, _ := w.find("uplink"); d.index != 3 {
		t.Errorf("uplink is device %d", d.index)
	}
	if _, ok := w.find(""); ok {
		t.Error("a device without name was found")
	}
}

func TestConfigNamesItsFault(t *testing.T) {
	for want, c := range map[string]Config{
		"no link is configured":                      {},
		"link 1 has no name":                         {Links: []LinkConfig{{Device: "wan"}}},
		`link "a" is there twice: names must differ`: {Links: []LinkConfig{{Name: "a", Device: "x"}, {Name: "a", Device: "y"}}},
		`links "a" and "b" have the same device "x"`: {Links: []LinkConfig{{Name: "a", Device: "x"}, {Name: "b", Device: "x"}}},
		`link "a": device "0123456789abcdef" is longer than the 15 octets that the kernel allows`: {Links: []LinkConfig{{Name: "a", Device: "0123456789abcdef"}}},
		`link "a": a capacity of -1 down, 0 up bit/s can't be`:                                    {Links: []LinkConfig{{Name: "a", DownBit: -1}}},
	} {
		if err := c.Validate(); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	two := Config{Links: []LinkConfig{{Name: "a"}, {Name: "b"}}}
	if err := two.Validate(); err != nil {
		t.Errorf("two links whose devices are not known yet: %v", err)
	}
}
