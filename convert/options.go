// SPDX-License-Identifier: Apache-2.0

package convert

import "fmt"

// TCP option kinds that RFC 8803 section 7 speaks of.
const (
	OptionEnd           = 0
	OptionNop           = 1
	OptionMSS           = 2
	OptionWindowScale   = 3
	OptionSACKPermitted = 4
	OptionSACK          = 5
	OptionTimestamps    = 8
	OptionAO            = 29
	OptionMPTCP         = 30
	OptionFastOpen      = 34
)

// Option is one TCP option. Value is what follows kind and length, and aliases the list it was read from.
type Option struct {
	Kind  uint8
	Value []byte
}

// Options lists the TCP options in b up to its end or the End of Option List; No-Operations are left out.
func Options(b []byte) ([]Option, error) {
	var list []Option
	for at := 0; at < len(b); {
		o, n, err := nextOption(b[at:])
		if err != nil {
			return nil, fmt.Errorf("TCP options, octet %d: %w", at, err)
		}
		if o.Kind == OptionEnd {
			break
		}
		if o.Kind != OptionNop {
			list = append(list, o)
		}
		at += n
	}
	return list, nil
}

// MPTCPCapable tells whether the TCP options of a SYN+ACK (Message.ExtendedHeader) hold MP_CAPABLE (RFC 8684 section
// 3.1): the server speaks MPTCP. A list that can't be read holds nothing.
func MPTCPCapable(options []byte) bool {
	list, err := Options(options)
	if err != nil {
		return false
	}
	for _, o := range list {
		if o.Kind == OptionMPTCP && len(o.Value) > 0 && o.Value[0]>>4 == 0 {
			return true
		}
	}
	return false
}

// optionsLen is how many octets the options in b have without the padding, which begins at an End of Option List.
func optionsLen(b []byte) (int, error) {
	at := 0
	for at < len(b) {
		o, n, err := nextOption(b[at:])
		if err != nil {
			return at, fmt.Errorf("TCP options, octet %d: %w", at, err)
		}
		if o.Kind == OptionEnd {
			break
		}
		at += n
	}
	return at, nil
}

// nextOption reads the option at the start of b, which isn't empty, and how many octets it has: at least 1.
func nextOption(b []byte) (o Option, n int, err error) {
	kind := b[0]
	if kind == OptionEnd || kind == OptionNop {
		return Option{Kind: kind}, 1, nil
	}
	if len(b) < 2 {
		return o, 0, fmt.Errorf("kind %d has no length", kind)
	}
	if n = int(b[1]); n < 2 || n > len(b) {
		return o, 0, fmt.Errorf("kind %d has length %d, %d octets are left", kind, n, len(b))
	}
	return Option{Kind: kind, Value: b[2:n:n]}, n, nil
}
