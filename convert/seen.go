// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"encoding/binary"
	"net/netip"
)

// TypeSeen is a TLV of our own, from the range for private use (RFC 8803 section 10.2.2: 192 to 255). With Info a client asks for the address
// that its connection has at the converter, and so learns of a NAT on the way. Another converter answers it with Error 2.
const TypeSeen = 0xc0

// AskSeen is the client's question, to go with Info.
func AskSeen() TLV { return TLV{Type: TypeSeen, Value: make([]byte, 2)} }

// Seen is the converter's answer: port and address, IPv4 mapped as in a Connect.
func Seen(a netip.AddrPort) TLV {
	value := binary.BigEndian.AppendUint16(make([]byte, 0, 18), a.Port())
	as16 := a.Addr().As16()
	return TLV{Type: TypeSeen, Value: append(value, as16[:]...)}
}

// Seen finds the answer in a message.
func (m *Message) Seen() (netip.AddrPort, bool) {
	for _, t := range m.Unknown {
		if t.Type == TypeSeen && len(t.Value) == 18 {
			return netip.AddrPortFrom(netip.AddrFrom16([16]byte(t.Value[2:])).Unmap(), binary.BigEndian.Uint16(t.Value)), true
		}
	}
	return netip.AddrPort{}, false
}

// AsksSeen tells whether a client's message asks for it, and has no other element that this package doesn't know.
func (m *Message) AsksSeen() bool {
	return m.Info && len(m.Unknown) == 1 && m.Unknown[0].Type == TypeSeen
}
