// SPDX-License-Identifier: Apache-2.0

// Package convert is the language of RFC 8803, the 0-RTT TCP Convert Protocol: bytes to values and back.
//
// A message opens the byte stream of a Convert connection, in both directions: a fixed header of four octets and
// then TLVs, everything in whole words of four octets. What follows the message is the user's data. The package
// does no I/O: a reader takes four octets, asks Length how many more there are, and hands the whole to Parse.
//
// Parse checks the form only. What a message may ask for (Forbidden addresses, TLVs that belong to the other
// direction, unknown ones in Message.Unknown) is for the caller to judge, because converter and client answer differently.
package convert

import (
	"errors"
	"fmt"
)

// The fixed header, RFC 8803 section 6.1.
const (
	Version    = 1      // the only version; 0 is reserved
	Magic      = 0x2263 // 8803
	HeaderLen  = 4      // octets
	MaxMessage = 1020   // octets: the Total Length is one octet and counts words
)

// TLV types, RFC 8803 section 6.2.2.
const (
	TypeInfo           = 0x01
	TypeConnect        = 0x0a
	TypeExtendedHeader = 0x14
	TypeSupported      = 0x15
	TypeCookie         = 0x16
	TypeError          = 0x1e
)

// Message is one Convert message. Of each TLV there is at most one in a message (section 6.2.1).
type Message struct {
	Info           bool     // the client asks for the converter's TCP options
	Connect        *Connect // nil: absent
	Cookie         []byte   // nil: absent. As received, padding included: its true length isn't on the wire
	ExtendedHeader []byte   // nil: absent. TCP options of the server's SYN+ACK
	Supported      []uint8  // nil: absent. TCP option kinds that the converter can convert
	Error          *Error   // nil: absent
	Unknown        []TLV    // types this package doesn't know, in the order of the wire
}

// TLV is an element of unknown type, kept raw. Value has 4n-2 octets on the wire, padding included.
type TLV struct {
	Type  uint8
	Value []byte
}

// The header's errors are apart because RFC 8803 asks for different reactions.
var (
	ErrShort   = errors.New("convert message is incomplete")
	ErrMagic   = errors.New("not a convert message: the magic number is wrong")                       // ignored in silence (section 6)
	ErrVersion = errors.New("convert version is not supported")                                       // Error 0 (section 6.2.8)
	ErrLength  = errors.New("convert message with a total length of 0: the connection must be reset") // (section 6.1)
)

// Length tells from the first four octets how many octets the whole message has, header included: 4 to MaxMessage.
// It fails with ErrShort, ErrMagic, ErrVersion or ErrLength, tested in that order: the length of another version means nothing to us.
func Length(header []byte) (n int, err error) {
	switch {
	case len(header) < HeaderLen:
		return 0, ErrShort
	case header[2] != Magic>>8 || header[3] != Magic&0xff:
		return 0, ErrMagic
	case header[0] != Version:
		return 0, fmt.Errorf("%w: %d", ErrVersion, header[0])
	case header[1] == 0:
		return 0, ErrLength
	}
	return 4 * int(header[1]), nil
}
