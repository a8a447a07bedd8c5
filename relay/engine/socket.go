// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"spillway/sockopt"
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

func setLowat(fd, n int32) { sockopt.SetInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, int(n)) }

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
	return sockopt.Set(fd, unix.SOL_SOCKET, unix.SO_LINGER, unsafe.Pointer(&l), unsafe.Sizeof(l))
}

// plain tells TCP from MPTCP. An MPTCP socket that fell back still counts as MPTCP here: its reads go the same way.
func plain(fd int) bool {
	p, err := sockopt.Int(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	return err == nil && p == unix.IPPROTO_TCP
}
