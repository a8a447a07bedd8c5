// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"errors"
	"net"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// converse says the opening and waits for the answer, while the LAN host's first octets already follow where the
// protocol permits. They never leave in a SYN (fast): one that gets no answer may have been taken all the same, and what the LAN host
// said could not be said to another then. Once they are sent the wait does not end with ctx, for no other can help. With b the
// lane has begun: the opening is what it had not said yet, some of the LAN host's octets perhaps, and waits for the handshake.
func (s *session) converse(ctx context.Context, up *net.TCPConn, u *upstream, opening []byte, follow, fast bool, b *begun, patience, deadline time.Time) error {
	s.writeUntil(up, deadline)
	waits, over := context.WithCancel(context.Background())
	defer over()
	defer context.AfterFunc(ctx, func() { s.upstreamOut(waits, up, u) })()
	first := len(s.early.b)
	s.early.open = !fast && b == nil
	switch {
	case b != nil:
		first = 0
	case follow && !fast && first > 0:
		s.early.sent.Store(true)
		opening, first = append(opening, s.early.b...), 0
	}
	if len(opening) > 0 {
		var n int
		var err error
		if b == nil {
			_, err = up.Write(opening)
		} else if n, err = s.sayRest(ctx, up, opening, patience, deadline); n > 0 {
			s.early.sent.Store(b.sent || b.hears)
		}
		if err != nil {
			return err
		}
	}
	if follow {
		if ctx.Err() == nil { // The LAN host may speak as long as its answer is waited for. Who ends that wait ends this one as well
			s.writeUntil(up, deadline.Add(max(0, s.set.ServerTimeout-s.set.ConnectTimeout)))
		}
		s.early.start(up, first)
	}
	server, err := s.await(ctx, up, u, patience, deadline)
	if err != nil {
		up.SetWriteDeadline(time.Unix(1, 0)) // the pump may be waiting for a handshake that will not come
		s.early.stop()
		return err
	}
	if server {
		s.r.native.learn(s.dst, time.Now().Add(s.set.NativeLife))
	}
	s.early.stop()
	if err := errors.Join(s.early.err, s.early.lost); err != nil {
		return err
	}
	if !follow && len(s.early.b) > 0 {
		s.early.sent.Store(true)
		_, err = up.Write(s.early.b)
	}
	return err
}

// sayRest says what waits for a handshake, which may take until patience, and tells how many octets were taken. It tries each second: of 12,000
// connections by a line that lost a quarter of its packets Linux (6.18, MPTCP) did not tell two that their handshakes were done.
func (s *session) sayRest(ctx context.Context, up *net.TCPConn, rest []byte, patience, deadline time.Time) (n int, err error) {
	for {
		until := time.Now().Add(silence)
		if until.After(patience) && !s.shaken(up) {
			until = patience
		}
		s.writeUntil(up, until)
		more, err := up.Write(rest[n:])
		n += more
		if !errors.Is(err, os.ErrDeadlineExceeded) || ctx.Err() != nil || s.lost() {
			return n, err
		}
		// A SYN's repetition may have been answered while patience ended, as both are a second after the first.
		if now := time.Now(); now.After(deadline.Add(silence)) || !now.Before(patience) && !s.shaken(up) {
			return n, err
		}
	}
}

// How long who has said something waits on when the upstream has gone out. One that was frozen, or cut off, goes on where it was; where another
// program answers, or none, the one that was told has ended, though its kernel may keep the connection (Linux 6.18 does with one that
// nobody had accepted yet). The host is told then: it can decide whether to ask again, and we can't.
const (
	hopeSilent = 8 * time.Second
	hopeEnded  = 2 * time.Second
)

// upstreamOut ends the wait on an upstream that went out: at once where nothing was said, else when there is no hope left. waits ends with the wait.
func (s *session) upstreamOut(waits context.Context, up *net.TCPConn, u *upstream) {
	if s.early.sent.Load() {
		if !passes(waits, u.hope()) || u.up() {
			return
		}
		s.hopeless.Store(true)
	}
	up.SetDeadline(time.Unix(1, 0))
}

