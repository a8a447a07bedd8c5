// SPDX-License-Identifier: Apache-2.0

// Package socks writes and reads what a client of SOCKS 5 (RFC 1928, RFC 1929) and SOCKS 4a exchanges before data:
// octets to values and back, no sockets. Read functions say how many octets a whole answer has, so that a caller can
// read exactly these and leave the stream bare.
package socks

import (
	"errors"
	"fmt"
	"net/netip"
)

// Methods of a SOCKS 5 greeting.
const (
	NoAuth       = 0x00
	UserPassword = 0x02
	noMethod     = 0xff
)

// Errors of answers that are not SOCKS at all, or not the offered.
var (
	ErrVersion  = errors.New("not a SOCKS answer")
	ErrMethod   = errors.New("no authentication method accepted")
	ErrPassword = errors.New("user or password refused")
	ErrShort    = errors.New("answer is incomplete")
)

// Reply is the refusal of a request: a SOCKS 5 reply code 1 to 255, or a SOCKS 4 code 91 to 93.
type Reply struct {
	Version uint8 // 4 or 5
	Code    uint8
}

func (r *Reply) Error() string {
	names := []string{"", "general failure", "not allowed by ruleset", "network unreachable", "host unreachable",
		"connection refused", "TTL expired", "command not supported", "address type not supported"}
	if r.Version == 5 && int(r.Code) < len(names) {
		return "SOCKS 5 refused: " + names[r.Code]
	}
	return fmt.Sprintf("SOCKS %d refused: code %d", r.Version, r.Code)
}

// Destination tells whether the server asked for, not the proxy, is at fault: unreachable, refused or timed out.
// SOCKS 4 does not tell them apart and always means the destination.
func (r *Reply) Destination() bool {
	return r.Version == 4 && r.Code == 91 || r.Version == 5 && r.Code >= 3 && r.Code <= 6
}

// Unreachable tells whether the server asked for was not reached, rather than that it refused.
func (r *Reply) Unreachable() bool {
	return r.Version == 5 && (r.Code == 3 || r.Code == 4 || r.Code == 6)
}

// Denied tells of a refusal that may be for the server asked for, or any: the proxy's rules forbid it, or it has no IPv6 (address type not supported;
// of microsocks where the kernel says EADDRNOTAVAIL: general failure).
func (r *Reply) Denied() bool { return r.Version == 5 && !r.Destination() }

// AppendGreeting offers NoAuth, or UserPassword alone if auth.
func AppendGreeting(b []byte, auth bool) []byte {
	if auth {
		return append(b, 5, 1, UserPassword)
	}
	return append(b, 5, 1, NoAuth)
}

// ParseMethod reads the answer to a greeting, 2 octets.
func ParseMethod(b []byte) (method uint8, err error) {
	switch {
	case len(b) < 2:
		return 0, ErrShort
	case b[0] != 5:
		return 0, fmt.Errorf("version %d: %w", b[0], ErrVersion)
	case b[1] == noMethod:
		return 0, ErrMethod
	}
	return b[1], nil
}

// MaxPassword is how many octets user and password may have each: RFC 1929 has one octet for the length.
const MaxPassword = 255

// AppendPassword writes the RFC 1929 request. Longer ones than MaxPassword are an error, as is no user.
func AppendPassword(b []byte, user, password string) ([]byte, error) {
	if len(user) == 0 || len(user) > MaxPassword || len(password) > MaxPassword {
		return b, fmt.Errorf("user of %d and password of %d octets: give 1 to %d", len(user), len(password), MaxPassword)
	}
	b = append(b, 1, byte(len(user)))
	b = append(b, user...)
	b = append(b, byte(len(password)))
	return append(b, password...), nil
}

// ParsePassword reads the answer to AppendPassword, 2 octets.
func ParsePassword(b []byte) error {
	switch {
	case len(b) < 2:
		return ErrShort
	case b[0] != 1:
		return fmt.Errorf("authentication version %d: %w", b[0], ErrVersion)
	case b[1] != 0:
		return ErrPassword
	}
	return nil
}

// AppendConnect writes the SOCKS 5 request for an address.
func AppendConnect(b []byte, to netip.AddrPort) []byte {
	a := to.Addr().Unmap()
	if a.Is4() {
		b = append(b, 5, 1, 0, 1)
	} else {
		b = append(b, 5, 1, 0, 4)
	}
	b = append(b, a.AsSlice()...)
	return append(b, byte(to.Port()>>8), byte(to.Port()))
}

// ReplyHead is how many octets of a SOCKS 5 reply to read before ReplyLen can tell the rest.
const ReplyHead = 5

// ReplyLen tells from the first ReplyHead octets how many a whole SOCKS 5 reply has.
func ReplyLen(head []byte) (int, error) {
	if len(head) < ReplyHead {
		return 0, ErrShort
	}
	if head[0] != 5 {
		return 0, fmt.Errorf("version %d: %w", head[0], ErrVersion)
	}
	switch head[3] {
	case 1:
		return 10, nil
	case 3:
		return 7 + int(head[4]), nil
	case 4:
		return 22, nil
	}
	return 0, fmt.Errorf("address type %d: %w", head[3], ErrVersion)
}

// ParseReply reads a whole SOCKS 5 reply; a refusal is a *Reply. bound is zero when the server gave a name.
func ParseReply(b []byte) (bound netip.AddrPort, err error) {
	n, err := ReplyLen(b)
	if err != nil {
		return bound, err
	}
	if len(b) < n {
		return bound, ErrShort
	}
	if b[1] != 0 {
		return bound, &Reply{5, b[1]}
	}
	if a, ok := netip.AddrFromSlice(b[4 : n-2]); ok && b[3] != 3 {
		bound = netip.AddrPortFrom(a.Unmap(), uint16(b[n-2])<<8|uint16(b[n-1]))
	}
	return bound, nil
}

// AppendConnect4a writes a SOCKS 4 request for an IPv4 address, and a SOCKS 4a request with the address as text for an
// IPv6 one (which many, not all, servers resolve), or for 0.0.0.x, which says that a name follows. user must not contain a zero octet.
func AppendConnect4a(b []byte, to netip.AddrPort, user string) ([]byte, error) {
	for i := range len(user) {
		if user[i] == 0 {
			return b, errors.New("user contains a zero octet")
		}
	}
	b = append(b, 4, 1, byte(to.Port()>>8), byte(to.Port()))
	a := to.Addr().Unmap()
	if four := a.AsSlice(); a.Is4() && four[0]|four[1]|four[2] != 0 {
		b = append(b, four...)
		b = append(b, user...)
		return append(b, 0), nil
	}
	b = append(b, 0, 0, 0, 1)
	b = append(b, user...)
	b = append(b, 0)
	b = append(b, a.WithZone("").String()...)
	return append(b, 0), nil
}

// Reply4Len is the length of each SOCKS 4 reply.
const Reply4Len = 8

// ParseReply4 reads a SOCKS 4 reply; a refusal is a *Reply.
func ParseReply4(b []byte) error {
	switch {
	case len(b) < Reply4Len:
		return ErrShort
	case b[0] != 0:
		return fmt.Errorf("reply version %d: %w", b[0], ErrVersion)
	case b[1] != 90:
		return &Reply{4, b[1]}
	}
	return nil
}
