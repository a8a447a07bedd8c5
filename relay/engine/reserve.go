// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"encoding/binary"
	"math"

	"golang.org/x/sys/unix"

	"spillway/sockopt"
)

// A connection over several lines may hold, until it is acknowledged in order, as much as its subflows may hold together (mptcp_propagate_sndbuf,
// net/mptcp/protocol.h), which each of them tunes to twice what it has under way. When that is full nothing is sent by any line. A line far away
// needs two or three of its round trips for the first burst that the kernel gives it, and one more after each loss: longer than a near line of 20 Mbit/s
// takes to fill the rest, 0.3 s. So a connection that a line so unlike joins gets a reserve, 0.4 s more at 20 Mbit/s. It keeps it: the kernel tunes no
// more once it was told a size. Where lines are alike it would only have the near one hold more that waits, and give what is to be overflow to the other.
//
// The end that receives must have offered so much. A router has made room when it connected (relay/room.go); what Linux would offer by itself comes from
// what was read in one round trip, 0.3 to 0.5 MB while a near line of 20 Mbit/s was alone. A concentrator, which may exceed no limit, makes room for
// an upload when the line joins: SO_RCVLOWAT makes the window of each subflow hold the mark, up to half of tcp_rmem (mptcp_set_rcvlowat).
const (
	reserve = 1_000_000 // octets, as the kernel counts them
	room    = 2 << 20   // octets, 0.8 s of 20 Mbit/s
	// farTimes and farBy: so much longer than the nearest line's is the least round trip of one far away.
	farTimes = 4
	farBy    = 100_000 // us
	// mostLines is how many subflows the kernel allows, with the first.
	mostLines = 9
)

// unlikeLines looks for a line far away that has joined and makes the reserve, and room. It returns true when there is nothing left to look for.
func (c *Conn) unlikeLines(far bool) bool {
	lines := c.fd[1]
	if far {
		lines = c.fd[0]
	}
	shortest, longest := roundTrips(int(lines))
	if !unlike(shortest, longest) {
		return longest == 0 // plain TCP, or a kernel that does not tell
	}
	reserved(int(lines), int(c.sendMost))
	if far {
		makeRoom(lines, c.dir[0].mark)
	}
	return true
}

// makeRoom has a socket offer room, and wake as before, at mark. What comes in between is found: who has just moved octets reads on, or the clock comes.
func makeRoom(fd, mark int32) {
	setLowat(fd, room)
	setLowat(fd, max(mark, 1))
}

// reserved adds the reserve to what a socket may hold, unless that may not be asked for: the kernel would take its limit for it.
func reserved(fd, most int) {
	has, err := sockopt.Int(fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
	if err != nil {
		return
	}
	want := (has + reserve) / 2 // the kernel doubles it
	if sockopt.SetInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, want) != nil && want <= most {
		sockopt.SetInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, want)
	}
}

// unlike reports whether the longest round trip, us, is that of a line far away beside the shortest.
func unlike(shortest, longest uint32) bool {
	return longest/farTimes >= shortest && longest-shortest >= farBy
}

// roundTrips reads the shortest and the longest of the least round trips, us, of a connection's subflows; 0 is the longest where nothing is told.
func roundTrips(fd int) (shortest, longest uint32) {
	const (
		tcpInfo = 2   // MPTCP_TCPINFO of include/uapi/linux/mptcp.h
		head    = 16  // struct mptcp_subflow_data
		minRTT  = 148 // in struct tcp_info
		each    = 152 // octets of it
	)
	var b [head + mostLines*each]byte
	order := binary.NativeEndian
	order.PutUint32(b[0:], head)
	order.PutUint32(b[12:], each)
	n, err := sockopt.Bytes(fd, unix.SOL_MPTCP, tcpInfo, b[:])
	if err != nil {
		return 0, 0
	}
	shortest = math.MaxInt32
	for rest := b[head:max(head, n)]; len(rest) >= each; rest = rest[each:] {
		if r := order.Uint32(rest[minRTT:]); int32(r) > 0 { // else it has none yet
			shortest, longest = min(shortest, r), max(longest, r)
		}
	}
	return shortest, longest
}