// await is answer with all deadlines: patience holds only until the handshake is complete, and a converter that answers others meanwhile may
// wait for a slow server longer than deadline.
func (s *session) await(ctx context.Context, up *net.TCPConn, u *upstream, patience, deadline time.Time) (bool, error) {
	if patience.Before(deadline) {
		if came, err := s.readable(ctx, up, patience); err != nil {
			return false, err
		} else if !came && !s.shaken(up) {
			return false, errSilent
		}
	}
	if u.Protocol == Convert && s.lan != nil { // whose SYN is held repeats it, and asks anew
		var err error
		if deadline, err = s.awaitServer(ctx, up, u, deadline); err != nil {
			return false, err
		}
	}
	s.readUntil(ctx, up, deadline)
	return u.answer(up, s.heard, s.dst)
}

// awaitServer waits for a converter's answer beyond the deadline while the converter is well, so that it is the server that is slow: as
// long as a host would repeat its SYN. It tells until when the answer is to be read. A LAN host that has ended its side, as one
// does that has given up, is waited for only once more.
func (s *session) awaitServer(ctx context.Context, up *net.TCPConn, u *upstream, deadline time.Time) (time.Time, error) {
	began := deadline.Add(-s.set.ConnectTimeout)
	asked := false
	defer func() {
		if asked {
			up.SetKeepAlive(false)
		}
	}()
	last, ended := began.Add(s.set.ServerTimeout), began.Add(2*s.set.ConnectTimeout)
	for deadline.Before(last) {
		for _, t := range [2]time.Time{deadline.Add(-s.set.ConnectTimeout / 2), deadline} {
			if came, err := s.readable(ctx, up, t); came || err != nil {
				return deadline, err
			}
			if t == deadline {
				continue
			}
			up.SetKeepAliveConfig(patient)
			asked = true
			if !u.heardSince(began) {
				go s.r.suspect(u) // others may have asked by then
			}
		}
		if !u.heardSince(began) || !s.shaken(up) || s.early.ended.Load() && !deadline.Before(ended) || s.lost() {
			break
		}
		began, deadline = deadline, deadline.Add(s.set.ConnectTimeout)
		if deadline.After(last) {
			deadline = last
		}
	}
	return deadline, nil
}

// patient has the kernel ask whether the converter still knows a connection on which nothing moves: one that was started again, while the line was
// cut, says no. Kernels that cannot do that with MPTCP (before 6.14) ask nobody; the connection then waits for its deadline.
var patient = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 5 * time.Second, Count: 9}

// readUntil sets the deadline for reading: now, if nobody waits any more.
func (s *session) readUntil(ctx context.Context, up *net.TCPConn, t time.Time) {
	up.SetReadDeadline(t)
	if s.early.gone.Load() || s.lost() || ctx.Err() != nil && !s.early.sent.Load() { // perhaps before the line above
		up.SetReadDeadline(time.Unix(1, 0))
	}
}

// lost tells whether the attempt was given up.
func (s *session) lost() bool { return s.moved.Load() || s.hopeless.Load() }

// writeUntil sets the deadline for writing: now, if the connection was given up before.
func (s *session) writeUntil(up *net.TCPConn, t time.Time) {
	up.SetWriteDeadline(t)
	if s.lost() { // perhaps before the line above
		up.SetWriteDeadline(time.Unix(1, 0))
	}
}

// peek looks whether a socket has something to read, an end or an error: unix.EAGAIN when it has none. unix.Recvfrom would link addresses of
// every kind that package unix knows.
func peek(fd uintptr) error {
	var b [1]byte
	_, _, e := unix.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b)), 1, unix.MSG_PEEK|unix.MSG_DONTWAIT, 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

// readable waits until there is something to read, an answer or an end, or until t.
func (s *session) readable(ctx context.Context, up *net.TCPConn, t time.Time) (bool, error) {
	if len(s.heard) > 0 {
		return true, nil
	}
	rc, err := up.SyscallConn()
	if err != nil {
		return false, err
	}
	s.readUntil(ctx, up, t)
	var seen error
	err = rc.Read(func(fd uintptr) bool {
		seen = peek(fd)
		return seen != unix.EAGAIN
	})
	if err == nil && seen != nil {
		return false, os.NewSyscallError("recvfrom", seen) // the kernel tells it once
	}
	return err == nil || s.early.gone.Load(), nil // the answer, whatever it is, is read next
}
