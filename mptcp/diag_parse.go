// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

const (
	diagRequestLen = 56 // struct inet_diag_req_v2
	diagMessageLen = 72 // struct inet_diag_msg
)

// diagStates are the states in which a subflow may carry or have carried data: all but SYN_RECV of requests,
// TIME_WAIT, CLOSE, LISTEN. One bit per state.
const diagStates = 1<<1 | 1<<2 | 1<<3 | 1<<4 | 1<<5 | 1<<8 | 1<<9 | 1<<11

// diagRequest asks for the TCP sockets of one family with their tcp_info. What the kernel knows of the upper layer
// (ULP, here MPTCP) comes unasked.
func diagRequest(family uint8, states uint32) []byte {
	b := make([]byte, diagRequestLen)
	b[0], b[1], b[2] = family, unix.IPPROTO_TCP, 1<<(diagInfo-1)
	binary.NativeEndian.PutUint32(b[4:], states)
	return b
}

// diagConnections asks for MPTCP connections. The protocol's number doesn't fit its octet: an attribute has it whole.
func diagConnections(family uint8, states uint32) []byte {
	b := diagRequest(family, states)
	b = binary.NativeEndian.AppendUint16(b, 8)
	b = binary.NativeEndian.AppendUint16(b, diagReqProtocol)
	return binary.NativeEndian.AppendUint32(b, unix.IPPROTO_MPTCP)
}

// parseConnection reads one connection of a dump.
func parseConnection(b []byte) (c Connection, err error) {
	if len(b) < diagMessageLen {
		return Connection{}, fmt.Errorf("sock_diag message of %d octets: too short", len(b))
	}
	c.Local, c.Remote = addrPort(b[0], b[8:24], b[4:6]), addrPort(b[0], b[24:40], b[6:8])
	for attrs := b[diagMessageLen:]; len(attrs) > 0; {
		var typ uint16
		var data []byte
		if typ, data, attrs, err = nextAttr(attrs); err != nil {
			return Connection{}, err
		}
		if typ == diagInfo {
			if c.Info, err = parseInfo(data); err != nil {
				return Connection{}, err
			}
		}
	}
	return c, nil
}

// parseSubflow reads one socket of a dump; ok is false when it is no MPTCP subflow. It is the inner loop of every
// reading, over all TCP sockets of the router, so it allocates nothing.
func parseSubflow(b []byte) (s Subflow, ok bool, err error) {
	if len(b) < diagMessageLen {
		return Subflow{}, false, fmt.Errorf("sock_diag message of %d octets: too short", len(b))
	}
	e := binary.NativeEndian
	var info, ulp []byte
	attrs := b[diagMessageLen:]
	for len(attrs) > 0 {
		var typ uint16
		var data []byte
		if typ, data, attrs, err = nextAttr(attrs); err != nil {
			return Subflow{}, false, err
		}
		switch typ {
		case diagInfo:
			info = data
		case diagMark:
			s.Mark = fields(data).u32(0)
		case diagULP:
			ulp = data
		}
	}
	if ok, err = parseULP(ulp, &s); !ok || err != nil {
		return Subflow{}, false, err
	}
	s.Local = addrPort(b[0], b[8:24], b[4:6])
	s.Remote = addrPort(b[0], b[24:40], b[6:8])
	s.IfIndex = int(e.Uint32(b[40:]))
	s.Inode = e.Uint32(b[68:])
	s.TCP = parseTCPInfo(info)
	return s, true, nil
}

// parseULP reads INET_DIAG_ULP_INFO; ok is false when the layer isn't MPTCP or the connection has no token (before
// the handshake, or without CAP_NET_ADMIN).
func parseULP(b []byte, s *Subflow) (ok bool, err error) {
	var sub []byte
	for len(b) > 0 {
		var typ uint16
		var data []byte
		if typ, data, b, err = nextAttr(b); err != nil {
			return false, err
		}
		if typ == ulpMPTCP {
			sub = data
		}
	}
	for len(sub) > 0 {
		var typ uint16
		var data []byte
		if typ, data, sub, err = nextAttr(sub); err != nil {
			return false, err
		}
		f := fields(data)
		switch typ {
		case subTokenLoc:
			s.Token = f.u32(0)
		case subFlags:
			flags := f.u32(0)
			s.Fallback = flags&(subFlagCapableRem|subFlagJoinRem) == 0 && flags&subFlagConnected != 0
			s.Join = flags&(subFlagJoinRem|subFlagJoinLoc) != 0
			s.PeerBackup = flags&subFlagBackupRem != 0
			s.Backup = flags&subFlagBackupLoc != 0
			s.Established = flags&subFlagFullyEst != 0
		case subIDRem:
			s.RemoteID = f.u8(0)
		case subIDLoc:
			s.LocalID = f.u8(0)
		}
	}
	return s.Token != 0, nil
}

// nextAttr splits the first netlink attribute off b.
func nextAttr(b []byte) (typ uint16, data, rest []byte, err error) {
	const header, flags = 4, 0xc000 // NLA_F_NESTED, NLA_F_NET_BYTEORDER
	if len(b) < header {
		return 0, nil, nil, fmt.Errorf("netlink attribute: %d octets left", len(b))
	}
	n := int(binary.NativeEndian.Uint16(b))
	if n < header || n > len(b) {
		return 0, nil, nil, fmt.Errorf("netlink attribute of %d octets: %d are left", n, len(b))
	}
	typ = binary.NativeEndian.Uint16(b[2:]) &^ flags
	return typ, b[header:n], b[min(len(b), (n+3)&^3):], nil
}

// addrPort reads address and port in network order; IPv4 stands in the first four octets.
func addrPort(family uint8, addr, port []byte) netip.AddrPort {
	var a netip.Addr
	if family == unix.AF_INET {
		a = netip.AddrFrom4([4]byte(addr[:4]))
	} else {
		a = netip.AddrFrom16([16]byte(addr[:16])).Unmap()
	}
	return netip.AddrPortFrom(a, binary.BigEndian.Uint16(port))
}
