// SPDX-License-Identifier: Apache-2.0

package linkmon

import (
	"fmt"

	"golang.org/x/sys/unix"

	"spillway/netlink"
)

// subscription delivers hints. next blocks; an error ends it (ENOBUFS: the kernel had more than the socket could hold).
type subscription struct {
	next  func() (hint, error)
	close func() // also unblocks next
}

// hint is what a message is good for: nothing but to know when to read.
type hint uint8

const (
	hintNone   hint = iota
	hintChange      // something may have changed: read soon
	hintLoss        // something may have become worse: read now
)

// openWatch subscribes in the network namespace of the calling thread.
func openWatch() (subscription, error) {
	c, err := netlink.Listen(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
		unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE)
	if err != nil {
		return subscription{}, fmt.Errorf("subscribe to rtnetlink: %w", err)
	}
	return subscription{
		next: func() (hint, error) {
			messages, err := c.Receive()
			if err != nil {
				return hintNone, fmt.Errorf("rtnetlink subscription: %w", err)
			}
			h := hintNone
			for _, m := range messages {
				h = max(h, weigh(uint16(m.Type), m.Data))
			}
			return h, nil
		},
		close: func() { c.Close() },
	}, nil
}

// weigh tells what a message is worth. Routes to anywhere but everywhere are none of our business.
func weigh(kind uint16, body []byte) hint {
	switch kind {
	case unix.RTM_NEWLINK:
		if d, err := parseDevice(body); err == nil && !d.carrier {
			return hintLoss
		}
		return hintChange
	case unix.RTM_DELLINK, unix.RTM_DELADDR:
		return hintLoss
	case unix.RTM_NEWADDR:
		return hintChange
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		if len(body) < 2 || body[1] != 0 {
			return hintNone
		}
		if kind == unix.RTM_DELROUTE {
			return hintLoss
		}
		return hintChange
	}
	return hintNone
}
