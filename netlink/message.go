// SPDX-License-Identifier: Apache-2.0

// Package netlink speaks with the kernel by netlink(7): a socket, its messages, and the attributes in them. It knows no family.
//
// It does what the router needs of github.com/mdlayher/netlink and genetlink, against which its tests hold it: those weigh 28 kB
// more in a MIPS router's flash, with what they link besides.
package netlink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// Message is one message (struct nlmsghdr in linux/netlink.h, and what follows it).
type Message struct {
	Type, Flags uint16 // Flags: unix.NLM_F_*
	Seq         uint32 // of the request that it answers; 0: nobody asked
	Data        []byte
}

// Error is the kernel's refusal of a request.
type Error struct {
	Errno syscall.Errno
	Text  string // the kernel's own words, on sockets that asked for them (unix.NETLINK_EXT_ACK)
}

func (e *Error) Error() string {
	if e.Text == "" {
		return e.Errno.Error()
	}
	return e.Errno.Error() + " (" + e.Text + ")"
}

func (e *Error) Unwrap() error { return e.Errno }

// ErrTorn: what the kernel sent does not end where it should.
var ErrTorn = errors.New("torn netlink message")

// Frame puts a message into octets.
func Frame(m Message) []byte {
	e := binary.NativeEndian
	b := make([]byte, unix.NLMSG_HDRLEN, unix.NLMSG_HDRLEN+len(m.Data))
	e.PutUint32(b, uint32(unix.NLMSG_HDRLEN+len(m.Data)))
	e.PutUint16(b[4:], m.Type)
	e.PutUint16(b[6:], m.Flags)
	e.PutUint32(b[8:], m.Seq)
	return append(b, m.Data...)
}

// Next takes the first message off a datagram.
func Next(b []byte) (m Message, rest []byte, err error) {
	e := binary.NativeEndian
	if len(b) < unix.NLMSG_HDRLEN {
		return m, nil, fmt.Errorf("%w: %d octets left", ErrTorn, len(b))
	}
	n := e.Uint32(b)
	if n < unix.NLMSG_HDRLEN || uint64(n) > uint64(len(b)) {
		return m, nil, fmt.Errorf("%w: of %d octets, %d are left", ErrTorn, n, len(b))
	}
	m = Message{e.Uint16(b[4:]), e.Uint16(b[6:]), e.Uint32(b[8:]), b[unix.NLMSG_HDRLEN:n]}
	return m, b[min(len(b), align(int(n))):], nil
}

// Last tells whether m ends an answer, and with which error: NLMSG_ERROR, which is an acknowledgement without an errno, or NLMSG_DONE.
func (m Message) Last() (bool, error) {
	if m.Type != unix.NLMSG_ERROR && m.Type != unix.NLMSG_DONE {
		return false, nil
	}
	if len(m.Data) < 4 {
		return true, nil
	}
	code := int32(binary.NativeEndian.Uint32(m.Data))
	if code >= 0 {
		return true, nil
	}
	return true, &Error{syscall.Errno(-code), m.text()}
}

// torn tells whether m is of a dump that a change has disturbed.
func (m Message) torn() bool { return m.Flags&unix.NLM_F_DUMP_INTR != 0 }

// text is the kernel's explanation behind an errno (struct nlmsgerr: the errno, and the request's header, with its body
// unless the answer is capped).
func (m Message) text() string {
	if m.Flags&unix.NLM_F_ACK_TLVS == 0 {
		return ""
	}
	skip := 4
	if m.Type == unix.NLMSG_ERROR {
		if len(m.Data) < 4+unix.NLMSG_HDRLEN {
			return ""
		}
		skip += unix.NLMSG_HDRLEN
		if m.Flags&unix.NLM_F_CAPPED == 0 {
			skip = 4 + int(min(binary.NativeEndian.Uint32(m.Data[4:]), uint32(len(m.Data))))
		}
	}
	for d := Decode(m.Data[min(align(skip), len(m.Data)):]); d.Next(); {
		if d.Type() == unix.NLMSGERR_ATTR_MSG {
			return d.String()
		}
	}
	return ""
}

// align rounds up to where the next message or attribute begins.
func align(n int) int { return (n + 3) &^ 3 }
