// SPDX-License-Identifier: Apache-2.0

package netlink

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Conn is a netlink socket. Its methods may be called from any goroutine; Execute and Receive not beside each other.
type Conn struct {
	file *os.File
	raw  syscall.RawConn
	mu   sync.Mutex // one request at a time
	seq  uint32     // of the request sent last
}

// datagrams are buffers for what the kernel sends at once, 32 KiB at most (netlink_dump in net/netlink/af_netlink.c). Whoever waits for
// something to come holds none.
var datagrams = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// Dial opens a socket of a family (unix.NETLINK_ROUTE, ...) in the network namespace of the calling thread, which hears these
// multicast groups.
func Dial(family int, groups ...uint32) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, family)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	// Without an address of its own a socket hears nothing that the kernel tells to all.
	err = os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	c, err := Over(fd)
	for i := 0; i < len(groups) && err == nil; i++ {
		err = c.JoinGroup(groups[i])
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Over speaks over a non-blocking datagram socket that is there already, and owns it.
func Over(fd int) (c *Conn, err error) {
	c = &Conn{file: os.NewFile(uintptr(fd), "netlink")}
	c.raw, err = c.file.SyscallConn()
	return c, err
}

// Close closes the socket, also under a Receive.
func (c *Conn) Close() error { return c.file.Close() }

// SetReadDeadline ends a Receive that waits then, with os.ErrDeadlineExceeded.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.file.SetReadDeadline(t) }

// SyscallConn is the bare socket.
func (c *Conn) SyscallConn() syscall.RawConn { return c.raw }

// JoinGroup hears a multicast group from now on.
func (c *Conn) JoinGroup(group uint32) error {
	if err := c.Set(unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, int(group)); err != nil {
		return fmt.Errorf("join netlink group %d: %w", group, err)
	}
	return nil
}

// Set sets a socket option.
func (c *Conn) Set(level, option, value int) error {
	var inner error
	if err := c.raw.Control(func(fd uintptr) { inner = unix.SetsockoptInt(int(fd), level, option, value) }); err != nil {
		return err
	}
	return os.NewSyscallError("setsockopt", inner)
}

// Send sends a request and waits for no answer.
func (c *Conn) Send(m Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.send(m)
}

// send makes m a request, with a number of its own.
func (c *Conn) send(m Message) error {
	c.seq++
	m.Flags, m.Seq = m.Flags|unix.NLM_F_REQUEST, c.seq
	_, err := c.file.Write(Frame(m))
	return err
}

// Execute sends a request and returns what the kernel answers: all of a dump (unix.NLM_F_DUMP), else one message, and none to what is but
// acknowledged (unix.NLM_F_ACK). A refusal is an *Error. A dump that was disturbed by a change has NLM_F_DUMP_INTR in some message.
func (c *Conn) Execute(request Message) (answers []Message, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.send(request); err != nil {
		return nil, err
	}
	for whole := false; !whole; {
		b, err := c.datagram()
		if err != nil {
			return nil, err
		}
		for len(b) > 0 {
			var m Message
			if m, b, err = Next(b); err != nil {
				return nil, err
			}
			if m.Seq != c.seq {
				continue // what is left of the answer to an earlier request
			}
			if last, err := m.Last(); err != nil {
				return nil, err
			} else if last {
				return answers, nil
			}
			answers = append(answers, m)
			whole = m.Flags&unix.NLM_F_MULTI == 0 && request.Flags&unix.NLM_F_ACK == 0
		}
	}
	return answers, nil
}

// Receive waits for what the kernel sends by itself. The refusal of something sent is an error, an *Error.
func (c *Conn) Receive() (all []Message, err error) {
	b, err := c.datagram()
	for len(b) > 0 && err == nil {
		var m Message
		if m, b, err = Next(b); err != nil {
			break
		}
		var last bool
		if last, err = m.Last(); !last {
			all = append(all, m)
		}
	}
	if err != nil {
		return nil, err
	}
	return all, nil
}

// datagram waits for the next one.
func (c *Conn) datagram() (b []byte, err error) {
	var inner error
	err = c.raw.Read(func(fd uintptr) bool {
		room := datagrams.Get().(*[32 << 10]byte)
		defer datagrams.Put(room)
		var n int
		if n, inner = unix.Read(int(fd), room[:]); inner == nil {
			b = append(b, room[:n]...)
		}
		return inner != unix.EAGAIN && inner != unix.EINTR
	})
	if err == nil {
		err = os.NewSyscallError("read", inner)
	}
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	return b, nil
}
