// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"errors"
	"net"
	"time"
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
func ConnInfo(c *net.TCPConn) (Info, error) { return Info{}, errTODO }

var errTODO = errors.New("not built yet")
