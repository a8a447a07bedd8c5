// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"bytes"
	"fmt"
	"time"
)

// Code is the reason in an Error TLV, RFC 8803 section 6.2.8. Its value tells the class: below 32 the message, below 64
// the client, below 96 the converter, above the destination.
type Code uint8

const (
	CodeUnsupportedVersion Code = 0  // value: the supported versions
	CodeMalformed          Code = 1  // value: a zero and the message
	CodeUnsupportedMessage Code = 2  // value: a zero and the message
	CodeMissingCookie      Code = 3  // value: a zero and the cookie to use
	CodeNotAuthorized      Code = 32 //
	CodeUnsupportedOption  Code = 33 // value: the kinds of the TCP options
	CodeResourceExceeded   Code = 64 // value: seconds to wait
	CodeNetworkFailure     Code = 65 // value: seconds to wait
	CodeConnectionReset    Code = 96 // the server answered RST
	CodeUnreachable        Code = 97 // value: the code of the ICMP error
)

func (c Code) String() string {
	switch c {
	case CodeUnsupportedVersion:
		return "unsupported version"
	case CodeMalformed:
		return "malformed message"
	case CodeUnsupportedMessage:
		return "unsupported message"
	case CodeMissingCookie:
		return "missing cookie"
	case CodeNotAuthorized:
		return "not authorized"
	case CodeUnsupportedOption:
		return "unsupported TCP option"
	case CodeResourceExceeded:
		return "resource exceeded"
	case CodeNetworkFailure:
		return "network failure"
	case CodeConnectionReset:
		return "connection reset"
	case CodeUnreachable:
		return "destination unreachable"
	}
	return fmt.Sprintf("error %d", uint8(c))
}

// DefaultWait is how long a client leaves a converter alone that didn't say how long: at least 30 s.
const DefaultWait = 30 * time.Second

// maxEcho is how many octets of a refused message fit into the Error TLV that echoes it, in whole words: the RFC
// doesn't say what to do with longer ones, so they are cut.
const maxEcho = MaxMessage - HeaderLen - 4

// Error is the Error TLV: why a converter refuses. Value is everything after the code, on the wire 4n+1 octets with
// padding; nil is one zero octet.
type Error struct {
	Code  Code
	Value []byte
}

// Refuse is the Error of a *ParseError in message: what a converter answers.
func Refuse(code Code, message []byte) *Error {
	if code == CodeUnsupportedVersion {
		return &Error{Code: code, Value: []byte{Version}}
	}
	return &Error{Code: code, Value: append([]byte{0}, message[:min(len(message), maxEcho)]...)}
}

// MissingCookie is the Error that hands out a cookie.
func MissingCookie(cookie []byte) *Error {
	return &Error{Code: CodeMissingCookie, Value: append([]byte{0}, cookie...)}
}

func (e *Error) Error() string {
	switch e.Code {
	case CodeResourceExceeded, CodeNetworkFailure:
		return fmt.Sprintf("converter: %v, wait %v", e.Code, e.Wait())
	case CodeUnsupportedVersion:
		return fmt.Sprintf("converter: %v, it knows %v", e.Code, e.Versions())
	case CodeUnsupportedOption:
		return fmt.Sprintf("converter: %v, kinds %v", e.Code, e.Options())
	case CodeUnreachable:
		return fmt.Sprintf("converter: %v, ICMP code %d", e.Code, e.ICMPCode())
	}
	return "converter: " + e.Code.String()
}

// Wait is how long a client shall start no new connections through this converter: 1 to 255 s, DefaultWait when the
// converter left it open, 0 with codes that ask for no wait.
func (e *Error) Wait() time.Duration {
	if e.Code != CodeResourceExceeded && e.Code != CodeNetworkFailure {
		return 0
	}
	if s := e.first(); s > 0 {
		return time.Duration(s) * time.Second
	}
	return DefaultWait
}

// Cookie is the cookie of CodeMissingCookie as received, padding included; nil with other codes or when there is none.
func (e *Error) Cookie() []byte {
	if e.Code != CodeMissingCookie || len(e.Value) < 2 {
		return nil
	}
	return bytes.Clone(e.Value[1:])
}

// Versions are the versions the peer knows, of CodeUnsupportedVersion.
func (e *Error) Versions() []uint8 {
	if e.Code != CodeUnsupportedVersion {
		return nil
	}
	return nonZero(e.Value)
}

// Options are the kinds of the refused TCP options, of CodeUnsupportedOption.
func (e *Error) Options() []uint8 {
	if e.Code != CodeUnsupportedOption {
		return nil
	}
	return nonZero(e.Value)
}

// ICMPCode is the code field of the ICMP error, of CodeUnreachable. Neither type nor family is told: take the family of the
// address that was asked for.
func (e *Error) ICMPCode() uint8 {
	if e.Code != CodeUnreachable {
		return 0
	}
	return e.first()
}

func (e *Error) first() uint8 {
	if len(e.Value) == 0 {
		return 0
	}
	return e.Value[0]
}

func nonZero(b []byte) []uint8 {
	var list []uint8
	for _, v := range b {
		if v != 0 {
			list = append(list, v)
		}
	}
	return list
}

func (m *Message) parseError(value []byte) {
	m.Error = &Error{Code: Code(value[0]), Value: bytes.Clone(value[1:])}
}

func (m *Message) appendError(b []byte) ([]byte, error) {
	if m.Error == nil {
		return b, nil
	}
	value := m.Error.Value
	if len(value) == 0 {
		value = []byte{0}
	}
	return appendTLV(b, TypeError, []byte{uint8(m.Error.Code)}, value)
}
