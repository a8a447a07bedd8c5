// SPDX-License-Identifier: Apache-2.0

package mptcp

import "time"

// TCPInfo is what the kernel knows of one subflow's TCP (struct tcp_info). What an older kernel doesn't tell is zero.
type TCPInfo struct {
	State       uint8 // TCP state (include/net/tcp_states.h): 1 = ESTABLISHED
	CAState     uint8 // 0 open, 1 disorder, 2 CWR, 3 recovery, 4 loss
	Retransmits uint8 // timeouts in a row without progress
	Backoff     uint8 // doublings of the timeout
	Options     uint8 // TCPI_OPT_*; 0x20: SYN data acknowledged
	AppLimited  bool  // DeliveryRate was limited by the application

	RTT, RTTVar, MinRTT, RTO time.Duration

	SndMSS, RcvMSS, PMTU uint32 // octets
	SndCwnd, SSThresh    uint32 // packets
	Unacked, Sacked      uint32 // packets out; of these selectively acknowledged
	Lost, Retrans        uint32 // packets
	TotalRetrans         uint32 // packets
	RcvSpace, SndWnd     uint32 // octets; SndWnd: the peer's window, since 5.4
	NotSent              uint32 // octets queued, never sent

	BytesAcked, BytesReceived, BytesSent, BytesRetrans uint64 // octets
	SegsOut, SegsIn                                    uint32 // packets, pure ACKs too

	DeliveryRate, PacingRate uint64 // octets/s; PacingRate is all ones when unlimited

	BusyTime, RwndLimited, SndbufLimited time.Duration // time with data out; of it held by the peer's window, by our buffer

	LastDataSent, LastDataRecv, LastAckRecv time.Duration // ages, to the millisecond
}
