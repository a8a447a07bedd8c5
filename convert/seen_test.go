// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"net/netip"
	"testing"
)

func TestTheAddressAsSeenCrossesTheWire(t *testing.T) {
	for _, a := range []string{"203.0.113.7:40000", "[2001:db8::7]:1"} {
		want := netip.MustParseAddrPort(a)
		wire, err := (&Message{Supported: []uint8{OptionMPTCP}, Unknown: []TLV{Seen(want)}}).Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		m, _, err := Parse(wire)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := m.Seen(); !ok || got != want {
			t.Errorf("%v became %v, %v", want, got, ok)
		}
	}
}

func TestWhoAsksForTheAddress(t *testing.T) {
	other := TLV{Type: 0xc1, Value: make([]byte, 2)}
	for _, tt := range []struct {
		m    Message
		want bool
	}{
		{Message{Info: true, Unknown: []TLV{AskSeen()}}, true},
		{Message{Info: true}, false},
		{Message{Unknown: []TLV{AskSeen()}}, false},
		{Message{Info: true, Unknown: []TLV{other}}, false},
		{Message{Info: true, Unknown: []TLV{AskSeen(), other}}, false},
	} {
		if got := tt.m.AsksSeen(); got != tt.want {
			t.Errorf("%+v: %v", tt.m, got)
		}
		if _, ok := tt.m.Seen(); ok {
			t.Errorf("%+v: a question was taken for an answer", tt.m)
		}
	}
}
