// SPDX-License-Identifier: Apache-2.0

package linkmon

import (
	"encoding/binary"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"spillway/netlink"
)

// message joins a header and attributes.
func message(header []byte, fill func(e *netlink.Encoder)) []byte {
	e := new(netlink.Encoder)
	fill(e)
	b, err := e.Encode()
	if err != nil {
		panic(err)
	}
	return slices.Concat(header, b)
}

func ifinfo(index int32, flags uint32) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	binary.NativeEndian.PutUint32(b[8:], flags)
	return b
}

func ifaddr(family, flags, scope uint8, index uint32) []byte {
	b := []byte{family, 24, flags, scope, 0, 0, 0, 0}
	binary.NativeEndian.PutUint32(b[4:], index)
	return b
}

func rtmsg(family, dst, src, table, kind uint8) []byte {
	return []byte{family, dst, src, 0, table, 0, 0, kind, 0, 0, 0, 0}
}

func stats64(rx, tx uint64) []byte {
	var b []byte
	for _, v := range []uint64{11, 22, rx, tx, 0, 0, 0, 0} {
		b = binary.NativeEndian.AppendUint64(b, v)
	}
	return b
}

func TestParseDevice(t *testing.T) {
	b := message(ifinfo(7, unix.IFF_UP|unix.IFF_LOWER_UP|unix.IFF_POINTOPOINT), func(e *netlink.Encoder) {
		e.Bytes(unix.IFLA_ADDRESS, []byte{1}) // a phone modem's hardware address has one octet
		e.String(unix.IFLA_IFNAME, "wwan0")
		e.Uint32(unix.IFLA_MTU, 1428)
		e.Uint8(unix.IFLA_OPERSTATE, 0)
		e.Uint8(unix.IFLA_CARRIER, 1)
		e.Bytes(unix.IFLA_STATS64, stats64(1<<33, 1<<34))
		e.Bytes(unix.IFLA_STATS, make([]byte, 96)) // the narrow twin must not overwrite
		e.Nested(unix.IFLA_PROP_LIST, func(e *netlink.Encoder) error {
			e.String(unix.IFLA_ALT_IFNAME, "cdc-wdm0-net")
			return nil
		})
	})
	got, err := parseDevice(b)
	want := device{index: 7, name: "wwan0", mtu: 1428, carrier: true, alternative: []string{"cdc-wdm0-net"},
		flags: unix.IFF_UP | unix.IFF_LOWER_UP | unix.IFF_POINTOPOINT, rxPackets: 11, txPackets: 22, rxBytes: 1 << 33, txBytes: 1 << 34}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	narrow, err := parseDevice(message(ifinfo(7, 0), func(e *netlink.Encoder) {
		b := make([]byte, 96)
		binary.NativeEndian.PutUint32(b[8:], 3000)
		binary.NativeEndian.PutUint32(b[12:], 4000)
		e.Bytes(unix.IFLA_STATS, b)
		e.Bytes(unix.IFLA_MTU, []byte{1}) // malformed: as if absent
	}))
	if err != nil || narrow.rxBytes != 3000 || narrow.txBytes != 4000 || narrow.mtu != 0 || narrow.carrier {
		t.Errorf("32 bit counters: %+v, %v", narrow, err)
	}
}

func TestParseAddress(t *testing.T) {
	peer := message(ifaddr(unix.AF_INET, unix.IFA_F_PERMANENT, 0, 4), func(e *netlink.Encoder) {
		e.Bytes(unix.IFA_ADDRESS, []byte{192, 0, 2, 1})
		e.Bytes(unix.IFA_LOCAL, []byte{192, 0, 2, 2})
	})
	got, err := parseAddress(peer)
	if want := (address{index: 4, addr: netip.MustParseAddr("192.0.2.2"), flags: unix.IFA_F_PERMANENT, preferred: ^uint32(0)}); err != nil || got != want {
		t.Errorf("PPP address: %+v, %v, want %+v", got, err, want)
	}
	v6 := netip.MustParseAddr("2001:db8::2")
	got, err = parseAddress(message(ifaddr(unix.AF_INET6, 0, 0, 4), func(e *netlink.Encoder) {
		e.Bytes(unix.IFA_ADDRESS, v6.AsSlice())
		e.Uint32(unix.IFA_FLAGS, unix.IFA_F_MANAGETEMPADDR|unix.IFA_F_TENTATIVE) // wider than the header's octet
		e.Bytes(unix.IFA_CACHEINFO, make([]byte, 16))
	}))
	if want := (address{index: 4, addr: v6, flags: unix.IFA_F_MANAGETEMPADDR | unix.IFA_F_TENTATIVE}); err != nil || got != want {
		t.Errorf("IPv6 address: %+v, %v, want %+v", got, err, want)
	}
}

