// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"math"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"spillway/sockopt"
)

// An end that goes by the lines is told when all that was sent before it has been acknowledged. Linux (up to 7.2 at least) takes no further
// subflow for a connection that has told its end (net/mptcp/subflow.c, subflow_syn_recv_sock: only one that is established, see
// mptcp_is_fully_established): if the only line is lost while the last octets of an answer are in its queue, nothing can bring them any more, though
// both ends have another line. Until then the connection is as good as one in the middle of a download. It costs one round trip until who reads
// to the end sees it; whoever was told a length has all it needs before.
//
// What was acknowledged is looked at, since no event tells of it.

// ending is an end that waits.
type ending struct {
	c       *Conn
	d       int   // the direction
	since   int64 // ns of the loop's clock
	due     int64 // the next look
	expects int64 // ns, a quarter of the round trip
}

const (
	mostEnding   = int64(time.Minute) // then the end is told all the same: nothing of it would come by a line that carries nothing for so long
	leastEnding  = int64(time.Millisecond)
	seldomEnding = int64(100 * time.Millisecond)
)

// waits tells whether the end of a direction must wait for acknowledgements, and has the loop look for them.
func (l *loop) waits(c *Conn, d int) bool {
	x, fd := &c.dir[d], c.fd[1-d]
	if x.ending {
		return true
	}
	if !x.careful || acknowledged(fd) || plain(int(fd)) {
		return false
	}
	expects := leastEnding
	if info, err := sockopt.TCPInfo(int(fd)); err == nil {
		expects = max(expects, int64(info.Rtt)*int64(time.Microsecond)/4)
	}
	x.ending = true
	due := l.now + 2*expects
	l.endings = append(l.endings, ending{c, d, l.now, due, expects})
	l.nextEnding = min(l.nextEnding, due)
	return true
}

// acknowledged tells whether the peer has all that was written (SIOCOUTQ, net/mptcp/protocol.c, mptcp_ioctl_outq). Who cannot tell has.
func acknowledged(fd int32) bool {
	var under int32
	_, _, e := unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCOUTQ, uintptr(unsafe.Pointer(&under)))
	return e != 0 || under == 0
}

// tryEndings tells the ends of those of which all has arrived.
func (l *loop) tryEndings() {
	kept := l.endings[:0]
	l.nextEnding = math.MaxInt64
	for _, e := range l.endings {
		waited := l.now - e.since
		switch {
		case e.c.over:
			continue
		case l.now < e.due:
		case waited < mostEnding && !acknowledged(e.c.fd[1-e.d]):
			e.due = l.now + max(e.expects, min(waited/4, seldomEnding))
		default:
			x := &e.c.dir[e.d]
			x.careful, x.ending = false, false
			l.passEnd(e.c, e.d)
			continue
		}
		l.nextEnding = min(l.nextEnding, e.due)
		kept = append(kept, e)
	}
	clear(l.endings[len(kept):])
	if l.endings = kept; len(kept) == 0 {
		l.endings = nil
	}
}
