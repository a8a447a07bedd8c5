// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"encoding/binary"
	"time"
)

// TCPInfo is what the kernel knows of one subflow's TCP (struct tcp_info). What an older kernel doesn't tell is zero.
type TCPInfo struct {
	State       uint8 // TCP state (include/net/tcp_states.h): 1 = ESTABLISHED
	CAState     uint8 // 0 open, 1 disorder, 2 CWR, 3 recovery, 4 loss
	Retransmits uint8 // timeouts in a row without progress
	Backoff     uint8 // doublings of the timeout
	Options     uint8 // TCPI_OPT_*; 0x20: SYN data acknowledged
	AppLimited  bool  // DeliveryRate was limited by the application

	RTT, RTTVar, MinRTT, RTO time.Duration
	RcvRTT                   time.Duration // round trip as the receiver sees it; 0: not measured yet

	SndMSS, RcvMSS, PMTU uint32 // octets
	SndCwnd, SSThresh    uint32 // packets
	Unacked, Sacked      uint32 // packets out; of these selectively acknowledged
	Lost, Retrans        uint32 // packets
	TotalRetrans         uint32 // packets
	RcvSpace, SndWnd     uint32 // octets; SndWnd: the peer's window, since 5.4
	NotSent              uint32 // octets queued, never sent

	BytesAcked, BytesReceived, BytesSent, BytesRetrans uint64 // octets
	SegsOut, SegsIn                                    uint32 // packets, pure ACKs too
	DataSegsIn                                         uint32 // packets with data, those that had come before too
	OutOfOrder                                         uint32 // of these, such as came before others that were missing; since 5.4

	DeliveryRate, PacingRate uint64 // octets/s; PacingRate is all ones when unlimited

	BusyTime, RwndLimited, SndbufLimited time.Duration // time with data out; of it held by the peer's window, by our buffer

	LastDataSent, LastDataRecv, LastAckRecv time.Duration // ages, to the millisecond
}

// parseTCPInfo reads struct tcp_info as far as it goes: a field beyond the end is zero.
func parseTCPInfo(b []byte) TCPInfo {
	f := fields(b)
	big := bigEndian()
	return TCPInfo{
		State: f.u8(0), CAState: f.u8(1), Retransmits: f.u8(2), Backoff: f.u8(4), Options: f.u8(5),
		AppLimited: appLimited(f.u8(7), big),
		RTO:        us(f.u32(8)),
		SndMSS:     f.u32(16), RcvMSS: f.u32(20), Unacked: f.u32(24), Sacked: f.u32(28), Lost: f.u32(32), Retrans: f.u32(36),
		LastDataSent: ms(f.u32(44)), LastDataRecv: ms(f.u32(52)), LastAckRecv: ms(f.u32(56)),
		PMTU: f.u32(60), RTT: us(f.u32(68)), RTTVar: us(f.u32(72)), SSThresh: f.u32(76), SndCwnd: f.u32(80),
		RcvRTT: us(f.u32(92)), RcvSpace: f.u32(96), TotalRetrans: f.u32(100), PacingRate: f.u64(104),
		BytesAcked: f.u64(120), BytesReceived: f.u64(128), SegsOut: f.u32(136), SegsIn: f.u32(140),
		NotSent: f.u32(144), MinRTT: us(f.u32(148)), DataSegsIn: f.u32(152), OutOfOrder: f.u32(224), DeliveryRate: f.u64(160),
		BusyTime: us64(f.u64(168)), RwndLimited: us64(f.u64(176)), SndbufLimited: us64(f.u64(184)),
		BytesSent: f.u64(200), BytesRetrans: f.u64(208), SndWnd: f.u32(228),
	}
}

// fields is a C struct in native byte order whose tail may be missing.
type fields []byte

func (f fields) u8(at int) uint8 {
	if len(f) < at+1 {
		return 0
	}
	return f[at]
}

func (f fields) u32(at int) uint32 {
	if len(f) < at+4 {
		return 0
	}
	return binary.NativeEndian.Uint32(f[at:])
}

func (f fields) u64(at int) uint64 {
	if len(f) < at+8 {
		return 0
	}
	return binary.NativeEndian.Uint64(f[at:])
}

// bigEndian says which way this machine writes.
func bigEndian() bool {
	return binary.NativeEndian.Uint16([]byte{0, 1}) == 1
}

func ms(v uint32) time.Duration { return time.Duration(v) * time.Millisecond }
func us(v uint32) time.Duration { return time.Duration(v) * time.Microsecond }

// us64 is us for counters, with a ceiling where nanoseconds would overflow (292 years).
func us64(v uint64) time.Duration {
	const most = uint64(1<<63-1) / 1000
	return time.Duration(min(v, most)) * time.Microsecond
}
