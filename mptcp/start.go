// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"errors"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// Start is Dial for whoever waits for readiness himself: it gives a non-blocking descriptor whose handshake has begun, and how much
// of hello the socket has taken. With o.FastOpen that is what left in the SYN. The rest can be written when the descriptor
// is writable. Errors carry the errno; nothing was sent then.
func Start(remote netip.AddrPort, o DialOptions, hello []byte) (fd, sent int, err error) {
	addr := remote.Addr().Unmap()
	v6, family, protocol := addr.Is6(), unix.AF_INET, unix.IPPROTO_MPTCP
	if v6 {
		family = unix.AF_INET6
	}
	if o.PlainTCP {
		protocol = unix.IPPROTO_TCP
	}
	fd, err = rawSocket(family, protocol)
	if err != nil {
		return -1, 0, os.NewSyscallError("socket", err)
	}
	if sent, err = begin(fd, v6, netip.AddrPortFrom(addr, remote.Port()), o, hello); err != nil {
		unix.Close(fd)
		return -1, 0, err
	}
	return fd, sent, nil
}

func begin(fd int, v6 bool, remote netip.AddrPort, o DialOptions, hello []byte) (sent int, err error) {
	fast := o.FastOpen
	o.FastOpen = false
	// As the dialler of package net does.
	if err := errors.Join(options(fd, v6, o), optional(true, fd, unix.SOL_TCP, unix.TCP_NODELAY, 1)); err != nil {
		return 0, err
	}
	if o.Local.IsValid() || o.LocalPort != 0 {
		from := rawSockaddr(netip.AddrPortFrom(o.Local, o.LocalPort), v6)
		if err := bind(fd, &from); err != nil {
			return 0, os.NewSyscallError("bind", err)
		}
	}
	to := rawSockaddr(remote, v6)
	if fast && !o.Sure {
		if sent, err = sendFast(fd, hello, &to); err != unix.EOPNOTSUPP {
			return sent, os.NewSyscallError("sendto", err)
		}
	}
	if fast { // as Sure wants it, or MPTCP before 6.2
		if err := fastOpenClient(fd, true); err != nil {
			return 0, err
		}
	}
	if err := connect(fd, &to); err != nil && err != unix.EINPROGRESS {
		return 0, os.NewSyscallError("connect", err)
	}
	if o.Sure && !o.PlainTCP && !isMPTCP(fd) {
		return 0, ErrFallback // a SYN without data has left, or none
	}
	if !fast {
		return 0, nil
	}
	sent, err = unix.Write(fd, hello)
	return begun(sent, os.NewSyscallError("write", err))
}

// sendFast connects and sends in one, which costs two calls less than TCP_FASTOPEN_CONNECT.
func sendFast(fd int, hello []byte, to *sockaddr) (sent int, err error) {
	if err := optional(true, fd, unix.SOL_TCP, unix.TCP_FASTOPEN_NO_COOKIE, 1); err != nil {
		return 0, err
	}
	return begun(sendTo(fd, hello, unix.MSG_FASTOPEN|unix.MSG_NOSIGNAL, to))
}

// begun reads what a first write to a non-blocking socket says.
func begun(sent int, err error) (int, error) {
	if errors.Is(err, unix.EINPROGRESS) || errors.Is(err, unix.EAGAIN) {
		return 0, nil // a SYN without data has left
	}
	return max(0, sent), err
}

// Sockaddr is an address as unix wants it; an invalid one is that of any.
func Sockaddr(a netip.AddrPort, v6 bool) unix.Sockaddr {
	if v6 {
		sa := &unix.SockaddrInet6{Port: int(a.Port())}
		if a.Addr().IsValid() {
			sa.Addr = a.Addr().As16()
		}
		return sa
	}
	sa := &unix.SockaddrInet4{Port: int(a.Port())}
	if a.Addr().IsValid() {
		sa.Addr = a.Addr().Unmap().As4()
	}
	return sa
}
