// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"context"
	"net"
	"net/netip"
)

// ListenOptions says how a listening socket behaves. The zero value listens for plain TCP.
type ListenOptions struct {
	MPTCP         bool   // accept MPTCP; plain TCP peers are accepted too and cost nothing extra
	FastOpenQueue int    // pending fast-open requests, TCP_FASTOPEN; 0: off
	NoCookie      bool   // accept SYN data without a cookie (safe only where sources can't be spoofed: RFC 7413 7.3)
	Transparent   bool   // IP_TRANSPARENT: take TPROXY connections; their local address is the original destination
	Device        string // SO_BINDTODEVICE; "": none
	Backlog       int    // 0: net.core.somaxconn
	RecvBuffer    int    // octets, inherited by accepted connections; 0: the kernel tunes
	SendBuffer    int    // octets, inherited by accepted connections; 0: the kernel tunes
	V6Only        bool   // with an unspecified IPv6 address: no IPv4
}

// Listen opens a listening socket. An IPv4 address listens on IPv4 alone; [::] on both unless V6Only.
// Accepted connections have keep-alive off.
func Listen(ctx context.Context, local netip.AddrPort, o ListenOptions) (*net.TCPListener, error) {
	return nil, errTODO
}
