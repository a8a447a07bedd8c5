// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// Connect (RFC 8803 section 6.2.5) names the server that the converter shall connect to or, in a message from a
// converter, the remote host that an incoming connection comes from.
type Connect struct {
	Addr    netip.AddrPort // without zone; an IPv4 address is IPv4, not IPv4-mapped
	Options []byte         // TCP options that the converter shall use towards the server, without padding. nil: Base Connect
}

// parseConnect reads port, address and options. A port 0 or a Forbidden address is for the caller to refuse.
func (m *Message) parseConnect(value []byte) error {
	if len(value) < 18 {
		return fmt.Errorf("connect TLV of %d octets, at least 20 are needed", len(value)+2)
	}
	addr := netip.AddrFrom16([16]byte(value[2:18])).Unmap()
	c := &Connect{Addr: netip.AddrPortFrom(addr, binary.BigEndian.Uint16(value))}
	if field := value[18:]; len(field) > 0 {
		n, err := optionsLen(field)
		if err != nil {
			return fmt.Errorf("connect TLV: %w", err)
		}
		c.Options = append([]byte{}, field[:n]...)
	}
	m.Connect = c
	return nil
}

func (m *Message) appendConnect(b []byte) ([]byte, error) {
	c := m.Connect
	if c == nil {
		return b, nil
	}
	addr := c.Addr.Addr()
	if !addr.IsValid() || addr.Zone() != "" {
		return b, fmt.Errorf("connect to %v: an address without zone is needed", c.Addr)
	}
	field := c.Options
	if n, err := optionsLen(field); err != nil || n != len(field) {
		return b, fmt.Errorf("connect to %v: %w", c.Addr, errors.Join(err, errors.New("TCP options can't be written")))
	}
	if field != nil && len(field) == 0 {
		field = make([]byte, 4) // an Extended Connect that asks for nothing: one word of padding
	}
	port, ip := binary.BigEndian.AppendUint16(nil, c.Addr.Port()), addr.As16()
	return appendTLV(b, TypeConnect, port, ip[:], field)
}

// Forbidden tells the addresses that a Connect must not name: multicast, broadcast, loopback (RFC 8803 section
// 6.2.5), the unspecified ones, which Linux takes for loopback, and no address at all. A converter answers
// CodeMalformed. Directed broadcasts can't be known from outside.
func Forbidden(a netip.Addr) bool {
	a = a.Unmap()
	return !a.IsValid() || a.IsMulticast() || a.IsLoopback() || a.IsUnspecified() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255})
}
