// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What a connection's beginning asks of the kernel never waits, as its socket is non-blocking, and so goes without the scheduler's bookkeeping
// of package unix: a SYN that finds its way through to a near peer takes longer than the 20 us after which the runtime's monitor would
// give the processor to another thread.

// rawSocket opens a socket that is non-blocking and no child's.
func rawSocket(family, protocol int) (int, error) {
	fd, _, e := unix.RawSyscall(unix.SYS_SOCKET, uintptr(family), unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, uintptr(protocol))
	if e != 0 {
		return -1, e
	}
	return int(fd), nil
}

// sockaddr is an address as the kernel wants it, of either family.
type sockaddr struct {
	unix.RawSockaddrInet6 // the longer one
	size                  uintptr
}

// rawSockaddr is Sockaddr for calls without package unix.
func rawSockaddr(a netip.AddrPort, v6 bool) (sa sockaddr) {
	if v6 {
		sa.Family, sa.size = unix.AF_INET6, unix.SizeofSockaddrInet6
		if a.Addr().IsValid() {
			sa.Addr = a.Addr().As16()
		}
	} else {
		in := (*unix.RawSockaddrInet4)(unsafe.Pointer(&sa.RawSockaddrInet6))
		in.Family, sa.size = unix.AF_INET, unix.SizeofSockaddrInet4
		if a.Addr().IsValid() {
			in.Addr = a.Addr().Unmap().As4()
		}
	}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&sa.Port))[:], a.Port()) // at the same place in both
	return sa
}

func bind(fd int, sa *sockaddr) error {
	if _, _, e := unix.RawSyscall(unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(&sa.RawSockaddrInet6)), sa.size); e != 0 {
		return e
	}
	return nil
}

func connect(fd int, sa *sockaddr) error {
	if _, _, e := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&sa.RawSockaddrInet6)), sa.size); e != 0 {
		return e
	}
	return nil
}

func sendTo(fd int, b []byte, flags int, sa *sockaddr) (int, error) {
	n, _, e := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), uintptr(flags),
		uintptr(unsafe.Pointer(&sa.RawSockaddrInet6)), sa.size)
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}
