// SPDX-License-Identifier: Apache-2.0

package concentrator

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
)

// copyLen is the size of a copy buffer in octets. On MPTCP read and write with large buffers cost as little as splice
// or less (it copies there up to Linux 6.18).
const copyLen = 128 << 10

var copyBuffers = sync.Pool{New: func() any { return new([copyLen]byte) }}

// relay copies both ways until both directions have ended and closes both. A direction that ends with FIN closes the other
// side's writing; one that fails resets both sides, so that no failure looks like a clean end.
func relay(client, server *net.TCPConn, up, down *atomic.Uint64) {
	done := make(chan error, 1)
	go func() { done <- half(client, server, down) }()
	half(server, client, up)
	<-done
	client.Close()
	server.Close()
}

// half copies from src to dst and counts. A failure aborts both sockets.
func half(dst, src *net.TCPConn, count *atomic.Uint64) error {
	err := pump(dst, src, count)
	if err == nil {
		err = dst.CloseWrite()
		if errors.Is(err, syscall.ENOTCONN) {
			err = nil // the other direction has reset it already
		}
	}
	if err != nil {
		abort(src)
		abort(dst)
	}
	return err
}

// abort closes with a reset, on MPTCP with MP_FASTCLOSE.
func abort(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}

// pump copies until FIN (nil) or failure. A buffer is held only while there are octets to move.
func pump(dst, src *net.TCPConn, count *atomic.Uint64) error {
	r, err := newReader(src)
	if err != nil {
		return err
	}
	for {
		buf, n, err := r.read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		_, err = dst.Write(buf[:n])
		copyBuffers.Put(buf)
		if err != nil {
			return err
		}
		count.Add(uint64(n))
	}
}

// reader reads into a pooled buffer that it takes only when the socket has something.
type reader struct {
	raw syscall.RawConn
	try func(fd uintptr) bool
	buf *[copyLen]byte
	n   int
	err error
}

func newReader(c *net.TCPConn) (*reader, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	r := &reader{raw: raw}
	r.try = r.tryOnce // once: a method value is an allocation
	return r, nil
}

// read waits for octets; the caller puts the buffer back. io.EOF on FIN.
func (r *reader) read() (buf *[copyLen]byte, n int, err error) {
	if err := r.raw.Read(r.try); err != nil {
		return nil, 0, err
	}
	buf, r.buf = r.buf, nil
	if r.err == nil && r.n > 0 {
		return buf, r.n, nil
	}
	copyBuffers.Put(buf)
	if r.err == nil {
		return nil, 0, io.EOF
	}
	return nil, 0, r.err
}

// tryOnce reads without waiting; false asks the poller to wait for the socket.
func (r *reader) tryOnce(fd uintptr) bool {
	buf := copyBuffers.Get().(*[copyLen]byte)
	for {
		r.n, r.err = syscall.Read(int(fd), buf[:])
		switch r.err {
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			copyBuffers.Put(buf)
			return false
		}
		r.buf = buf
		return true
	}
}
