// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// What is asked of sockets here never blocks, as they are non-blocking, and lasts microseconds, so that it goes without the scheduler's
// bookkeeping of package unix. What finds its way through to a near peer, a SYN or an end, takes longer than the 20 us after which the
// runtime's monitor would give the processor to another thread.

func read(fd int32, b []byte) (int, unix.Errno) {
	for {
		n, _, e := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		if e != unix.EINTR {
			return int(n), e
		}
	}
}

func write(fd int32, b []byte) (int, unix.Errno) {
	for {
		n, _, e := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		if e != unix.EINTR {
			return int(n), e
		}
	}
}

// writeAll writes until all is gone or the socket would block, so that the kernel knows it must wake us.
func writeAll(fd int32, b []byte) (int, unix.Errno) {
	for done := 0; ; {
		n, e := write(fd, b[done:])
		if e != 0 {
			return done, e
		}
		if done += n; done == len(b) {
			return done, 0
		}
	}
}

// epollWaitHolding waits as read and write go: without the scheduler's bookkeeping.
func epollWaitHolding(epoll int, events []unix.EpollEvent, milliseconds int) (int, error) {
	n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(unsafe.SliceData(events))),
		uintptr(len(events)), uintptr(milliseconds), 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}

//go:noinline
func setLowat(fd int32, n int32) {
	unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, uintptr(unsafe.Pointer(&n)), 4, 0)
}

// option reads a socket's option that is a number.
func option(fd int32, level, name uintptr) (n int32, e unix.Errno) {
	size := uint32(unsafe.Sizeof(n))
	_, _, e = unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), level, name, uintptr(unsafe.Pointer(&n)), uintptr(unsafe.Pointer(&size)), 0)
	return n, e
}

// tcpInfo reads TCP_INFO, what the kernel has of it, without a place on the heap.
func tcpInfo(fd int32) (info unix.TCPInfo, e unix.Errno) {
	size := uint32(unsafe.Sizeof(info))
	_, _, e = unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_TCP, unix.TCP_INFO, uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	return info, e
}

func closeFD(fd int32) { unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }

// shutWrite ends a socket's sending.
func shutWrite(fd int32) unix.Errno {
	_, _, e := unix.RawSyscall(unix.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_WR, 0)
	return e
}

// watch registers a socket with an epoll set, or changes that; ev nil: it is taken out.
func watch(epoll, op int, fd int32, ev *unix.EpollEvent) error {
	if _, _, e := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(epoll), uintptr(op), uintptr(fd), uintptr(unsafe.Pointer(ev)), 0, 0); e != 0 {
		return e
	}
	return nil
}

// Reset closes a socket so that the peer sees a RST (MP_FASTCLOSE for MPTCP), whatever waits in its queues.
func Reset(fd int) {
	Abort(fd)
	closeFD(int32(fd))
}

// Abort is Reset without the close of the descriptor.
func Abort(fd int) {
	lingers(fd, true)
	if !plain(fd) {
		// mptcp_close sends DATA_FIN even so; only mptcp_disconnect (net/mptcp/protocol.c) sends MP_FASTCLOSE.
		var unspec [16]byte // AF_UNSPEC is 0
		unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&unspec)), uintptr(len(unspec)))
	}
}

// EndsInReset makes a TCP socket's close a reset, also the kernel's own when the process dies: what was cut short must not look whole.
// Sockets that a listener accepts inherit it. What ends as it should has it taken back (passEnd).
func EndsInReset(fd int) error { return lingers(fd, true) }

// lingers sets SO_LINGER with a time of 0 (net/ipv4/tcp.c, __tcp_close: disconnect instead of FIN), or takes it back.
func lingers(fd int, on bool) error {
	var l unix.Linger
	if on {
		l.Onoff = 1
	}
	if _, _, e := unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_LINGER, uintptr(unsafe.Pointer(&l)), unsafe.Sizeof(l), 0); e != 0 {
		return e
	}
	return nil
}

// plain tells TCP from MPTCP. An MPTCP socket that fell back still counts as MPTCP here: its reads go the same way.
func plain(fd int) bool {
	p, e := option(int32(fd), unix.SOL_SOCKET, unix.SO_PROTOCOL)
	return e == 0 && p == unix.IPPROTO_TCP
}
