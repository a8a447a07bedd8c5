// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"spillway/sockopt"
)

// Outcome is what became of a connection's start.
type Outcome struct {
	Established  bool  // the three-way handshake is complete and the first subflow isn't closed
	State        uint8 // TCP state of the first subflow, 1 = ESTABLISHED .. 11 (include/net/tcp_states.h)
	SYNDataAcked bool  // TCPI_OPT_SYN_DATA: the peer took the data of our SYN, or we took the peer's
	FastOpenFail uint8 // FastOpen* constants: why SYN data wasn't used
	MPTCP        bool  // still Multipath TCP; false after fallback to plain TCP
}

// Values of Outcome.FastOpenFail (enum tcp_fastopen_client_fail).
const (
	FastOpenOK            = 0 // unspecified, which is how success looks
	FastOpenNoCookie      = 1 // no cookie was there
	FastOpenDataNotAcked  = 2 // the SYN-ACK didn't acknowledge the data
	FastOpenRetransmitted = 3 // the SYN was lost, its repetition had no data
)

// Inspect reads the outcome of a live connection. On a connection that was dialled with FastOpen it is
// meaningful once a Write was made and the peer answered.
func Inspect(c *net.TCPConn) (Outcome, error) {
	var o Outcome
	err := onConn(c, func(fd int) (err error) {
		o, err = InspectFD(fd)
		return err
	})
	return o, err
}

// InspectFD is Inspect for a bare descriptor.
func InspectFD(fd int) (Outcome, error) {
	o, err := HandshakeFD(fd)
	if err == nil {
		o.MPTCP = isMPTCP(fd)
	}
	return o, err
}

// HandshakeFD is InspectFD without the question whether it still is MPTCP.
func HandshakeFD(fd int) (Outcome, error) {
	var b [minTCPInfo]byte
	n, err := sockopt.Bytes(fd, unix.SOL_TCP, unix.TCP_INFO, b[:])
	if err != nil {
		return Outcome{}, os.NewSyscallError("getsockopt TCP_INFO", err)
	}
	return parseOutcome(b[:n])
}

// minTCPInfo: state, options and fast-open result are in the first octets, which every kernel has.
const minTCPInfo = 8

// tcpOptSynData is TCPI_OPT_SYN_DATA of include/uapi/linux/tcp.h.
const tcpOptSynData = 0x20

// parseOutcome reads the first octets of struct tcp_info. These are single octets and bit fields within an octet:
// bit fields lie the other way round on big-endian machines.
func parseOutcome(b []byte) (Outcome, error) {
	if len(b) < minTCPInfo {
		return Outcome{}, fmt.Errorf("tcp_info of %d octets: too short", len(b))
	}
	return Outcome{
		Established:  handshaken(b[0]),
		State:        b[0],
		SYNDataAcked: b[5]&tcpOptSynData != 0,
		FastOpenFail: fastOpenFail(b[7], bigEndian()),
	}, nil
}

// fastOpenFail takes tcpi_fastopen_client_fail, two bits after the one-bit tcpi_delivery_rate_app_limited.
func fastOpenFail(b byte, big bool) uint8 {
	if big {
		return b >> 5 & 3
	}
	return b >> 1 & 3
}

// appLimited takes tcpi_delivery_rate_app_limited, the first bit of the same octet.
func appLimited(b byte, big bool) bool {
	if big {
		return b&0x80 != 0
	}
	return b&1 != 0
}

// handshaken says whether a TCP state comes after the third ACK and before the end
// (include/net/tcp_states.h): ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK, CLOSING.
func handshaken(state uint8) bool {
	switch state {
	case 1, 4, 5, 8, 9, 11:
		return true
	}
	return false
}

// isMPTCP says whether a socket still speaks MPTCP. TCP_IS_MPTCP tells since 6.10; before, MPTCP_INFO fails after
// fallback.
func isMPTCP(fd int) bool {
	v, err := sockopt.Int(fd, unix.SOL_TCP, tcpIsMPTCP)
	if err == nil {
		return v != 0
	}
	var b [4]byte
	_, err = sockopt.Bytes(fd, unix.SOL_MPTCP, mptcpInfo, b[:])
	return err == nil
}

// onConn runs fn on a connection's descriptor.
func onConn(c *net.TCPConn, fn func(fd int) error) error {
	rc, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return control(rc, fn)
}
