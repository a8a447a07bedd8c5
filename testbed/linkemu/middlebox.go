// SPDX-License-Identifier: Apache-2.0

package linkemu

import "encoding/binary"

// Middlebox is what a box on the way does to TCP. The zero value does nothing.
type Middlebox struct {
	StripMPTCP  bool // MPTCP options become NOPs in every segment
	StripJoin   bool // only SYNs with MP_JOIN lose the option: further subflows can't be made
	AlterOctets bool // one octet of each payload of 100 octets or more changes, the TCP checksum with it: only MPTCP's own checksum can tell
	DropSYNData bool // SYNs with payload vanish, as fast-open-hostile firewalls have it
	DropPrio    bool // segments with MP_PRIO vanish; the kernel never sends them again
}

// TCP options of MPTCP, RFC 8684 section 3.
const (
	optionEnd, optionNOP, optionMPTCP = 0, 1, 30
	subtypeJoin, subtypePrio          = 1, 5
)

// pass applies the box to an IP packet in place; false: the box drops it. What is no whole TCP segment passes untouched.
func (m Middlebox) pass(ip []byte) bool {
	if m == (Middlebox{}) {
		return true
	}
	segment := tcp(ip)
	if segment == nil {
		return true
	}
	offset := int(segment[12]>>4) * 4
	syn := segment[13]&2 != 0
	if m.DropSYNData && syn && len(segment) > offset {
		return false
	}
	keep := true
	eachOption(segment[20:offset], func(option []byte) {
		if option[0] != optionMPTCP || len(option) < 3 {
			return
		}
		subtype := option[2] >> 4
		if m.DropPrio && subtype == subtypePrio {
			keep = false
		}
		if m.StripMPTCP || m.StripJoin && syn && subtype == subtypeJoin {
			at := cap(segment) - cap(option)
			for i := range option {
				alter(segment, at+i, optionNOP)
			}
		}
	})
	if m.AlterOctets && len(segment)-offset >= 100 {
		at := offset + 50
		alter(segment, at, segment[at]^0x55)
	}
	return keep
}

// tcp finds the TCP segment of an IPv4 or IPv6 packet; nil: it has none, is a fragment, or is cut short.
func tcp(ip []byte) []byte {
	var segment []byte
	switch {
	case len(ip) >= 20 && ip[0]>>4 == 4:
		header, total := int(ip[0]&15)*4, int(binary.BigEndian.Uint16(ip[2:]))
		fragment := binary.BigEndian.Uint16(ip[6:])&0x3fff != 0
		if ip[9] != 6 || fragment || header < 20 || total > len(ip) || header > total {
			return nil
		}
		segment = ip[header:total:total]
	case len(ip) >= 40 && ip[0]>>4 == 6:
		total := 40 + int(binary.BigEndian.Uint16(ip[4:]))
		if ip[6] != 6 || total > len(ip) {
			return nil
		}
		segment = ip[40:total:total]
	}
	if len(segment) < 20 || int(segment[12]>>4)*4 < 20 || int(segment[12]>>4)*4 > len(segment) {
		return nil
	}
	return segment
}

// eachOption calls fn with each TCP option of two octets or more. Options keep the capacity of the whole segment.
func eachOption(options []byte, fn func([]byte)) {
	for len(options) >= 2 && options[0] != optionEnd {
		if options[0] == optionNOP {
			options = options[1:]
			continue
		}
		n := int(options[1])
		if n < 2 || n > len(options) {
			return
		}
		fn(options[:n])
		options = options[n:]
	}
}

// alter sets one octet of a segment and adjusts its checksum (RFC 1624, equation 3).
func alter(segment []byte, at int, value byte) {
	word := at &^ 1
	old := pair(segment, word)
	segment[at] = value
	sum := uint32(^binary.BigEndian.Uint16(segment[16:])) + uint32(^old) + uint32(pair(segment, word))
	sum = sum&0xffff + sum>>16
	sum = sum&0xffff + sum>>16
	binary.BigEndian.PutUint16(segment[16:], ^uint16(sum))
}

// pair is the 16-bit word at an even offset, padded with zero at the end.
func pair(segment []byte, at int) uint16 {
	if at+1 < len(segment) {
		return binary.BigEndian.Uint16(segment[at:])
	}
	return uint16(segment[at]) << 8
}
