// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"bytes"
	"errors"
	"fmt"
)

// ParseError says where a message is wrong and which error code a converter answers. A client resets the connection.
type ParseError struct {
	Offset int  // of the faulty TLV, in octets from the message's start
	Code   Code // CodeUnsupportedVersion, CodeMalformed or CodeUnsupportedMessage
	Err    error
}

func (e *ParseError) Error() string {
	return fmt.Sprintf("convert message, octet %d: %v", e.Offset, e.Err)
}

func (e *ParseError) Unwrap() error { return e.Err }

// Parse reads the message at the start of b. n is how many octets it has: user data is b[n:]; after a *ParseError in
// a TLV b[:n] is what Malformed and UnsupportedMessage echo. The message keeps no reference to b.
//
// It fails with ErrShort when b is a true prefix of a message, ErrMagic (ignore in silence), ErrLength (reset), or a
// *ParseError. A TLV of type 0 is CodeUnsupportedMessage; a TLV twice, of length 0, beyond the message or wrong inside
// is CodeMalformed. The work is proportional to n, which is at most MaxMessage.
func Parse(b []byte) (m *Message, n int, err error) {
	n, err = Length(b)
	if errors.Is(err, ErrVersion) {
		return nil, 0, &ParseError{Code: CodeUnsupportedVersion, Err: err}
	}
	if err != nil {
		return nil, 0, err
	}
	if len(b) < n {
		return nil, 0, ErrShort
	}
	m = new(Message)
	var seen kindSet
	for at := HeaderLen; at < n; {
		size, code, err := m.parseTLV(b[at:n], &seen)
		if err != nil {
			return nil, n, &ParseError{Offset: at, Code: code, Err: err}
		}
		at += size
	}
	return m, n, nil
}

// parseTLV reads the TLV at the start of b, which holds at least one word, and returns its octets.
func (m *Message) parseTLV(b []byte, seen *kindSet) (size int, code Code, err error) {
	typ, size := b[0], 4*int(b[1])
	switch {
	case typ == 0:
		return 0, CodeUnsupportedMessage, errors.New("TLV of the reserved type 0")
	case size == 0:
		return 0, CodeMalformed, fmt.Errorf("TLV 0x%02x has length 0", typ)
	case size > len(b):
		return 0, CodeMalformed, fmt.Errorf("TLV 0x%02x of %d octets, %d are left in the message", typ, size, len(b))
	case !seen.add(typ):
		return 0, CodeMalformed, fmt.Errorf("TLV 0x%02x twice", typ)
	}
	return size, CodeMalformed, m.parseValue(typ, b[2:size])
}

// parseValue reads the 4n-2 octets after a TLV's type and length.
func (m *Message) parseValue(typ uint8, value []byte) error {
	switch typ {
	case TypeInfo:
		return m.parseInfo(value)
	case TypeConnect:
		return m.parseConnect(value)
	case TypeExtendedHeader:
		m.ExtendedHeader = value2(value)
	case TypeSupported:
		m.parseSupported(value)
	case TypeCookie:
		m.Cookie = value2(value)
	case TypeError:
		m.parseError(value)
	default:
		m.Unknown = append(m.Unknown, TLV{Type: typ, Value: bytes.Clone(value)})
	}
	return nil
}

// value2 is the value after two unassigned octets, which a receiver ignores. It is never nil: the TLV was there.
func value2(value []byte) []byte { return append([]byte{}, value[2:]...) }

func known(typ uint8) bool {
	switch typ {
	case TypeInfo, TypeConnect, TypeExtendedHeader, TypeSupported, TypeCookie, TypeError:
		return true
	}
	return false
}

// kindSet is a set of octets: TLV types or option kinds.
type kindSet [4]uint64

// add reports whether k wasn't in the set yet.
func (s *kindSet) add(k uint8) bool {
	bit := uint64(1) << (k & 63)
	was := s[k>>6]&bit != 0
	s[k>>6] |= bit
	return !was
}
