// SPDX-License-Identifier: Apache-2.0

package linkmon

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"spillway/netlink"
)

// question asks the kernel for one device, facts and counters in one message. It is asked up to 20 times a second per
// link: so it has a bare socket of its own (the kernel has answered when the write returns; nobody needs to wait or to
// be woken) and one buffer. Not safe for concurrent use.
type question struct {
	fd  int
	seq uint32
	buf []byte
}

const maxAnswer = 32 << 10 // a device with many virtual functions or alternative names; usual are 1.5 KiB

func openQuestion() (*question, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	return &question{fd: fd, buf: make([]byte, maxAnswer)}, nil
}

func (q *question) close() { unix.Close(q.fd) }

// device reads one device; os.ErrNotExist when there is none with this index.
func (q *question) device(index int) (device, error) {
	q.seq++
	if _, err := unix.Write(q.fd, getLink(q.seq, index)); err != nil {
		return device{}, fmt.Errorf("ask for device %d: %w", index, err)
	}
	for {
		n, err := unix.Read(q.fd, q.buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return device{}, fmt.Errorf("read device %d: %w", index, err)
		}
		d, ours, err := answer(q.buf[:n], q.seq)
		if errors.Is(err, unix.ENODEV) {
			return device{}, fmt.Errorf("read device %d: %w", index, os.ErrNotExist)
		}
		if err != nil {
			return device{}, fmt.Errorf("read device %d: %w", index, err)
		}
		if ours { // else it is the late answer to a question before
			return d, nil
		}
	}
}

// getLink asks with struct ifinfomsg.
func getLink(seq uint32, index int) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	return netlink.Frame(netlink.Message{Type: unix.RTM_GETLINK, Flags: unix.NLM_F_REQUEST, Seq: seq, Data: b})
}

// answer reads one netlink message; ours is false if it answers another question.
func answer(b []byte, seq uint32) (d device, ours bool, err error) {
	m, _, err := netlink.Next(b)
	if err != nil || m.Seq != seq {
		return device{}, false, err
	}
	if m.Type == unix.RTM_NEWLINK {
		d, err = parseDevice(m.Data)
		return d, true, err
	}
	if _, err = m.Last(); err == nil {
		err = fmt.Errorf("the kernel answers with a message of type %d", m.Type)
	}
	return device{}, true, err
}
