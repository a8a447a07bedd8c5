// SPDX-License-Identifier: Apache-2.0

package concentrator

import (
	"encoding/binary"
	"errors"
	"net"

	"golang.org/x/sys/unix"

	"spillway/convert"
	"spillway/mptcp"
	"spillway/sockopt"
)

// Bits of tcpi_options (include/uapi/linux/tcp.h).
const (
	optTimestamps = 1
	optSACK       = 2
	optWScale     = 4
)

// synAck tells which TCP options the server's SYN+ACK had, as far as the connected socket shows it: the Extended TCP Header
// TLV asks for a copy, but a socket never sees the segment. Values that can't be known (timestamps, window scale,
// MPTCP key) are 0; which options there were is true.
func synAck(server *net.TCPConn) ([]byte, error) {
	out, err := mptcp.Inspect(server)
	if err != nil {
		return nil, err
	}
	info, err := tcpInfo(server)
	if err != nil {
		return nil, err
	}
	return synAckOptions(info.Options, info.Snd_mss, out.MPTCP), nil
}

func synAckOptions(flags uint8, mss uint32, multipath bool) []byte {
	if flags&optTimestamps != 0 {
		mss += 12 // the kernel takes the option's room off
	}
	b := binary.BigEndian.AppendUint16([]byte{convert.OptionMSS, 4}, uint16(min(mss, 0xffff)))
	if flags&optSACK != 0 {
		b = append(b, convert.OptionSACKPermitted, 2)
	}
	if flags&optTimestamps != 0 {
		b = append(b, convert.OptionTimestamps, 10, 0, 0, 0, 0, 0, 0, 0, 0)
	}
	if flags&optWScale != 0 {
		b = append(b, convert.OptionWindowScale, 3, 0)
	}
	if multipath {
		// MP_CAPABLE, version 1, HMAC-SHA256, RFC 8684 section 3.1
		b = append(b, convert.OptionMPTCP, 12, 0x01, 0x01, 0, 0, 0, 0, 0, 0, 0, 0)
	}
	for len(b)%4 != 0 {
		b = append(b, convert.OptionEnd)
	}
	return b
}

func tcpInfo(c *net.TCPConn) (info unix.TCPInfo, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return info, err
	}
	var inner error
	err = raw.Control(func(fd uintptr) { info, inner = sockopt.TCPInfo(int(fd)) })
	return info, errors.Join(err, inner)
}
