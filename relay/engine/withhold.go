// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// withheld keeps what goes down several lines within the window that their far end has offered, where the kernel does not (Pair.Withhold).
//
// Linux (6.18 for one) takes the window of a SYN with data for scaled: 14 KB for 15 MB (net/ipv4/tcp_minisocks.c, tcp_create_openreq_child, sets
// the subflow's, which tcp_fastopen_create_child puts right; the connection's is taken in between, net/mptcp/protocol.c,
// mptcp_sk_clone_init, and it only grows). Each subflow keeps to what it was offered, but all were offered the same octets: two send
// twice that. The far end throws away what is beyond (MPTcpExtNoDSSInWindow), the subflow has it acknowledged, and the connection repeats
// a few KB each 200 ms: one of seven unpaced downloads stood still for seconds.
type withheld struct {
	edge   uint64 // octets of the direction that the far end is known to take
	due    int64  // the next look, when listed
	wait   int64  // the last pause between two looks
	listed bool   // in loop.withheld
}

const (
	leastWait = int64(1e6)  // ns; what was withheld goes on when acknowledgements come, which wake nobody
	mostWait  = int64(50e6) // a host that reads nothing for long is looked at seldom
	leastRoom = 4 << 10     // octets for which writing is worth while before all that is under way has arrived
)

// allowed is how many of limit octets the direction down may write now. 0: later, and the loop will look again.
func (l *loop) allowed(c *Conn, limit int) int {
	w, moved := c.withheld, c.dir[1].moved.Load()
	if moved+uint64(limit) <= w.edge {
		return limit
	}
	if w.listed && l.now < w.due {
		return 0
	}
	under, window := offered(c.fd[0]) // in this order, so that what is acknowledged in between counts as still under way
	if window < 0 {
		return limit // the kernel does not tell
	}
	w.edge = max(w.edge, moved-min(moved, uint64(under))+uint64(window))
	room := int(min(uint64(limit), w.edge-min(moved, w.edge)))
	if room >= min(limit, leastRoom) {
		w.wait = 0
		return room
	}
	if under == 0 {
		return min(limit, leastRoom) // nothing is under way that could be acknowledged: the kernel asks for a window
	}
	w.wait = min(max(leastWait, 2*w.wait), mostWait)
	w.due = l.now + w.wait
	if !w.listed {
		w.listed = true
		l.withheld = append(l.withheld, c)
	}
	return 0
}

// nextHeld is when one of those withheld is due. There is one.
func (l *loop) nextHeld() int64 {
	next := l.withheld[0].withheld.due
	for _, c := range l.withheld[1:] {
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

// offered tells, of an MPTCP socket, how many octets are under way or not yet sent, and the window that was last offered for what follows
// what has arrived; -1: unknown.
func offered(fd int32) (under, window int) {
	var n int32
	if _, _, e := unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCOUTQ, uintptr(unsafe.Pointer(&n))); e != 0 {
		return 0, -1
	}
	var b [infoHead + 8*infoSize]byte
	order := binary.NativeEndian
	order.PutUint32(b[0:], infoHead)
	order.PutUint32(b[12:], infoSize)
	size := uint32(len(b))
	if _, _, e := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_MPTCP, mptcpTCPInfo, uintptr(unsafe.Pointer(&b)), uintptr(unsafe.Pointer(&size)), 0); e != 0 {
		return 0, -1
	}
	return int(n), lastWindow(b[:size])
}

// An answer to MPTCP_TCPINFO (include/uapi/linux/mptcp.h) is a struct mptcp_subflow_data and for each subflow a struct tcp_info as far as
// asked for. The kernel writes as much of the latter as it has.
const (
	mptcpTCPInfo = 2
	infoHead     = 16
	infoKernel   = 8   // in the head: the size of the kernel's tcp_info
	infoSubflows = 4   // in the head: how many there are
	infoLastAck  = 56  // in tcp_info: tcpi_last_ack_recv, ms
	infoWindow   = 228 // in tcp_info: tcpi_snd_wnd, octets
	infoSize     = 232
)

// lastWindow is the window that the subflow had with which the last acknowledgement came; of several within a millisecond the smallest. What others
// had was offered for what followed an earlier octet. -1: there is none, or the kernel does not tell it.
func lastWindow(b []byte) int {
	order := binary.NativeEndian
	if len(b) < infoHead || order.Uint32(b[infoKernel:]) < infoSize {
		return -1
	}
	window, latest := -1, uint32(0)
	n := int(min(order.Uint32(b[infoSubflows:]), uint32(len(b)-infoHead)/infoSize))
	for i := range n {
		info := b[infoHead+i*infoSize:]
		ago, w := order.Uint32(info[infoLastAck:]), int(order.Uint32(info[infoWindow:]))
		if window < 0 || ago < latest || ago == latest && w < window {
			window, latest = w, ago
		}
	}
	return window
}
