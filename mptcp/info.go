// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"spillway/sockopt"
)

// ErrFallback: the connection is plain TCP now, or always was.
var ErrFallback = errors.New("plain TCP, not MPTCP")

// Info is one MPTCP connection as a whole (struct mptcp_info). Figures that the kernel doesn't have are zero;
// Has tells which ones were there.
type Info struct {
	Token         uint32 // names the connection in Subflow, Event and the userspace path manager
	ExtraSubflows uint8  // beside the first one
	Subflows      uint8  // all; 0 on kernels before 6.8
	SubflowsMax   uint8  // the limit of this connection

	AddAddrSent, AddAddrAccepted uint8

	Flags     uint32
	Fallback  bool // MPTCP_INFO_FLAG_FALLBACK
	RemoteKey bool // MPTCP_INFO_FLAG_REMOTE_KEY_RECEIVED
	Checksum  bool

	WriteSeq, SndUna, RcvNxt uint64 // data sequence numbers

	Retransmits                                        uint32 // since 6.5, as the four that follow
	BytesSent, BytesReceived, BytesAcked, BytesRetrans uint64 // octets

	LastDataSent, LastDataRecv, LastAckRecv time.Duration // ages, to the millisecond; since 6.10

	Has InfoLevel
}

// InfoLevel says how much of Info the kernel filled.
type InfoLevel uint8

// Levels, each with all of the ones before.
const (
	InfoBasic InfoLevel = iota // 5.16: 48 octets
	InfoBytes                  // 6.5: octet counters and Retransmits
	InfoCount                  // 6.8: Subflows
	InfoTimes                  // 6.10: LastDataSent, LastDataRecv, LastAckRecv
)

// ConnInfo reads MPTCP_INFO of a connection; errors.Is(err, ErrFallback) when it is plain TCP.
func ConnInfo(c *net.TCPConn) (Info, error) {
	var in Info
	err := onConn(c, func(fd int) (err error) {
		in, err = InfoFD(fd)
		return err
	})
	return in, err
}

// InfoFD is ConnInfo for a bare descriptor.
func InfoFD(fd int) (Info, error) {
	var b [256]byte // more than any kernel has
	n, err := sockopt.Bytes(fd, unix.SOL_MPTCP, mptcpInfo, b[:])
	switch {
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOPROTOOPT):
		return Info{}, ErrFallback
	case err != nil:
		return Info{}, os.NewSyscallError("getsockopt MPTCP_INFO", err)
	}
	in, err := parseInfo(b[:n])
	if err == nil && in.Fallback {
		return in, ErrFallback
	}
	return in, err
}

// Lengths of struct mptcp_info by age.
const (
	infoBasicLen = 44 // the fields of 5.16; sizeof is 48
	infoBytesLen = 80
	infoCountLen = 84
	infoTimesLen = 96
)

// parseInfo reads struct mptcp_info as far as it goes.
func parseInfo(b []byte) (Info, error) {
	if len(b) < infoBasicLen {
		return Info{}, fmt.Errorf("mptcp_info of %d octets: too short", len(b))
	}
	e := binary.NativeEndian
	in := Info{
		ExtraSubflows: b[0], AddAddrSent: b[1], AddAddrAccepted: b[2], SubflowsMax: b[3],
		Flags: e.Uint32(b[8:]), Token: e.Uint32(b[12:]),
		WriteSeq: e.Uint64(b[16:]), SndUna: e.Uint64(b[24:]), RcvNxt: e.Uint64(b[32:]),
		Checksum: b[42] != 0,
	}
	in.Fallback, in.RemoteKey = in.Flags&infoFallback != 0, in.Flags&infoRemoteKey != 0
	if len(b) >= infoBytesLen {
		in.Has = InfoBytes
		in.Retransmits = e.Uint32(b[44:])
		in.BytesRetrans, in.BytesSent = e.Uint64(b[48:]), e.Uint64(b[56:])
		in.BytesReceived, in.BytesAcked = e.Uint64(b[64:]), e.Uint64(b[72:])
	}
	if len(b) >= infoCountLen {
		in.Has, in.Subflows = InfoCount, b[80]
	}
	if len(b) >= infoTimesLen {
		in.Has = InfoTimes
		in.LastDataSent, in.LastDataRecv, in.LastAckRecv = ms(e.Uint32(b[84:])), ms(e.Uint32(b[88:])), ms(e.Uint32(b[92:]))
	}
	return in, nil
}
