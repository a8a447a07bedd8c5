// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"testing"

	"spillway/netlink"
)

// orders are both byte orders that values have: the machine's own, and the network's. (The headers of attributes are always the machine's
// own: other machines run these tests too.)
var orders = []struct {
	name string
	big  bool
}{{"native", false}, {"network", true}}

// big tells whether this machine's own order is the network's.
func big() bool { return binary.NativeEndian.Uint16([]byte{0, 1}) == 1 }

// payloads encodes in an order and flattens to type, value pairs: "1.3=c0000201" is attribute 3 within 1.
func payloads(t *testing.T, big bool, fn encoder) map[string]string {
	t.Helper()
	ae := &netlink.Encoder{Big: big}
	if err := fn(ae); err != nil {
		t.Fatal(err)
	}
	b, err := ae.Encode()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	flatten(t, "", b, out)
	return out
}

func flatten(t *testing.T, prefix string, b []byte, out map[string]string) {
	t.Helper()
	for len(b) > 0 {
		typ, data, rest, err := nextAttr(b)
		if err != nil {
			t.Fatal(err)
		}
		name := prefix + string(rune('0'+typ))
		if prefix == "" && (typ == attrAddr || typ == attrAddrRemote) {
			flatten(t, name+".", data, out)
		} else {
			out[name] = hex.EncodeToString(data)
		}
		b = rest
	}
}

func TestEncode(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	remote := netip.MustParseAddrPort("192.0.2.9:5124") // 0x1404
	for _, test := range []struct {
		name        string
		fn          encoder
		little, big map[string]string
	}{
		{
			"endpoint", encodeEndpoint(Endpoint{ID: 12, Addr: v4, Port: 0x1234, Flags: FlagSubflow | FlagBackup, IfIndex: 7}),
			map[string]string{"1.1": "0200", "1.2": "0c", "1.3": "c0000201", "1.5": "3412", "1.6": "06000000", "1.7": "07000000"},
			map[string]string{"1.1": "0002", "1.2": "0c", "1.3": "c0000201", "1.5": "1234", "1.6": "00000006", "1.7": "00000007"},
		},
		{
			"IPv4-mapped address", encodeEndpoint(Endpoint{Addr: netip.AddrFrom16(v4.As16())}),
			map[string]string{"1.1": "0200", "1.3": "c0000201"},
			map[string]string{"1.1": "0002", "1.3": "c0000201"},
		},
		{
			"flags by address", encodeRef(0, v6, 0, true),
			map[string]string{"1.1": "0a00", "1.2": "00", "1.4": "20010db8000000000000000000000001", "1.6": "00000000"},
			map[string]string{"1.1": "000a", "1.2": "00", "1.4": "20010db8000000000000000000000001", "1.6": "00000000"},
		},
		{
			"removal by id", encodeRef(12, v4, 0, false),
			map[string]string{"1.2": "0c"},
			map[string]string{"1.2": "0c"},
		},
		{
			"limits", encodeLimits(Limits{Subflows: 4, AddAddrs: 2}),
			map[string]string{"2": "02000000", "3": "04000000"},
			map[string]string{"2": "00000002", "3": "00000004"},
		},
		{
			"subflow", encodeSubflow(0xa1b2c3d4, Endpoint{ID: 2, Addr: v4, Port: 0x1234}, remote),
			map[string]string{"4": "d4c3b2a1", "1.1": "0200", "1.2": "02", "1.3": "c0000201", "1.5": "3412", "6.1": "0200", "6.3": "c0000209", "6.5": "0414"},
			map[string]string{"4": "a1b2c3d4", "1.1": "0002", "1.2": "02", "1.3": "c0000201", "1.5": "1234", "6.1": "0002", "6.3": "c0000209", "6.5": "1404"},
		},
		{
			"withdrawal of the first address", encodeRemove(0xa1b2c3d4, 0),
			map[string]string{"4": "d4c3b2a1", "5": "00"},
			map[string]string{"4": "a1b2c3d4", "5": "00"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, o := range orders {
				want := test.little
				if o.big || big() {
					want = test.big
				}
				got := payloads(t, o.big, test.fn)
				for k, v := range want {
					if got[k] != v {
						t.Errorf("%s order: attribute %s is %s, want %s", o.name, k, got[k], v)
					}
				}
				if len(got) != len(want) {
					t.Errorf("%s order: attributes %v, want %v", o.name, got, want)
				}
			}
		})
	}
}

func TestEncodeRefusesNonsense(t *testing.T) {
	for name, fn := range map[string]encoder{
		"endpoint without address":   encodeEndpoint(Endpoint{ID: 1}),
		"reference to nothing":       encodeRef(0, netip.Addr{}, 0, false),
		"subflow without a peer":     encodeSubflow(1, Endpoint{Addr: netip.MustParseAddr("192.0.2.1")}, netip.AddrPort{}),
		"subflow of two families":    encodeSubflow(1, Endpoint{Addr: netip.MustParseAddr("192.0.2.1")}, netip.MustParseAddrPort("[2001:db8::1]:1")),
		"announcement without id":    encodeAnnounce(1, Endpoint{Addr: netip.MustParseAddr("192.0.2.1")}),
		"announcement of no address": encodeAnnounce(1, Endpoint{ID: 1}),
	} {
		if _, err := attributes(fn); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