func TestParseRoute(t *testing.T) {
	gw4, gw6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("fe80::1")
	for _, c := range []struct {
		name string
		in   []byte
		want []route
	}{
		{"default by a gateway", message(rtmsg(unix.AF_INET, 0, 0, 254, unix.RTN_UNICAST), func(e *netlink.Encoder) {
			e.Bytes(unix.RTA_GATEWAY, gw4.AsSlice())
			e.Uint32(unix.RTA_OIF, 5)
			e.Uint32(unix.RTA_PRIORITY, 100)
		}), []route{{index: 5, gateway: gw4, table: 254, priority: 100}}},
		{"in a table beyond 255", message(rtmsg(unix.AF_INET, 0, 0, 252, unix.RTN_UNICAST), func(e *netlink.Encoder) {
			e.Uint32(unix.RTA_TABLE, 5001)
			e.Uint32(unix.RTA_OIF, 5)
		}), []route{{index: 5, table: 5001}}},
		{"for one source prefix", message(rtmsg(unix.AF_INET6, 0, 56, 254, unix.RTN_UNICAST), func(e *netlink.Encoder) {
			e.Bytes(unix.RTA_SRC, netip.MustParseAddr("2001:db8::").AsSlice())
			e.Bytes(unix.RTA_GATEWAY, gw6.AsSlice())
			e.Uint32(unix.RTA_OIF, 5)
		}), []route{{index: 5, v6: true, gateway: gw6, table: 254, source: netip.MustParsePrefix("2001:db8::/56")}}},
		{"IPv4 by an IPv6 gateway", message(rtmsg(unix.AF_INET, 0, 0, 254, unix.RTN_UNICAST), func(e *netlink.Encoder) {
			via := binary.NativeEndian.AppendUint16(nil, unix.AF_INET6)
			e.Bytes(unix.RTA_VIA, append(via, gw6.AsSlice()...))
			e.Uint32(unix.RTA_OIF, 5)
		}), []route{{index: 5, gateway: gw6, table: 254}}},
		{"multipath", message(rtmsg(unix.AF_INET, 0, 0, 254, unix.RTN_UNICAST), func(e *netlink.Encoder) {
			e.Bytes(unix.RTA_MULTIPATH, slices.Concat(hop(5, gw4), hop(6, netip.Addr{})))
		}), []route{{index: 5, gateway: gw4, table: 254}, {index: 6, table: 254}}},
		{"to somewhere", message(rtmsg(unix.AF_INET, 24, 0, 254, unix.RTN_UNICAST), func(e *netlink.Encoder) {
			e.Uint32(unix.RTA_OIF, 5)
		}), nil},
		{"unreachable", message(rtmsg(unix.AF_INET6, 0, 0, 254, unix.RTN_UNREACHABLE), func(e *netlink.Encoder) {
			e.Uint32(unix.RTA_OIF, 1)
		}), nil},
	} {
		got, err := parseRoute(c.in)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %+v, %v, want %+v", c.name, got, err, c.want)
		}
	}
}

// hop is one struct rtnexthop.
func hop(index uint32, gw netip.Addr) []byte {
	b := make([]byte, unix.SizeofRtNexthop)
	binary.NativeEndian.PutUint32(b[4:], index)
	b = message(b, func(e *netlink.Encoder) {
		if gw.IsValid() {
			e.Bytes(unix.RTA_GATEWAY, gw.AsSlice())
		}
	})
	binary.NativeEndian.PutUint16(b, uint16(len(b)))
	return b
}

func TestWeigh(t *testing.T) {
	none := func(*netlink.Encoder) {}
	for _, c := range []struct {
		name string
		kind uint16
		body []byte
		want hint
	}{
		{"carrier lost", unix.RTM_NEWLINK, ifinfo(3, unix.IFF_UP), hintLoss},
		{"device up", unix.RTM_NEWLINK, ifinfo(3, unix.IFF_UP|unix.IFF_LOWER_UP), hintChange},
		{"device gone", unix.RTM_DELLINK, ifinfo(3, 0), hintLoss},
		{"address gone", unix.RTM_DELADDR, ifaddr(unix.AF_INET, 0, 0, 3), hintLoss},
		{"address come", unix.RTM_NEWADDR, ifaddr(unix.AF_INET, 0, 0, 3), hintChange},
		{"default route gone", unix.RTM_DELROUTE, message(rtmsg(unix.AF_INET, 0, 0, 254, 1), none), hintLoss},
		{"default route come", unix.RTM_NEWROUTE, message(rtmsg(unix.AF_INET, 0, 0, 254, 1), none), hintChange},
		{"some route", unix.RTM_NEWROUTE, message(rtmsg(unix.AF_INET, 24, 0, 254, 1), none), hintNone},
		{"nothing of ours", unix.RTM_NEWNEIGH, nil, hintNone},
		{"too short", unix.RTM_NEWROUTE, []byte{2}, hintNone},
	} {
		if got := weigh(c.kind, c.body); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// FuzzParse gives any octets to the parsers: they must neither panic nor invent what can't be.
func FuzzParse(f *testing.F) {
	f.Add(message(ifinfo(7, unix.IFF_UP), func(e *netlink.Encoder) { e.String(unix.IFLA_IFNAME, "x") }))
	f.Add(message(ifaddr(2, 0, 0, 1), func(e *netlink.Encoder) { e.Bytes(unix.IFA_LOCAL, []byte{1, 2, 3, 4}) }))
	f.Add(message(rtmsg(10, 0, 200, 254, 1), func(e *netlink.Encoder) { e.Bytes(unix.RTA_SRC, make([]byte, 16)) }))
	f.Add(message(rtmsg(2, 0, 0, 254, 1), func(e *netlink.Encoder) { e.Bytes(unix.RTA_MULTIPATH, hop(3, netip.Addr{})) }))
	f.Add(message(rtmsg(2, 0, 0, 254, 1), func(e *netlink.Encoder) { e.Bytes(unix.RTA_MULTIPATH, []byte{0, 0, 0, 0, 0, 0, 0, 0, 9}) }))
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := parseDevice(b); err == nil && d.mtu < 0 {
			t.Errorf("MTU %d", d.mtu)
		}
		if a, err := parseAddress(b); err == nil && a.index < 0 {
			t.Errorf("index %d", a.index)
		}
		routes, err := parseRoute(b)
		if err != nil && routes != nil {
			t.Error("routes beside an error")
		}
		if len(routes) > len(b) {
			t.Errorf("%d routes of %d octets", len(routes), len(b))
		}
		for _, kind := range []uint16{unix.RTM_NEWLINK, unix.RTM_DELADDR, unix.RTM_NEWROUTE} {
			weigh(kind, b)
		}
	})
}
