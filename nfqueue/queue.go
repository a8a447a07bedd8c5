// SPDX-License-Identifier: Apache-2.0

// Package nfqueue reads packets that a firewall rule holds (nftables `queue`, kernel nfnetlink_queue) and tells the kernel
// what becomes of them. A queue that is full, or has no reader where the rule says `bypass`, lets packets pass.
package nfqueue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"spillway/netlink"
)

// Queue is one queue of the network namespace it was opened in. Its methods may be called from any goroutine.
type Queue struct {
	number uint16
	conn   *netlink.Conn
}

// Open becomes the reader of a queue, which holds most packets at once; more pass. The error is unix.EPERM also when the
// queue has another reader, and unix.EPROTONOSUPPORT or EINVAL when the kernel has no such queues. Needs CAP_NET_ADMIN.
func Open(number uint16, most int) (*Queue, error) {
	c, err := netlink.Listen(unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open netfilter netlink: %w", err)
	}
	q := &Queue{number, c}
	m, err := bind(number, uint32(most))
	if err == nil {
		m.Flags |= unix.NLM_F_ACK
		_, err = c.Execute(m) // alone, as a packet would be taken for the answer
	}
	if err == nil {
		// What doesn't fit into the socket's buffer passes; nothing is to be read anew for it.
		err = c.Set(unix.SOL_NETLINK, unix.NETLINK_NO_ENOBUFS, 1)
	}
	if err == nil {
		if m, err = start(number); err == nil {
			err = c.Send(m)
		}
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("read packet queue %d (kernel module nfnetlink_queue): %w", number, err)
	}
	return q, nil
}

// Run calls fn for each packet, on the caller's goroutine, until ctx ends. fn must see to it that each gets its verdict,
// now or later.
func (q *Queue) Run(ctx context.Context, fn func(Packet)) error {
	// A deadline in the past wakes the reader without pulling the socket away from under it.
	defer context.AfterFunc(ctx, func() { q.conn.SetReadDeadline(time.Unix(1, 0)) })()
	for {
		messages, err := q.conn.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOENT):
			continue // a verdict on a packet that is gone: the firewall's table was replaced
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil:
			return fmt.Errorf("read packet queue %d: %w", q.number, err)
		}
		for _, m := range messages {
			if m.Type != messageType(messagePacket) {
				continue
			}
			if p, err := parsePacket(m.Data); err == nil {
				fn(p)
			}
		}
	}
}

// Accept lets a packet go on behind the rule that held it, with this mark.
func (q *Queue) Accept(id, mark uint32) error { return q.say(id, nfAccept, mark) }

// Drop throws a packet away.
func (q *Queue) Drop(id uint32) error { return q.say(id, nfDrop, 0) }

func (q *Queue) say(id, what, mark uint32) error {
	m, err := verdict(q.number, id, what, mark)
	if err == nil {
		err = q.conn.Send(m)
	}
	return err
}

// Close gives the queue up; what it holds is dropped.
func (q *Queue) Close() error { return q.conn.Close() }
