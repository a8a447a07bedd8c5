// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	mostEarly = 16 << 10 // octets of the LAN host sent before the upstream has answered
	roomFirst = 1300     // octets; most requests fit
)

// early are the LAN host's first octets, read before the upstream has answered and kept until it has, so that another
// upstream can be given the same.
type early struct {
	lan   *net.TCPConn // nil: nothing can have come yet
	b     []byte
	sent  atomic.Bool   // the upstream may have some of b: it can be said to no other any more
	open  bool          // the upstream's handshake is complete: what is written leaves
	done  chan struct{} // closed by pump's end
	gone  atomic.Bool   // the LAN host failed, as err says once pump has ended
	ended atomic.Bool   // the LAN host has ended its side
	err   error
	lost  error // upstream did not take what is in b
}

// peek takes what is there already, without waiting.
func (e *early) peek() {
	if e.lan == nil {
		return
	}
	rc, err := e.lan.SyscallConn()
	if err != nil {
		return
	}
	rc.Control(func(fd uintptr) {
		var b [roomFirst]byte
		if n, err := unix.Read(int(fd), b[:]); err == nil && n > 0 {
			e.b = append(e.b, b[:n]...)
		}
	})
}

// start sends what comes from the LAN host on to up until stop, and before it the first octets of b that up has not been given yet.
// A failure of the LAN host ends the wait for up.
func (e *early) start(up *net.TCPConn, first int) {
	if e.lan == nil {
		return
	}
	e.done, e.lost = make(chan struct{}), nil
	go e.pump(up, first)
}

func (e *early) pump(up *net.TCPConn, first int) {
	defer close(e.done)
	if first > 0 && !e.pass(up, e.b[:first]) {
		return
	}
	for len(e.b) < mostEarly {
		have := len(e.b)
		if cap(e.b)-have < roomFirst/4 {
			e.b = slices.Grow(e.b, roomFirst)
		}
		n, err := e.lan.Read(e.b[have:min(cap(e.b), mostEarly)])
		if n > 0 {
			e.b = e.b[:have+n]
			if !e.pass(up, e.b[have:]) {
				return
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			e.ended.Store(true) // it is read again by the engine
			return
		case errors.Is(err, os.ErrDeadlineExceeded):
			return
		default:
			e.err = err
			e.gone.Store(true)
			up.SetReadDeadline(time.Unix(1, 0))
			return
		}
	}
}

// pass gives octets to up, as soon as its handshake is complete.
func (e *early) pass(up *net.TCPConn, b []byte) bool {
	if e.open {
		e.sent.Store(true)
	}
	n, err := up.Write(b)
	if n > 0 { // not before the handshake, else
		e.open = true
		e.sent.Store(true)
	}
	if err != nil {
		e.lost = err // the reader of up will learn why
	}
	return err == nil
}

// stop ends start. After it all of b was written, or up has failed.
func (e *early) stop() {
	if e.done == nil {
		return
	}
	e.lan.SetReadDeadline(time.Unix(1, 0))
	<-e.done
	e.done = nil
	e.lan.SetReadDeadline(time.Time{})
}
