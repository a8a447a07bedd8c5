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

// source reads the kernel. Its functions are fields so that tests put a made-up world in their place.
type source struct {
	world  func() (world, error)
	device func(index int) (device, error) // os.ErrNotExist when it is gone
	close  func()
}

// openSource opens the socket for requests in the network namespace of the calling thread.
func openSource() (source, error) {
	c, err := netlink.Dial(unix.NETLINK_ROUTE)
	if err != nil {
		return source{}, fmt.Errorf("open rtnetlink: %w", err)
	}
	return source{
		world:  func() (world, error) { return readWorld(c) },
		device: func(index int) (device, error) { return readDevice(c, index) },
		close:  func() { c.Close() },
	}, nil
}

// readWorld reads all devices, addresses and default routes.
func readWorld(c *netlink.Conn) (w world, err error) {
	err = dump(c, unix.RTM_GETLINK, unix.SizeofIfInfomsg, func(m netlink.Message) {
		if d, err := parseDevice(m.Data); m.Type == unix.RTM_NEWLINK && err == nil {
			w.devices = append(w.devices, d)
		}
	})
	if err != nil {
		return w, fmt.Errorf("read devices: %w", err)
	}
	err = dump(c, unix.RTM_GETADDR, unix.SizeofIfAddrmsg, func(m netlink.Message) {
		if a, err := parseAddress(m.Data); m.Type == unix.RTM_NEWADDR && err == nil {
			w.addresses = append(w.addresses, a)
		}
	})
	if err != nil {
		return w, fmt.Errorf("read addresses: %w", err)
	}
	err = dump(c, unix.RTM_GETROUTE, unix.SizeofRtMsg, func(m netlink.Message) {
		if r, err := parseRoute(m.Data); m.Type == unix.RTM_NEWROUTE && err == nil {
			w.routes = append(w.routes, r...)
		}
	})
	if err != nil {
		return w, fmt.Errorf("read routes: %w", err)
	}
	return w, nil
}

// dump asks for all objects of a kind.
func dump(c *netlink.Conn, kind uint16, size int, each func(netlink.Message)) error {
	messages, err := c.Execute(netlink.Message{Type: kind, Flags: unix.NLM_F_DUMP, Data: make([]byte, size)})
	for _, m := range messages {
		each(m)
	}
	return err
}

// readDevice asks for one device, facts and counters in one message; os.ErrNotExist when there is none with this index.
func readDevice(c *netlink.Conn, index int) (device, error) {
	body := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(body[4:], uint32(index))
	answers, err := c.Execute(netlink.Message{Type: unix.RTM_GETLINK, Data: body})
	switch {
	case errors.Is(err, unix.ENODEV):
		err = os.ErrNotExist
	case err == nil && (len(answers) != 1 || answers[0].Type != unix.RTM_NEWLINK):
		err = errors.New("the kernel answers with something else")
	}
	if err != nil {
		return device{}, fmt.Errorf("read device %d: %w", index, err)
	}
	return parseDevice(answers[0].Data)
}
