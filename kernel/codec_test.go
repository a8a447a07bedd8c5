// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"spillway/netlink"
)

func someRules() []Rule {
	return slices.Concat(Usual().LocalRules([]string{"br-lan", "br-guest"}, true), Usual().LinkRules(0, dsl), Usual().LinkRules(31, lte6))
}

func someRoutes() []Route {
	return append(Usual().LocalRoutes(true), Usual().LinkRoute(0, 3, netip.MustParseAddr("10.1.1.1"), dsl), Usual().LinkRoute(1, 1<<30, netip.Addr{}, lte),
		Usual().LinkRoute(31, 4, netip.MustParseAddr("fe80::1"), lte6),
		Usual().LinkRoute(2, 5, netip.MustParseAddr("fe80::1"), dsl))
}

func TestRuleCodec(t *testing.T) {
	for _, r := range someRules() {
		b, err := encodeRule(r)
		if err != nil {
			t.Fatal(err)
		}
		if got, ours, err := Usual().decodeRule(b); got != r || !ours || err != nil {
			t.Errorf("%v comes back as %v, ours %t, %v", r, got, ours, err)
		}
		// An attribute of a kernel to come, on a rule of anybody's, is no obstacle.
		b = append(b, 8, 0, 0x3f, 0x3f, 1, 2, 3, 4)
		if binary.NativeEndian.Uint16(b[len(b)-8:]) != 8 { // big-endian
			b[len(b)-8], b[len(b)-7] = 0, 8
		}
		if got, ours, err := Usual().decodeRule(b); got != r || !ours || err != nil {
			t.Errorf("with an unknown attribute %v comes back as %v, ours %t, %v", r, got, ours, err)
		}
	}
	foreign := Rule{Priority: 1001, From: dsl, Table: 1}
	b, _ := encodeRule(foreign)
	if _, ours, err := Usual().decodeRule(b); ours || err != nil {
		t.Errorf("a rule at another priority: ours %t, %v", ours, err)
	}
}

func TestRouteCodec(t *testing.T) {
	for _, r := range someRoutes() {
		b, err := encodeRoute(r)
		if err != nil {
			t.Fatal(err)
		}
		if got, ours, err := Usual().decodeRoute(b); len(got) != 1 || got[0] != r || !ours || err != nil {
			t.Errorf("%v comes back as %v, ours %t, %v", r, got, ours, err)
		}
		b[5] = unix.RTPROT_STATIC
		if _, ours, err := Usual().decodeRoute(b); ours || err != nil {
			t.Errorf("somebody's route in our table: ours %t, %v", ours, err)
		}
	}
}

// The kernel joins IPv6 routes that differ in the nexthop; each is one of ours.
func TestRouteWithNexthops(t *testing.T) {
	gateways := []netip.Addr{netip.MustParseAddr("fe80::1"), netip.MustParseAddr("fe80::2")}
	hop := func(index uint32, gateway netip.Addr) []byte {
		ae := new(netlink.Encoder)
		ae.Bytes(unix.RTA_GATEWAY, gateway.AsSlice())
		attrs, _ := ae.Encode()
		b := binary.NativeEndian.AppendUint16(nil, uint16(8+len(attrs)))
		b = binary.NativeEndian.AppendUint32(append(b, 0, 0), index)
		return append(b, attrs...)
	}
	ae := new(netlink.Encoder)
	ae.Uint32(unix.RTA_TABLE, Usual().LinkTable(1))
	ae.Bytes(unix.RTA_MULTIPATH, append(hop(3, gateways[0]), hop(4, gateways[1])...))
	attrs, err := ae.Encode()
	if err != nil {
		t.Fatal(err)
	}
	b := append([]byte{unix.AF_INET6, 0, 0, 0, 0, protocol, 0, unix.RTN_UNICAST, 0, 0, 0, 0}, attrs...)
	got, ours, err := Usual().decodeRoute(b)
	want := []Route{{Table: Usual().LinkTable(1), V6: true, Gateway: gateways[0], Index: 3}, {Table: Usual().LinkTable(1), V6: true, Gateway: gateways[1], Index: 4}}
	if !ours || err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, ours %t, %v", got, ours, err)
	}
}

