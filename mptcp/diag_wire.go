// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"spillway/netlink"
)

// Messages of the conversation with sock_diag, and the filter that the kernel runs over its sockets.

// diagDump is a dump request with a number.
func diagDump(seq uint32, request []byte) netlink.Message {
	return netlink.Message{Type: diagByFamily, Flags: unix.NLM_F_REQUEST | unix.NLM_F_DUMP, Seq: seq, Data: request}
}

// eachAnswer takes a datagram apart. Messages of other requests are skipped. done tells that the dump is over.
func eachAnswer(b []byte, seq uint32, fn func([]byte) error) (done bool, err error) {
	for len(b) > 0 {
		var m netlink.Message
		if m, b, err = netlink.Next(b); err != nil {
			return true, err
		}
		if m.Seq != seq {
			continue
		}
		if done, err = m.Last(); done {
			return true, err
		}
		if m.Type == diagByFamily {
			if err := fn(m.Data); err != nil {
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
