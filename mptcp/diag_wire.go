// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Framing of the conversation with sock_diag, and the filter that the kernel runs over its sockets.

// netlinkRequest puts a dump request into a frame (struct nlmsghdr).
func netlinkRequest(seq uint32, request []byte) []byte {
	e := binary.NativeEndian
	b := make([]byte, unix.NLMSG_HDRLEN, unix.NLMSG_HDRLEN+len(request))
	e.PutUint32(b, uint32(unix.NLMSG_HDRLEN+len(request)))
	e.PutUint16(b[4:], diagByFamily)
	e.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	e.PutUint32(b[8:], seq)
	return append(b, request...)
}

// errTorn: what the kernel sent does not end where it should.
var errTorn = errors.New("torn netlink message")

// eachAnswer takes a datagram apart. Frames of other requests are skipped. done tells that the dump is over.
func eachAnswer(b []byte, seq uint32, fn func([]byte) error) (done bool, err error) {
	e := binary.NativeEndian
	for len(b) > 0 {
		if len(b) < unix.NLMSG_HDRLEN {
			return true, fmt.Errorf("%w: %d octets left", errTorn, len(b))
		}
		n := int(e.Uint32(b))
		if n < unix.NLMSG_HDRLEN || n > len(b) {
			return true, fmt.Errorf("%w: of %d octets, %d are left", errTorn, n, len(b))
		}
		data := b[unix.NLMSG_HDRLEN:n]
		kind, ours := e.Uint16(b[4:]), e.Uint32(b[8:]) == seq
		b = b[min(len(b), (n+3)&^3):]
		switch {
		case !ours:
		case kind == unix.NLMSG_DONE || kind == unix.NLMSG_ERROR:
			if len(data) < 4 {
				return true, nil
			}
			if code := int32(e.Uint32(data)); code < 0 {
				return true, unix.Errno(-code)
			}
			return true, nil
		case kind == diagByFamily:
			if err := fn(data); err != nil {
				return true, err
			}
		}
	}
	return false, nil
}

// The kernel's filter language (struct inet_diag_bc_op in linux/inet_diag.h): an operation with the distance to the next one, in
// octets, if it holds and if not. To end exactly at the end accepts a socket, to end four octets behind it rejects it.
const (
	bytecodeAttr   = 1  // INET_DIAG_REQ_BYTECODE
	bytecodeJump   = 1  // INET_DIAG_BC_JMP: always "if not"
	bytecodeSource = 7  // INET_DIAG_BC_S_COND: local address
	bytecodeMark   = 10 // INET_DIAG_BC_MARK_COND: bits of SO_MARK (since 4.8; needs CAP_NET_ADMIN)
	bytecodeOp     = 4
	// mostLocals is how many local addresses a filter may hold; more are not filtered.
	mostLocals = 32
)

// localFilter is the attribute that accepts sockets with one of these local addresses; some is false when none is of the
// family.
func localFilter(family uint8, local []netip.Addr) (attr []byte, some bool) {
	var ours []netip.Addr
	for _, a := range local {
		if a.IsValid() && a.Is4() == (family == unix.AF_INET) {
			ours = append(ours, a)
		}
	}
	if len(ours) == 0 || len(ours) > mostLocals {
		return nil, len(ours) > 0
	}
	size := ours[0].BitLen() / 8
	condition := bytecodeOp + 8 + size // with struct inet_diag_hostcond
	each := condition + bytecodeOp     // and the jump to the end
	total := len(ours)*each - bytecodeOp
	e := binary.NativeEndian
	attr = e.AppendUint16(nil, uint16(4+total))
	attr = e.AppendUint16(attr, bytecodeAttr)
	op := func(code byte, yes, no int) {
		attr = append(attr, code, byte(yes))
		attr = e.AppendUint16(attr, uint16(no))
	}
	for i, a := range ours {
		last := i == len(ours)-1
		if last {
			op(bytecodeSource, condition, condition+4)
		} else {
			op(bytecodeSource, condition, each)
		}
		attr = append(attr, family, byte(a.BitLen()), 0, 0)
		attr = e.AppendUint32(attr, ^uint32(0)) // any port
		attr = append(attr, a.AsSlice()...)
		if !last {
			op(bytecodeJump, bytecodeOp, total-(i*each+condition))
		}
	}
	return attr, true
}

// markFilter is the attribute that accepts sockets whose mark has these bits under mask (struct inet_diag_markcond).
func markFilter(mark, mask uint32) []byte {
	const condition = bytecodeOp + 8
	e := binary.NativeEndian
	attr := e.AppendUint16(nil, 4+condition)
	attr = e.AppendUint16(attr, bytecodeAttr)
	attr = append(attr, bytecodeMark, condition)
	attr = e.AppendUint16(attr, condition+4)
	attr = e.AppendUint32(attr, mark)
	return e.AppendUint32(attr, mask)
}
