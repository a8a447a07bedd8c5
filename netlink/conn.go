// SPDX-License-Identifier: Apache-2.0

package netlink

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Conn is a netlink socket. Its methods may be called from any goroutine; Execute and Receive not beside each other.
//
// The kernel has answered a request when the write returns. So a socket that but asks (Dial) is none of the runtime's poller, which would
// wake a second thread for each answer, while the first one reads it; one that hears (Listen) is.
type Conn struct {
	fd   int
	file *os.File // of one that hears
	raw  syscall.RawConn
	mu   sync.Mutex // one request at a time
	seq  uint32     // of the request sent last
}

// patience bounds the wait for a kernel that does not answer.
const patience = 10 // s

// datagrams are buffers for what the kernel sends at once, 32 KiB at most (netlink_dump in net/netlink/af_netlink.c). Whoever waits for
// something to come holds none.
var datagrams = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// Dial opens a socket of a family (unix.NETLINK_ROUTE, ...) for requests, in the network namespace of the calling thread.
func Dial(family int) (*Conn, error) {
	fd, err := open(family, 0)
	if err != nil {
		return nil, err
	}
	c := Over(fd)
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: patience})
	if err != nil {
		c.Close()
		return nil, os.NewSyscallError("setsockopt", err)
	}
	return c, nil
}

// Listen opens a socket that hears multicast groups.
func Listen(family int, groups ...uint32) (c *Conn, err error) {
	fd, err := open(family, unix.SOCK_NONBLOCK)
	if err != nil {
		return nil, err
	}
	c = Over(fd)
	c.file = os.NewFile(uintptr(fd), "netlink")
	c.raw, err = c.file.SyscallConn()
	for i := 0; i < len(groups) && err == nil; i++ {
		err = c.JoinGroup(groups[i])
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Over asks over a datagram socket that is there already, and owns it.
func Over(fd int) *Conn { return &Conn{fd: fd} }

// open makes a socket with an address: without one it hears nothing that the kernel tells to all.
func open(family, flags int) (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|flags, family)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("bind", err)
	}
	return fd, nil
}

// Close closes the socket; a Receive of one that hears ends.
func (c *Conn) Close() error {
	if c.file != nil {
		return c.file.Close()
	}
	c.mu.Lock() // no request is under way
	defer c.mu.Unlock()
	fd := c.fd
	c.fd = -1
	return unix.Close(fd)
}

// SetReadDeadline ends a Receive of one that hears and waits then, with os.ErrDeadlineExceeded.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.file.SetReadDeadline(t) }

// Control calls fn with the descriptor, which stays open meanwhile.
func (c *Conn) Control(fn func(fd uintptr)) error {
	if c.raw != nil {
		return c.raw.Control(fn)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	fn(uintptr(c.fd))
	return nil
}

// JoinGroup hears a multicast group from now on.
func (c *Conn) JoinGroup(group uint32) error {
	if err := c.Set(unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, int(group)); err != nil {
		return fmt.Errorf("join netlink group %d: %w", group, err)
	}
	return nil
}

// LeaveGroup hears no more of a multicast group. What was queued before still comes.
func (c *Conn) LeaveGroup(group uint32) error {
	if err := c.Set(unix.SOL_NETLINK, unix.NETLINK_DROP_MEMBERSHIP, int(group)); err != nil {
		return fmt.Errorf("leave netlink group %d: %w", group, err)
	}
	return nil
}

// Set sets a socket option.
func (c *Conn) Set(level, option, value int) error {
	var inner error
	if err := c.Control(func(fd uintptr) { inner = unix.SetsockoptInt(int(fd), level, option, value) }); err != nil {
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

// send makes messages requests with one number of their own, in one datagram.
func (c *Conn) send(all ...Message) error {
	c.seq++
	var b []byte
	for _, m := range all {
		m.Flags, m.Seq = m.Flags|unix.NLM_F_REQUEST, c.seq
		b = append(b, Frame(m)...)
		b = append(b, 0, 0, 0)[:align(len(b))]
	}
	if c.file != nil {
		_, err := c.file.Write(b)
		return err
	}
	_, err := unix.Write(c.fd, b)
	return os.NewSyscallError("write", err)
}

// Execute sends a request and returns what the kernel answers: all of a dump (unix.NLM_F_DUMP), else one message, and none to what is but
// acknowledged (unix.NLM_F_ACK). A refusal is an *Error. A dump that was disturbed by a change is asked for again; at the fourth time an
// inconsistent one is better than none.
func (c *Conn) Execute(request Message) (answers []Message, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for range 4 {
		if err = c.send(request); err != nil {
			return nil, err
		}
		answers, err = c.answers(request)
		if !errors.Is(err, unix.EINTR) && !slices.ContainsFunc(answers, Message.torn) {
			break
		}
	}
	return answers, err
}

// Transact sends a request between the messages that begin and end a transaction, in one datagram. The request is to be acknowledged.
func (c *Conn) Transact(begin, request, end Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.send(begin, request, end); err != nil {
		return err
	}
	_, err := c.answers(request)
	return err
}

// answers reads what the kernel says to the request sent last.
func (c *Conn) answers(request Message) (answers []Message, err error) {
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
	read := func(fd uintptr) bool {
		room := datagrams.Get().(*[32 << 10]byte)
		defer datagrams.Put(room)
		n := 0
		if n, err = unix.Read(int(fd), room[:]); err == nil {
			b = append(b, room[:n]...)
		}
		return err != unix.EAGAIN && err != unix.EINTR
	}
	if c.raw != nil {
		if waited := c.raw.Read(read); waited != nil {
			err = waited
		}
	} else {
		for !read(uintptr(c.fd)) && err == unix.EINTR {
		}
	}
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", os.NewSyscallError("read", err))
	}
	return b, nil
}
