// SPDX-License-Identifier: Apache-2.0

package convert

import "fmt"

// The Supported TCP Extensions TLV (RFC 8803 section 6.2.4) answers Info: two unassigned octets, then one octet per
// TCP option kind, padded with zeros.

// listable tells whether a converter may name the kind: End of List, No-Operation, Maximum Segment Size, Window
// Scale, SACK and TCP-AO must not be listed (sections 6.2.4 and 7).
func listable(kind uint8) bool {
	switch kind {
	case OptionEnd, OptionNop, OptionMSS, OptionWindowScale, OptionSACK, OptionAO:
		return false
	}
	return true
}

// parseSupported drops padding and the kinds that must not be there.
func (m *Message) parseSupported(value []byte) {
	m.Supported = []uint8{}
	for _, kind := range value[2:] {
		if listable(kind) {
			m.Supported = append(m.Supported, kind)
		}
	}
}

func (m *Message) appendSupported(b []byte) ([]byte, error) {
	if m.Supported == nil {
		return b, nil
	}
	for _, kind := range m.Supported {
		if !listable(kind) {
			return b, fmt.Errorf("TCP option kind %d must not be listed as supported", kind)
		}
	}
	return appendTLV(b, TypeSupported, []byte{0, 0}, m.Supported)
}
