// SPDX-License-Identifier: Apache-2.0

package concentrator

import (
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"spillway/relay/engine"
)

// carry has the engine copy both ways between two connections that it owns from then on, and counts the session out at their end.
// A direction that ends with FIN closes the other side's writing; one that fails resets both sides, so that no failure looks like a
// clean end.
func (ses *session) carry(client, server *net.TCPConn) error {
	pair := ses.pair()
	var err error
	if pair.LAN, err = detach(client); err != nil {
		abort(server)
		return err
	}
	if pair.Up, err = detach(server); err != nil {
		engine.Reset(pair.LAN)
		return err
	}
	c, err := ses.s.engine.Add(pair)
	if err != nil {
		return err
	}
	ses.conn.Store(c)
	if ses.push {
		ses.s.young.pushLater(young{c: c})
	}
	return nil
}

// pair says how the engine shall copy.
func (ses *session) pair() engine.Pair {
	return engine.Pair{Far: true, Done: func(c *engine.Conn, _ engine.End) {
		ses.conn.Store(c) // Add may not have returned yet
		ses.s.forget(ses)
	}}
}

// moved is the octets that were copied for the session.
func (ses *session) moved() (up, down uint64) {
	if c := ses.conn.Load(); c != nil {
		up, down = c.Moved()
	}
	return up + uint64(ses.early.Load()), down
}

// abort closes with a reset, on MPTCP with MP_FASTCLOSE.
func abort(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}

// detach takes a socket out of the runtime's poller: a duplicate outlives the closed original. On an error the connection is reset.
func detach(c *net.TCPConn) (fd int, err error) {
	if fd, err = duplicate(c); err != nil {
		c.SetLinger(0)
	}
	c.Close()
	return fd, err
}

// duplicate gives a descriptor of its own for a connection or a listener.
func duplicate(c syscall.Conn) (fd int, err error) {
	rc, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	cerr := rc.Control(func(p uintptr) { fd, err = unix.FcntlInt(p, unix.F_DUPFD_CLOEXEC, 3) })
	if cerr != nil {
		err = cerr
	}
	if err != nil {
		return -1, fmt.Errorf("duplicate socket: %w", err)
	}
	return fd, nil
}

// connOf makes a connection of a socket, which it owns from then on, also when it fails. Keep-alive is off.
func connOf(fd int) (*net.TCPConn, error) {
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	t, ok := c.(*net.TCPConn)
	if !ok {
		c.Close()
		return nil, os.ErrInvalid
	}
	t.SetKeepAlive(false) // an error means that the connection is over
	return t, nil
}
