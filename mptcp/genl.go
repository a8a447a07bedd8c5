// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"spillway/netlink"
)

// family is a generic netlink family (linux/genetlink.h), whose numbers the kernel gives out as it starts.
type family struct {
	id      uint16
	version uint8
	groups  map[string]uint32 // multicast groups by their names
}

const genlLen = 4 // struct genlmsghdr: command, version, 2 octets unused

// findFamily asks for a family by its name; unix.ENOENT when the kernel has none.
func findFamily(c *netlink.Conn, name string) (f family, err error) {
	var e netlink.Encoder
	e.String(unix.CTRL_ATTR_FAMILY_NAME, name)
	request, err := e.Encode()
	if err != nil {
		return f, err
	}
	answers, err := c.Execute(netlink.Message{Type: unix.GENL_ID_CTRL, Data: append([]byte{unix.CTRL_CMD_GETFAMILY, 1, 0, 0}, request...)})
	if err == nil && (len(answers) == 0 || len(answers[0].Data) < genlLen) {
		err = errors.New("no answer")
	}
	if err == nil {
		f, err = parseFamily(netlink.Decode(answers[0].Data[genlLen:]))
	}
	if err != nil {
		return f, fmt.Errorf("find generic netlink family %s: %w", name, err)
	}
	return f, nil
}

func parseFamily(d *netlink.Decoder) (f family, err error) {
	f.groups = map[string]uint32{}
	for d.Next() {
		switch d.Type() {
		case unix.CTRL_ATTR_FAMILY_ID:
			f.id = d.Uint16()
		case unix.CTRL_ATTR_VERSION:
			f.version = uint8(d.Uint32())
		case unix.CTRL_ATTR_MCAST_GROUPS: // a list of nests
			d.Nested(func(list *netlink.Decoder) error {
				for list.Next() {
					list.Nested(func(group *netlink.Decoder) error { parseGroup(group, f.groups); return nil })
				}
				return nil
			})
		}
	}
	return f, d.Err()
}

func parseGroup(d *netlink.Decoder, into map[string]uint32) {
	var name string
	var id uint32
	for d.Next() {
		switch d.Type() {
		case unix.CTRL_ATTR_MCAST_GRP_NAME:
			name = d.String()
		case unix.CTRL_ATTR_MCAST_GRP_ID:
			id = d.Uint32()
		}
	}
	into[name] = id
}
