// SPDX-License-Identifier: Apache-2.0

package linkmon

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
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

// getLink writes struct nlmsghdr and struct ifinfomsg.
func getLink(seq uint32, index int) []byte {
	const n = unix.SizeofNlMsghdr + unix.SizeofIfInfomsg
	b := make([]byte, n)
	binary.NativeEndian.PutUint32(b, n)
	binary.NativeEndian.PutUint16(b[4:], unix.RTM_GETLINK)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST)
	binary.NativeEndian.PutUint32(b[8:], seq)
	binary.NativeEndian.PutUint32(b[unix.SizeofNlMsghdr+4:], uint32(index))
	return b
}

// answer reads one netlink message; ours is false if it answers another question.
func answer(b []byte, seq uint32) (d device, ours bool, err error) {
	if len(b) < unix.SizeofNlMsghdr {
		return device{}, false, errShort
	}
	n, kind := binary.NativeEndian.Uint32(b), binary.NativeEndian.Uint16(b[4:])
	if n < unix.SizeofNlMsghdr || uint64(n) > uint64(len(b)) {
		return device{}, false, errShort
	}
	if binary.NativeEndian.Uint32(b[8:]) != seq {
		return device{}, false, nil
	}
	body := b[unix.SizeofNlMsghdr:n]
	switch kind {
	case unix.RTM_NEWLINK:
		d, err = parseDevice(body)
		return d, true, err
	case unix.NLMSG_ERROR:
		if len(body) < 4 {
			return device{}, true, errShort
		}
		if errno := -int32(binary.NativeEndian.Uint32(body)); errno > 0 {
			return device{}, true, unix.Errno(errno)
		}
	}
	return device{}, true, fmt.Errorf("the kernel answers with a message of type %d", kind)
}
