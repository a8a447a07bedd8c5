// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// ip does what lines of ip's arguments say. It knows
//
//	addr add|del ADDRESS/LENGTH dev DEVICE [nodad]
//	route add|replace default|::/0 [via GATEWAY] [dev DEVICE] [metric N]
func ip(lines string) error {
	c, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	for line := range strings.Lines(lines) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if err := ipLine(c, words); err != nil {
			return fmt.Errorf("ip %s: %w", strings.Join(words, " "), err)
		}
	}
	return nil
}

func ipLine(c *netlink.Conn, words []string) error {
	if len(words) < 3 {
		return errors.New("too short")
	}
	option := func(name string) string {
		for i := 3; i+1 < len(words); i++ {
			if words[i] == name {
				return words[i+1]
			}
		}
		return ""
	}
	index := 0
	if name := option("dev"); name != "" {
		device, err := net.InterfaceByName(name)
		if err != nil {
			return err
		}
		index = device.Index
	}
	switch words[0] + " " + words[1] {
	case "addr add", "addr del":
		return address(c, words[1] == "add", words[2], uint32(index))
	case "route add", "route replace":
		return route(c, words[1] == "replace", strings.Contains(words[2], ":"), option("via"), option("metric"), uint32(index))
	}
	return errors.New("this program can't")
}

// address adds or removes one: struct ifaddrmsg, IFA_LOCAL and IFA_ADDRESS.
func address(c *netlink.Conn, add bool, text string, index uint32) error {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return err
	}
	header := []byte{family(prefix.Addr()), byte(prefix.Bits()), 0, unix.RT_SCOPE_UNIVERSE}
	if prefix.Addr().Is6() {
		header[2] = unix.IFA_F_NODAD
	}
	attributes := netlink.NewAttributeEncoder()
	attributes.Bytes(unix.IFA_LOCAL, prefix.Addr().AsSlice())
	attributes.Bytes(unix.IFA_ADDRESS, prefix.Addr().AsSlice())
	kind, flags := unix.RTM_DELADDR, netlink.HeaderFlags(0)
	if add {
		kind, flags = unix.RTM_NEWADDR, netlink.Create|netlink.Excl
	}
	return send(c, kind, flags, binary.NativeEndian.AppendUint32(header, index), attributes)
}

// route adds or replaces a default route: struct rtmsg, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY.
func route(c *netlink.Conn, replace, v6 bool, via, metric string, index uint32) error {
	header := []byte{unix.AF_INET, 0, 0, 0, unix.RT_TABLE_MAIN, unix.RTPROT_BOOT, unix.RT_SCOPE_UNIVERSE, unix.RTN_UNICAST, 0, 0, 0, 0}
	if v6 {
		header[0] = unix.AF_INET6
	}
	attributes := netlink.NewAttributeEncoder()
	attributes.Uint32(unix.RTA_OIF, index)
	if via != "" {
		gateway, err := netip.ParseAddr(via)
		if err != nil {
			return err
		}
		attributes.Bytes(unix.RTA_GATEWAY, gateway.AsSlice())
	}
	if metric != "" {
		n, err := strconv.ParseUint(metric, 10, 32)
		if err != nil {
			return err
		}
		attributes.Uint32(unix.RTA_PRIORITY, uint32(n))
	}
	flags := netlink.Create | netlink.Excl
	if replace {
		flags = netlink.Create | netlink.Replace
	}
	return send(c, unix.RTM_NEWROUTE, flags, header, attributes)
}

// send asks the kernel and waits for its word.
func send(c *netlink.Conn, kind int, flags netlink.HeaderFlags, header []byte, attributes *netlink.AttributeEncoder) error {
	more, err := attributes.Encode()
	if err != nil {
		return err
	}
	_, err = c.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(kind), Flags: netlink.Request | netlink.Acknowledge | flags},
		Data:   append(header, more...),
	})
	return err
}

// link changes a device: struct ifinfomsg, IFLA_IFNAME.
func link(c *netlink.Conn, index int, up bool, name string) error {
	header := binary.NativeEndian.AppendUint32(make([]byte, 4), uint32(index))
	flags := uint32(0)
	if up {
		flags = unix.IFF_UP
	}
	header = binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(header, flags), flags)
	attributes := netlink.NewAttributeEncoder()
	if name != "" {
		attributes.String(unix.IFLA_IFNAME, name)
	}
	return send(c, unix.RTM_NEWLINK, 0, header, attributes)
}

func family(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// name names devices by their hardware addresses and sets them up, lo too.
func name(names map[string]string) error {
	c, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	devices, err := await(len(names) + 1)
	if err != nil {
		return err
	}
	found := 0
	for _, d := range devices {
		name, ok := names[d.HardwareAddr.String()]
		if ok {
			found++
			if err := link(c, d.Index, false, name); err != nil {
				return fmt.Errorf("call %s %s: %w", d.Name, name, err)
			}
		}
		if !ok && d.Flags&net.FlagLoopback == 0 {
			continue
		}
		if err := link(c, d.Index, true, ""); err != nil {
			return fmt.Errorf("set %s up: %w", d.Name, err)
		}
	}
	if found != len(names) {
		return fmt.Errorf("%d of %d devices are there: %v", found, len(names), devices)
	}
	return nil
}

// await waits until so many devices are there: drivers find them in their own time.
func await(n int) (devices []net.Interface, err error) {
	for range 500 {
		if devices, err = net.Interfaces(); err != nil || len(devices) >= n {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return devices, err
}
