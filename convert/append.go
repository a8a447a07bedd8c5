// SPDX-License-Identifier: Apache-2.0

package convert

import "fmt"

// Append appends the message to b, TLVs in the order Info, Connect, Extended TCP Header, Supported TCP Extensions,
// Cookie, Error, unknown ones. A message with nothing in it is the header alone, a converter's plain "connected".
// It fails when a value can't be written, and when the whole exceeds MaxMessage; b is then returned as it was.
func (m *Message) Append(b []byte) ([]byte, error) {
	start := len(b)
	out := append(b, Version, 0, Magic>>8, Magic&0xff)
	var err error
	for _, write := range []func([]byte) ([]byte, error){
		m.appendInfo, m.appendConnect, m.appendExtendedHeader, m.appendSupported, m.appendCookie, m.appendError, m.appendUnknown,
	} {
		if out, err = write(out); err != nil {
			return b, err
		}
	}
	n := len(out) - start
	if n > MaxMessage {
		return b, fmt.Errorf("convert message of %d octets, at most %d can be written", n, MaxMessage)
	}
	out[start+1] = uint8(n / 4)
	return out, nil
}

// appendTLV writes one TLV whose value, of any length, is padded with zeros to the word.
func appendTLV(b []byte, typ uint8, value ...[]byte) ([]byte, error) {
	n := 2
	for _, v := range value {
		n += len(v)
	}
	padded := (n + 3) &^ 3
	if padded > MaxMessage-HeaderLen {
		return b, fmt.Errorf("convert TLV 0x%02x of %d octets, at most %d fit a message", typ, padded, MaxMessage-HeaderLen)
	}
	b = append(b, typ, uint8(padded/4))
	for _, v := range value {
		b = append(b, v...)
	}
	return append(b, make([]byte, padded-n)...), nil
}

func (m *Message) appendUnknown(b []byte) ([]byte, error) {
	var seen kindSet
	for _, t := range m.Unknown {
		if t.Type == 0 || known(t.Type) || !seen.add(t.Type) {
			return b, fmt.Errorf("convert TLV 0x%02x can't be written as an unknown one", t.Type)
		}
		var err error
		if b, err = appendTLV(b, t.Type, t.Value); err != nil {
			return b, err
		}
	}
	return b, nil
}
