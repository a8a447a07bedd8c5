// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"fmt"
	"net/netip"
)

// Addresses of converters as DHCP options carry them, in the layout of draft-boucadair-tcpm-dhc-converter-03, which expired
// before its options got codes or a port.

// ParseDHCPv4 reads the content of OPTION_V4_CONVERT, parts joined (RFC 3396): lists of IPv4 addresses, each behind an octet
// with its length, each of one converter. Addresses that no server can have are left out, as the draft asks.
func ParseDHCPv4(b []byte) (converters [][]netip.Addr, err error) {
	if len(b) < 5 {
		return nil, fmt.Errorf("DHCPv4 option: %d octets, at least 5 are needed", len(b))
	}
	for len(b) > 0 {
		n := int(b[0])
		if n == 0 || n%4 != 0 || n > len(b)-1 {
			return nil, fmt.Errorf("DHCPv4 option: list of %d octets with %d left: a multiple of 4 is needed", n, len(b)-1)
		}
		if list := dhcpAddresses(b[1:1+n], 4); len(list) > 0 {
			converters = append(converters, list)
		}
		b = b[1+n:]
	}
	return converters, nil
}

// ParseDHCPv6 reads the content of one OPTION_V6_CONVERT: the IPv6 addresses of one converter; IPv4 ones are mapped.
func ParseDHCPv6(b []byte) (converter []netip.Addr, err error) {
	if len(b) == 0 || len(b)%16 != 0 {
		return nil, fmt.Errorf("DHCPv6 option: %d octets, a multiple of 16 is needed", len(b))
	}
	return dhcpAddresses(b, 16), nil
}

func dhcpAddresses(b []byte, size int) (list []netip.Addr) {
	for ; len(b) >= size; b = b[size:] {
		if a, ok := netip.AddrFromSlice(b[:size]); ok && !Forbidden(a.Unmap()) {
			list = append(list, a.Unmap())
		}
	}
	return list
}