// FuzzKernelMessages throws octets at every decoder of what the kernel says: none may panic, and what ours re-encodes comes back the same.
func FuzzKernelMessages(f *testing.F) {
	for _, r := range someRules() {
		b, _ := encodeRule(r)
		f.Add(b)
	}
	for _, r := range someRoutes() {
		b, _ := encodeRoute(r)
		f.Add(b)
	}
	for _, b := range nftSeeds() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, ours, err := Usual().decodeRule(b); err == nil && ours && r.From.Is6() == r.V6 && !r.From.Is4In6() {
			again, err := encodeRule(r)
			if err != nil {
				t.Fatal(err)
			}
			if got, _, err := Usual().decodeRule(again); got != r && r.Mask != 0 || err != nil {
				t.Fatalf("%v comes back as %v, %v", r, got, err)
			}
		}
		Usual().decodeRoute(b)
		decodeHops(b)
		decodeTable(b)
		decodeChain(b)
		decodeCounter(b)
		decodeElements(b)
		for _, kind := range []uint16{unix.RTM_NEWRULE, unix.RTM_DELROUTE} {
			Usual().oursOnRoute(netlink.Message{Type: kind, Data: b})
		}
		oursOnNetfilter(netlink.Message{Type: nftType(unix.NFT_MSG_NEWTABLE), Data: b})
	})
}

// nft builds one nf_tables message.
func nftMessage(fill func(ae *netlink.Encoder)) []byte {
	ae := new(netlink.Encoder)
	ae.Big = true
	fill(ae)
	b, err := ae.Encode()
	if err != nil {
		panic(err)
	}
	return append([]byte{unix.NFPROTO_INET, 0, 0, 0}, b...)
}

func nftSeeds() [][]byte {
	return [][]byte{
		nftMessage(func(ae *netlink.Encoder) {
			ae.String(unix.NFTA_TABLE_NAME, TableName)
			ae.Bytes(nftaTableUserdata, []byte("\x01\x02xx\x00\x05abcd\x00"))
		}),
		nftMessage(func(ae *netlink.Encoder) {
			ae.String(unix.NFTA_CHAIN_TABLE, TableName)
			ae.String(unix.NFTA_CHAIN_NAME, "prerouting")
			ae.Uint32(unix.NFTA_CHAIN_USE, 14)
		}),
		nftMessage(func(ae *netlink.Encoder) {
			ae.String(unix.NFTA_OBJ_TABLE, TableName)
			ae.String(unix.NFTA_OBJ_NAME, "relayed")
			ae.Uint32(unix.NFTA_OBJ_TYPE, unix.NFT_OBJECT_COUNTER)
			ae.Nested(unix.NFTA_OBJ_DATA, func(in *netlink.Encoder) error {
				in.Bytes(unix.NFTA_COUNTER_BYTES, binary.BigEndian.AppendUint64(nil, 1<<40))
				in.Bytes(unix.NFTA_COUNTER_PACKETS, binary.BigEndian.AppendUint64(nil, 7))
				return nil
			})
		}),
		nftMessage(func(ae *netlink.Encoder) {
			ae.Nested(unix.NFTA_SET_ELEM_LIST_ELEMENTS, func(list *netlink.Encoder) error {
				list.Nested(unix.NFTA_LIST_ELEM, func(e *netlink.Encoder) error {
					e.Nested(unix.NFTA_SET_ELEM_KEY, func(key *netlink.Encoder) error {
						key.Bytes(nftaDataValue, dsl.AsSlice())
						return nil
					})
					e.Bytes(unix.NFTA_SET_ELEM_EXPIRATION, binary.BigEndian.AppendUint64(nil, 90_000))
					return nil
				})
				return nil
			})
		}),
	}
}

func TestNFTMessages(t *testing.T) {
	s := nftSeeds()
	if comment, flags, err := decodeTable(s[0]); comment != "abcd" || flags != 0 || err != nil {
		t.Errorf("comment %q, %v", comment, err)
	}
	if table, name, use, err := decodeChain(s[1]); table != TableName || name != "prerouting" || use != 14 || err != nil {
		t.Errorf("chain %q %q %d, %v", table, name, use, err)
	}
	if table, name, n, err := decodeCounter(s[2]); table != TableName || name != "relayed" || n != (Counter{7, 1 << 40}) || err != nil {
		t.Errorf("counter %q %q %v, %v", table, name, n, err)
	}
	if e, err := decodeElements(s[3]); err != nil || len(e) != 1 || e[0].addr != dsl || e[0].ttl.Seconds() != 90 {
		t.Errorf("elements %v, %v: %s", e, err, hex.EncodeToString(s[3]))
	}
}
