// SPDX-License-Identifier: Apache-2.0

package concentrator

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A connection over several lines may hold, until it is acknowledged in order, as much as its subflows may hold together (mptcp_propagate_sndbuf,
// net/mptcp/protocol.h), which each of them tunes to twice what it has under way. When that is full nothing is sent by any line. A line far away
// needs two of its round trips for the first burst that the kernel gives it, and one more after each loss: longer than a near line of 20 Mbit/s
// takes to fill the rest, 0.3 s. So a connection that a line so unlike joins gets a reserve, 0.4 s more at 20 Mbit/s. It keeps it: the kernel tunes no
// more once it was told a size. Where lines are alike it would only have the near one hold more that waits, and give what is to be overflow to the other.
const (
	reserve = 1_000_000 // octets, as the kernel counts them
	// farTimes and farBy: so much longer than the nearest line's is the least round trip of one far away.
	farTimes = 4
	farBy    = 100_000 // us
	// mostLines is how many subflows the kernel allows, with the first.
	mostLines = 9
)

// reserves is for engine.Pair.Often: it looks for a line far away that has joined and makes the reserve, where so many octets may be asked for.
func reserves(most int) func(fd int) bool {
	if most == 0 {
		return nil
	}
	return func(fd int) bool {
		var rtts [mostLines]uint32
		n, e := roundTrips(fd, &rtts)
		switch {
		case e != 0: // plain TCP, or a kernel that does not tell
			return false
		case !unlike(rtts[:n]):
			return true
		}
		reserved(fd, most)
		return false
	}
}

// reserved adds the reserve to what a socket may hold, unless that would be more than may be asked for, most: the kernel would take most for it.
func reserved(fd, most int) {
	has, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
	if want := (has + reserve) / 2; err == nil && want <= most { // the kernel doubles it
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, want)
	}
}

// unlike reports whether one of the round trips, us, is that of a line far away beside another.
func unlike(rtts []uint32) bool {
	if len(rtts) < 2 {
		return false
	}
	near, far := rtts[0], rtts[0]
	for _, r := range rtts {
		near, far = min(near, r), max(far, r)
	}
	return far/farTimes >= near && far-near >= farBy
}

// roundTrips reads the least round trips, us, of a connection's subflows; of less than two nothing.
func roundTrips(fd int, out *[mostLines]uint32) (n int, e unix.Errno) {
	const (
		info, tcpInfo = 1, 2 // MPTCP_INFO, MPTCP_TCPINFO of include/uapi/linux/mptcp.h
		head          = 16   // struct mptcp_subflow_data
		minRTT        = 148  // in struct tcp_info
		each          = 152  // octets of it
	)
	var b [head + mostLines*each]byte
	get := func(option, length uintptr) unix.Errno {
		n := uint32(length)
		_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_MPTCP, option, uintptr(unsafe.Pointer(&b)), uintptr(unsafe.Pointer(&n)), 0)
		return e
	}
	if e = get(info, 1); e != 0 || b[0] == 0 { // mptcpi_subflows: beside the first
		return 0, e
	}
	order := binary.NativeEndian
	order.PutUint32(b[0:], head)
	order.PutUint32(b[12:], each)
	if e = get(tcpInfo, uintptr(len(b))); e != 0 {
		return 0, e
	}
	for i := range min(int(order.Uint32(b[4:])), mostLines) {
		if r := order.Uint32(b[head+i*each+minRTT:]); r > 0 && r < 1<<31 { // else it has none yet
			out[n] = r
			n++
		}
	}
	return n, 0
}
