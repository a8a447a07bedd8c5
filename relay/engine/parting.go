// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"math"
	"time"
)

// A connection that both sides have ended is over for the kernel when the peer has acknowledged our end, a round trip later. An MPTCP socket
// that is closed before, and whose last subflow the path manager then takes away because an endpoint is deleted, may never be freed by
// Linux (6.18): if that subflow was done already, or is done at once, net/mptcp/protocol.c, __mptcp_close_ssk, gives the socket the state
// CLOSE, and mptcp_worker, which should free it, finds nothing left to do for one in that state. Each costs 5 kB and a token until the
// machine restarts, and without tokens there is no MPTCP. A daemon that was stopped under load left thousands of them. So a socket that goes by
// the lines is closed when its end has been acknowledged.

// parting is such a socket, both of whose directions have ended.
type parting struct {
	fd    int32
	since int64 // ns of the loop's clock
}

const (
	partingEvery = int64(100 * time.Millisecond) // many are looked at together
	mostParting  = int64(time.Minute)            // as long as the kernel itself would wait (net.mptcp.close_timeout)
	lastParting  = 500 * time.Millisecond        // for all, when the engine closes
)

// part closes a socket as soon as the peer has its end.
func (l *loop) part(fd int32) {
	if parted(fd) {
		closeFD(fd)
		return
	}
	l.partings = append(l.partings, parting{fd, l.now})
	l.nextParting = min(l.nextParting, l.now+partingEvery)
}

// parted sends our end where that was not done, and tells whether the peer has it, or the connection is over anyway: reset, or without a
// subflow (inet_shutdown: ENOTCONN).
func parted(fd int32) bool { return shutWrite(fd) != 0 || acknowledged(fd) }

// tryPartings closes those whose end has arrived. Nobody waits for one that comes too late.
func (l *loop) tryPartings() {
	kept := l.partings[:0]
	for _, p := range l.partings {
		switch {
		case parted(p.fd):
			closeFD(p.fd)
		case l.now-p.since >= mostParting:
			Reset(int(p.fd))
		default:
			kept = append(kept, p)
		}
	}
	l.nextParting = l.now + partingEvery
	if l.partings = kept; len(kept) == 0 {
		l.partings, l.nextParting = nil, math.MaxInt64
	}
}

// partAll ends the last ones: endpoints may be deleted as soon as the engine is closed.
func (l *loop) partAll() {
	for until := time.Now().Add(lastParting); len(l.partings) > 0 && time.Now().Before(until); time.Sleep(2 * time.Millisecond) {
		l.tryPartings()
	}
	for _, p := range l.partings {
		Reset(int(p.fd))
	}
}
