// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"spillway/sockopt"
)

// control runs fn on a raw connection's descriptor and joins both errors.
func control(c syscall.RawConn, fn func(fd int) error) error {
	var inner error
	if err := c.Control(func(fd uintptr) { inner = fn(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// prepareDial turns a fresh socket into the one that o asks for, before bind and connect.
func prepareDial(fd int, v6 bool, o DialOptions) error {
	if !o.PlainTCP && !speaksMPTCP(fd) {
		if err := becomeMPTCP(fd, v6); err != nil {
			return err
		}
	}
	return options(fd, v6, o)
}

// options sets what a dialled socket is to have, before bind and connect.
func options(fd int, v6 bool, o DialOptions) error {
	return errors.Join(
		common(fd, v6, o.Device, o.Transparent, o.SendBuffer, o.RecvBuffer),
		setIf(o.Mark != 0, "SO_MARK", fd, unix.SOL_SOCKET, unix.SO_MARK, int(o.Mark)),
		// The port is chosen at connect, when the remote address is known: else a link's 28,232 ports would
		// be the limit of all connections together rather than of those to one concentrator.
		optional(o.Local.IsValid() && o.LocalPort == 0, fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1),
		setIf(o.Local.IsValid() && o.LocalPort != 0, "SO_REUSEADDR", fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		optional(o.NotSentLowat > 0, fd, unix.SOL_TCP, unix.TCP_NOTSENT_LOWAT, o.NotSentLowat),
		dscp(fd, v6, o.DSCP),
		fastOpenClient(fd, o.FastOpen),
		setIf(o.PlainTCP, "SO_OOBINLINE", fd, unix.SOL_SOCKET, unix.SO_OOBINLINE, 1), // urgent data is data (RFC 6093 section 5); MPTCP has none
	)
}

// speaksMPTCP tells an MPTCP socket from another.
func speaksMPTCP(fd int) bool {
	p, err := sockopt.Int(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	return err == nil && p == unix.IPPROTO_MPTCP
}

// becomeMPTCP puts an MPTCP socket in the place of a plain one. net.Dialer could make one itself, but after *any*
// error it dials a second time over plain TCP: a refusing concentrator would be asked twice and a silent one would
// be reported with the wrong error. Here the dialer holds one socket, tries once, and we see the error.
// The descriptor isn't yet known to the runtime's poller when Control functions run.
func becomeMPTCP(fd int, v6 bool) error {
	family := unix.AF_INET
	if v6 {
		family = unix.AF_INET6
	}
	s, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_MPTCP)
	if err != nil {
		return fmt.Errorf("MPTCP socket (is net.mptcp.enabled 1?): %w", err)
	}
	defer unix.Close(s)
	if err := unix.Dup3(s, fd, unix.O_CLOEXEC); err != nil {
		return os.NewSyscallError("dup3", err)
	}
	return nil
}

// fastOpenClient lets connect return at once and the first write leave in the SYN. Kernels before 6.2 refuse the
// cookie option on MPTCP sockets; there sysctl net.ipv4.tcp_fastopen bit 0x4 does it, or the first SYN asks for a cookie. Without bit 0x1
// all kernels refuse, and connect is an ordinary one.
func fastOpenClient(fd int, on bool) error {
	return errors.Join(
		optional(on, fd, unix.SOL_TCP, unix.TCP_FASTOPEN_NO_COOKIE, 1),
		optional(on, fd, unix.SOL_TCP, unix.TCP_FASTOPEN_CONNECT, 1),
	)
}

// common sets what dialled and listening sockets share.
func common(fd int, v6 bool, device string, transparent bool, send, recv int) error {
	level, name := unix.SOL_IP, unix.IP_TRANSPARENT
	if v6 {
		level, name = unix.SOL_IPV6, unix.IPV6_TRANSPARENT
	}
	return errors.Join(
		bindToDevice(fd, device),
		setIf(transparent, "IP_TRANSPARENT", fd, level, name, 1),
		setIf(send > 0, "SO_SNDBUF", fd, unix.SOL_SOCKET, unix.SO_SNDBUF, send),
		receiveBuffer(fd, recv),
	)
}

// receiveBuffer sets SO_RCVBUF, beyond net.core.rmem_max where the process may (CAP_NET_ADMIN).
func receiveBuffer(fd, octets int) error {
	if octets <= 0 || sockopt.SetInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, octets) == nil {
		return nil
	}
	return setIf(true, "SO_RCVBUF", fd, unix.SOL_SOCKET, unix.SO_RCVBUF, octets)
}

func bindToDevice(fd int, device string) error {
	if device == "" {
		return nil
	}
	if err := sockopt.Set(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, unsafe.Pointer(unsafe.StringData(device)), uintptr(len(device))); err != nil {
		return fmt.Errorf("bind to device %s: %w", device, err)
	}
	return nil
}

// dscp marks the packets. MPTCP sockets take IP_TOS but, on the kernels of today, no IPV6_TCLASS.
func dscp(fd int, v6 bool, v uint8) error {
	if v6 {
		return optional(v != 0, fd, unix.SOL_IPV6, unix.IPV6_TCLASS, int(v&63)<<2)
	}
	return setIf(v != 0, "IP_TOS", fd, unix.SOL_IP, unix.IP_TOS, int(v&63)<<2)
}

// setIf sets an option when it is wanted.
func setIf(want bool, label string, fd, level, name, value int) error {
	if !want {
		return nil
	}
	if err := sockopt.SetInt(fd, level, name, value); err != nil {
		return fmt.Errorf("set %s to %d: %w", label, value, err)
	}
	return nil
}

// optional sets an option when it is wanted, and forgives a kernel that doesn't know it on such a socket.
func optional(want bool, fd, level, name, value int) error {
	err := setIf(want, "socket option", fd, level, name, value)
	if errors.Is(err, unix.ENOPROTOOPT) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return err
}
