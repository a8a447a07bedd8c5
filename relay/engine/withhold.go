// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"math"
	"unsafe"

	"golang.org/x/sys/unix"
)

// withheld keeps what goes down several lines within the window that their far end has offered, where the kernel does not (Pair.Withhold).
//
// Linux (6.18 for one) takes the window of a SYN with data for scaled: tcp_create_openreq_child (net/ipv4/tcp_minisocks.c) sets the
// subflow's so, which tcp_fastopen_create_child puts right, but in between the connection's was taken from it (net/mptcp/protocol.c,
// mptcp_sk_clone_init), and that only grows; and as all subflows share it, each is lifted to it before it sends
// (mptcp_check_allowed_size). So until that much has passed, 15 MB of a router's 14 KB, no window is heeded. The far end throws away what is
// beyond its own (MPTcpExtNoDSSInWindow), although the subflow has it acknowledged, and the connection repeats a few KB each 200 ms: one of
// seven unpaced downloads stood still for seconds. What was offered is not to be had from the kernel, which has overwritten it.
//
// But it is known how a window grows: by twice of what came by a subflow (net/ipv4/tcp_input.c, tcp_grow_window), as fast as a sender's own that
// begins. So as much may be under way as has arrived, and what a sender may begin with; and the router makes room from the beginning for what is
// taken for its window (relay/room.go, and kernel.LinkRoute, which has it be 0.9 MB at most).
type withheld struct {
	edge   uint64 // octets of the direction that may be sent
	due    int64  // the next try, when listed
	wait   int64  // the last pause between two tries
	listed bool   // in loop.withheld
}

const (
	beginWith = 14 << 10    // octets under way at first (RFC 6928)
	leastRoom = 4 << 10     // octets for which writing is worth while before all that is under way has arrived
	doubtful  = 16 << 20    // octets after which the kernel's idea is right: ten segments, taken for 1,024 times as much, by other routers
	leastWait = int64(1e6)  // ns; what was withheld goes on when acknowledgements come, which wake nobody
	mostWait  = int64(50e6) // a far end that takes nothing for long is looked at seldom
)

// allowed is how many of limit octets the direction down may write now. 0: later, and the loop will look again.
func (l *loop) allowed(c *Conn, limit int) int {
	w, moved := c.withheld, c.dir[1].moved.Load()
	switch {
	case moved >= doubtful:
		if !w.listed { // else the loop still looks at it
			c.withheld = nil
		}
		return limit
	case moved+uint64(limit) <= w.edge:
		return limit
	case w.listed && l.now < w.due:
		return 0
	}
	var under int32 // on their way, or not yet sent
	if _, _, e := unix.RawSyscall(unix.SYS_IOCTL, uintptr(c.fd[0]), unix.SIOCOUTQ, uintptr(unsafe.Pointer(&under))); e != 0 {
		w.edge = math.MaxUint64
		return limit
	}
	if room := w.room(moved, uint64(under), limit); room > 0 {
		w.wait = 0
		return room
	}
	w.wait = min(max(leastWait, 2*w.wait), mostWait)
	w.due = l.now + w.wait
	if !w.listed {
		w.listed = true
		l.withheld = append(l.withheld, c)
	}
	return 0
}

// room is how many of limit octets may follow those that were moved, of which some are under way; 0: not worth while yet.
func (w *withheld) room(moved, under uint64, limit int) int {
	w.edge = max(w.edge, beginWith+2*(moved-min(moved, under)))
	room := int(min(uint64(limit), w.edge-min(moved, w.edge)))
	if room < min(limit, leastRoom) {
		return 0
	}
	return room
}

// nextHeld is when the first of those withheld is due; without any, never.
//
//go:noinline
func (l *loop) nextHeld() int64 {
	next := int64(math.MaxInt64)
	for _, c := range l.withheld {
		next = min(next, c.withheld.due)
	}
	return next
}

// tryHeld goes on with those that are due.
func (l *loop) tryHeld() {
	all := l.withheld
	l.withheld = nil
	for _, c := range all {
		w := c.withheld
		switch {
		case c.over:
		case l.now < w.due:
			l.withheld = append(l.withheld, c)
		default:
			w.listed = false
			l.pump(c, 1)
		}
	}
}
