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
	synRoom   = 1300     // octets of a SYN that are certain to fit beside all options (facts/kernel.md 2: 1412)
)

// early are the LAN host's first octets, read before the upstream has answered and kept until it has, so that another
// upstream can be given the same.
type early struct {
	lan  *net.TCPConn // nil: nothing can have come yet
	b    []byte
	done chan struct{} // closed by pump's end
	gone atomic.Bool   // the LAN host failed, as err says once pump has ended
	err  error
	lost error // upstream did not take what is in b
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
		var b [synRoom - 100]byte
		if n, err := unix.Read(int(fd), b[:]); err == nil && n > 0 {
			e.b = append(e.b, b[:n]...)
		}
	})
}

// start sends what comes from the LAN host on to up until stop. A failure of the LAN host ends the wait for up.
func (e *early) start(up *net.TCPConn) {
	if e.lan == nil {
		return
	}
	e.done, e.lost = make(chan struct{}), nil
	go e.pump(up)
}

func (e *early) pump(up *net.TCPConn) {
	defer close(e.done)
	for len(e.b) < mostEarly {
		have := len(e.b)
		if cap(e.b)-have < synRoom/4 {
			e.b = slices.Grow(e.b, synRoom)
		}
		n, err := e.lan.Read(e.b[have:min(cap(e.b), mostEarly)])
		if n > 0 {
			e.b = e.b[:have+n]
			if _, err := up.Write(e.b[have:]); err != nil {
				e.lost = err // the reader of up will learn why
				return
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF), errors.Is(err, os.ErrDeadlineExceeded):
			return // an end is read again by the engine
		default:
			e.err = err
			e.gone.Store(true)
			up.SetReadDeadline(time.Unix(1, 0))
			return
		}
	}
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
