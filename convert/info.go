// SPDX-License-Identifier: Apache-2.0

package convert

import "fmt"

// The Info TLV (RFC 8803 section 6.2.3) has no value: two octets of zeros, ignored.

func (m *Message) parseInfo(value []byte) error {
	if len(value) != 2 {
		return fmt.Errorf("info TLV of %d octets, it has 4", len(value)+2)
	}
	m.Info = true
	return nil
}

func (m *Message) appendInfo(b []byte) ([]byte, error) {
	if !m.Info {
		return b, nil
	}
	return appendTLV(b, TypeInfo)
}
