// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// DialOptions says how a connection starts. The zero value dials MPTCP with the kernel's defaults.
type DialOptions struct {
	Local        netip.Addr // source address; zero: the kernel chooses
	Device       string     // SO_BINDTODEVICE of the first subflow; "": none. Further subflows don't inherit it
	Mark         uint32     // SO_MARK; 0: none. The kernel copies it to all subflows
	FastOpen     bool       // the data of the first Write leaves in the SYN, without a cookie where the kernel can
	PlainTCP     bool       // no MPTCP
	Sure         bool       // Start: ErrFallback, before data has left, where the kernel can make no MPTCP connection (Tokens). Two calls more
	Transparent  bool       // IP_TRANSPARENT: Local may be an address of another machine
	LocalPort    uint16     // 0: the kernel chooses
	DSCP         uint8      // 0..63; on IPv6 MPTCP sockets only where the kernel has it
	SendBuffer   int        // octets, SO_SNDBUF; 0: the kernel tunes
	RecvBuffer   int        // octets, SO_RCVBUF, of each subflow, those to come as well (the kernel takes twice as much); 0: the kernel tunes
	NotSentLowat int        // octets, TCP_NOTSENT_LOWAT; 0: the kernel's; ignored by kernels without it on MPTCP
}

// errSecond: the dialer failed with MPTCP, hides why, and tries with plain TCP.
var errSecond = errors.New("second socket for one connection")

// Dial connects to remote. Keep-alive is off: Go's default of 15 s would run on every subflow, the metered ones
// too. With FastOpen, Dial returns before a packet is sent: the first Write sends the SYN with its data, a refusal
// comes back from Write or Read, and an unreachable peer only as a passed read deadline, so the caller sets one.
// Errors are *net.OpError with the errno inside (errors.Is works); when ctx ends before the connection is
// there, the socket is closed.
func Dial(ctx context.Context, remote netip.AddrPort, o DialOptions) (*net.TCPConn, error) {
	// The dialer's own MPTCP socket is cheaper than becomeMPTCP, which says what is wrong with it. It may be had where connect sends
	// nothing, so that after any error the connection may be dialled again.
	cheap, sockets := o.FastOpen && !o.PlainTCP, 0
	d := net.Dialer{
		KeepAlive:       -1, // without it a disabled KeepAliveConfig means "the default"
		KeepAliveConfig: net.KeepAliveConfig{Enable: false},
		ControlContext: func(_ context.Context, network, _ string, c syscall.RawConn) error {
			if sockets++; cheap && sockets > 1 {
				return errSecond
			}
			return control(c, func(fd int) error { return prepareDial(fd, network == "tcp6", o) })
		},
	}
	d.SetMultipathTCP(cheap) // else prepareDial puts the MPTCP socket in place
	if o.Local.IsValid() || o.LocalPort != 0 {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(o.Local, o.LocalPort))
	}
	c, err := d.DialContext(ctx, "tcp", remote.String())
	if errors.Is(err, errSecond) {
		cheap = false
		d.SetMultipathTCP(false)
		c, err = d.DialContext(ctx, "tcp", remote.String())
	}
	if err != nil {
		return nil, err
	}
	tc, ok := c.(*net.TCPConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("dial %v: not a TCP connection", remote)
	}
	return tc, nil
}
