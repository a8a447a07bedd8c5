// SPDX-License-Identifier: Apache-2.0

package convert

// The Cookie TLV (RFC 8803 section 6.2.7): two unassigned octets, then the opaque cookie, padded with zeros. The
// Extended TCP Header TLV (section 6.2.6) has the same shape around the TCP options of the server's SYN+ACK.

// MaxCookie is how many octets a cookie has at most that both ends are configured with. The RFC knows no limit but the message's, which must hold
// a Connect too.
const MaxCookie = 255

func (m *Message) appendCookie(b []byte) ([]byte, error) {
	if m.Cookie == nil {
		return b, nil
	}
	return appendTLV(b, TypeCookie, []byte{0, 0}, m.Cookie)
}

func (m *Message) appendExtendedHeader(b []byte) ([]byte, error) {
	if m.ExtendedHeader == nil {
		return b, nil
	}
	return appendTLV(b, TypeExtendedHeader, []byte{0, 0}, m.ExtendedHeader)
}
