// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// getsockopt reads an option that is not a number. unix.GetsockoptString ends at a zero octet.
func getsockopt(fd, level, name int, b []byte) (int, error) {
	n := uint32(len(b))
	_, _, e := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name),
		uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(unsafe.Pointer(&n)), 0)
	if e != 0 {
		return 0, os.NewSyscallError("getsockopt", e)
	}
	return min(int(n), len(b)), nil
}

// savedDSCP reads the DSCP of the SYN that a transparent listener with TCP_SAVE_SYN kept; 0 without.
func savedDSCP(fd int) uint8 {
	var h [60]byte
	n, err := getsockopt(fd, unix.SOL_TCP, unix.TCP_SAVED_SYN, h[:])
	if err != nil {
		return 0
	}
	return dscpOf(h[:n])
}

// dscpOf takes the DSCP from an IPv4 or IPv6 header.
func dscpOf(h []byte) uint8 {
	switch {
	case len(h) < 2:
	case h[0]>>4 == 4:
		return h[1] >> 2
	case h[0]>>4 == 6:
		return (h[0]<<4 | h[1]>>4) >> 2
	}
	return 0
}
