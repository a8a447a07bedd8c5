// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
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
	NotSentLowat  int    // octets, TCP_NOTSENT_LOWAT, inherited by accepted connections; 0: the kernel's; ignored by kernels without it on MPTCP
	V6Only        bool   // with an unspecified IPv6 address: no IPv4
}

// Listen opens a listening socket. An IPv4 address listens on IPv4 alone; [::] on both unless V6Only.
// Accepted connections have keep-alive off.
func Listen(ctx context.Context, local netip.AddrPort, o ListenOptions) (*net.TCPListener, error) {
	lc := net.ListenConfig{
		KeepAlive:       -1,
		KeepAliveConfig: net.KeepAliveConfig{Enable: false},
		Control: func(network, _ string, c syscall.RawConn) error {
			return control(c, func(fd int) error { return prepareListen(fd, network == "tcp6", o) })
		},
	}
	lc.SetMultipathTCP(o.MPTCP) // Go listens for MPTCP unless told otherwise
	network := "tcp"
	if local.Addr().Unmap().Is4() {
		network = "tcp4"
	} else if o.V6Only {
		network = "tcp6"
	}
	l, err := lc.Listen(ctx, network, local.String())
	if err != nil {
		return nil, err
	}
	tl, ok := l.(*net.TCPListener)
	if !ok {
		l.Close()
		return nil, fmt.Errorf("listen on %v: not a TCP listener", local)
	}
	if err := setBacklog(tl, o.Backlog); err != nil {
		tl.Close()
		return nil, fmt.Errorf("listen on %v: %w", local, err)
	}
	return tl, nil
}

// prepareListen sets a listening socket's options, before bind.
func prepareListen(fd int, v6 bool, o ListenOptions) error {
	fast := o.FastOpenQueue > 0
	return errors.Join(
		common(fd, v6, o.Device, o.Transparent, o.SendBuffer, o.RecvBuffer),
		optional(o.NotSentLowat > 0, fd, unix.SOL_TCP, unix.TCP_NOTSENT_LOWAT, o.NotSentLowat),
		listenFastOpen(fast, fd, unix.TCP_FASTOPEN, o.FastOpenQueue),
		listenFastOpen(fast && o.NoCookie, fd, unix.TCP_FASTOPEN_NO_COOKIE, 1),
	)
}

// listenFastOpen forgives kernels before 6.2, where MPTCP sockets know no such option: they do fast open by the
// bits of net.ipv4.tcp_fastopen alone, or not at all.
func listenFastOpen(want bool, fd, name, value int) error {
	return optional(want, fd, unix.SOL_TCP, name, value)
}

// setBacklog listens once more: the kernel then takes the new length, and Go has no knob for it.
func setBacklog(l *net.TCPListener, n int) error {
	if n <= 0 {
		return nil
	}
	c, err := l.SyscallConn()
	if err != nil {
		return err
	}
	return control(c, func(fd int) error { return os.NewSyscallError("listen", unix.Listen(fd, n)) })
}
