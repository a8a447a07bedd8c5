// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"net"
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
	return Outcome{}, errTODO
}
