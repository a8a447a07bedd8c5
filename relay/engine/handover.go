// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// What passes between package net, whose connections the runtime polls, and descriptors, which the engine does.

// Detach takes a socket out of the runtime's poller: a duplicate outlives the closed original. On an error the connection is reset.
func Detach(c *net.TCPConn) (fd int, err error) {
	if fd, err = Duplicate(c); err != nil {
		ResetConn(c)
	}
	c.Close()
	return fd, err
}

// ResetConn is Reset for a connection of package net. SO_LINGER 0 and a close alone are no reset where MPTCP is spoken: the peer reads an end.
func ResetConn(c *net.TCPConn) {
	if rc, err := c.SyscallConn(); err == nil {
		rc.Control(func(fd uintptr) { Abort(int(fd)) })
	}
	c.Close()
}

// Duplicate gives another descriptor of a connection, a listener or a file. File.Fd would make it blocking, for who shares it too.
func Duplicate(c syscall.Conn) (fd int, err error) {
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

// ConnOf makes a connection of a socket, which it owns from then on, also when it fails. Keep-alive, which package net puts on, is off: it
// would run on every subflow.
func ConnOf(fd int) (*net.TCPConn, error) {
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
