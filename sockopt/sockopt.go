// SPDX-License-Identifier: Apache-2.0

// Package sockopt reads and sets options of sockets. Such a call never waits, and so goes without the scheduler's bookkeeping of package
// unix, in which a call that takes longer than 20 us has the runtime's monitor give the processor to another thread.
package sockopt

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Int reads an option that is a number.
func Int(fd, level, name int) (int, error) {
	var v int32
	if err := get(fd, level, name, unsafe.Pointer(&v), unsafe.Sizeof(v)); err != nil {
		return 0, err
	}
	return int(v), nil
}

// Bytes reads an option of any length into b and returns how many octets of it the kernel wrote. (unix.GetsockoptString ends at a zero octet.)
func Bytes(fd, level, name int, b []byte) (int, error) {
	n := uint32(len(b))
	_, _, e := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name),
		uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(unsafe.Pointer(&n)), 0)
	if e != 0 {
		return 0, e
	}
	return min(int(n), len(b)), nil
}

// TCPInfo reads TCP_INFO, what the kernel has of it, without a place on the heap.
func TCPInfo(fd int) (info unix.TCPInfo, err error) {
	return info, get(fd, unix.SOL_TCP, unix.TCP_INFO, unsafe.Pointer(&info), unsafe.Sizeof(info))
}

// SetInt sets an option that is a number.
func SetInt(fd, level, name, value int) error {
	v := int32(value)
	return Set(fd, level, name, unsafe.Pointer(&v), unsafe.Sizeof(v))
}

// Set sets an option that is something else, of so many octets.
func Set(fd, level, name int, value unsafe.Pointer, size uintptr) error {
	if _, _, e := unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name), uintptr(value), size, 0); e != 0 {
		return e
	}
	return nil
}

func get(fd, level, name int, value unsafe.Pointer, size uintptr) error {
	n := uint32(size)
	_, _, e := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name), uintptr(value), uintptr(unsafe.Pointer(&n)), 0)
	if e != 0 {
		return e
	}
	return nil
}
