// SPDX-License-Identifier: Apache-2.0

package linkmon

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"spillway/netlink"
)

// source reads the kernel. Its functions are fields so that tests put a made-up world in their place.
type source struct {
	world  func() (world, error)
	device func(index int) (device, error) // os.ErrNotExist when it is gone
	close  func()
}

// openSource opens the sockets for requests in the network namespace of the calling thread.
func openSource() (source, error) {
	c, err := netlink.Dial(unix.NETLINK_ROUTE)
	if err != nil {
		return source{}, fmt.Errorf("open rtnetlink: %w", err)
	}
	q, err := openQuestion()
	if err != nil {
		c.Close()
		return source{}, fmt.Errorf("open rtnetlink: %w", err)
	}
	return source{
		world:  func() (world, error) { return readWorld(c) },
		device: q.device,
		close:  func() { c.Close(); q.close() },
	}, nil
}

// readWorld reads all devices, addresses and default routes.
func readWorld(c *netlink.Conn) (w world, err error) {
	err = dump(c, unix.RTM_GETLINK, unix.SizeofIfInfomsg, func(fresh bool, m netlink.Message) {
		if fresh {
			w.devices = nil
		}
		if d, err := parseDevice(m.Data); m.Type == unix.RTM_NEWLINK && err == nil {
			w.devices = append(w.devices, d)
		}
	})
	if err != nil {
		return w, fmt.Errorf("read devices: %w", err)
	}
	err = dump(c, unix.RTM_GETADDR, unix.SizeofIfAddrmsg, func(fresh bool, m netlink.Message) {
		if fresh {
			w.addresses = nil
		}
		if a, err := parseAddress(m.Data); m.Type == unix.RTM_NEWADDR && err == nil {
			w.addresses = append(w.addresses, a)
		}
	})
	if err != nil {
		return w, fmt.Errorf("read addresses: %w", err)
	}
	err = dump(c, unix.RTM_GETROUTE, unix.SizeofRtMsg, func(fresh bool, m netlink.Message) {
		if fresh {
			w.routes = nil
		}
		if r, err := parseRoute(m.Data); m.Type == unix.RTM_NEWROUTE && err == nil {
			w.routes = append(w.routes, r...)
		}
	})
	if err != nil {
		return w, fmt.Errorf("read routes: %w", err)
	}
	return w, nil
}

// dump asks for all objects of a kind. A dump that the kernel marks as interrupted by a change is asked for again, with
// fresh set on its first message; the change itself has sent a hint, so that giving up after some tries loses nothing.
func dump(c *netlink.Conn, kind uint16, size int, each func(fresh bool, m netlink.Message)) error {
	for try := 0; ; try++ {
		messages, err := c.Execute(netlink.Message{Type: kind, Flags: unix.NLM_F_DUMP, Data: make([]byte, size)})
		if errors.Is(err, unix.EINTR) && try < 3 {
			continue
		}
		if err != nil {
			return err
		}
		torn := false
		for i, m := range messages {
			each(i == 0, m)
			torn = torn || m.Flags&unix.NLM_F_DUMP_INTR != 0
		}
		if !torn || try >= 3 {
			return nil
		}
	}
}
