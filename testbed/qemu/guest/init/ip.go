// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/jsimonetti/rtnetlink/v2"
	"golang.org/x/sys/unix"
)

// ip does what lines of ip's arguments say. It knows
//
//	addr add|del ADDRESS/LENGTH dev DEVICE [nodad]
//	route add|replace default|::/0 [via GATEWAY] [dev DEVICE] [metric N]
func ip(lines string) error {
	c, err := rtnetlink.Dial(nil)
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

func ipLine(c *rtnetlink.Conn, words []string) error {
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
		prefix, err := netip.ParsePrefix(words[2])
		if err != nil {
			return err
		}
		m := &rtnetlink.AddressMessage{Family: family(prefix.Addr()), PrefixLength: uint8(prefix.Bits()), Index: uint32(index),
			Attributes: &rtnetlink.AddressAttributes{Address: prefix.Addr().AsSlice(), Local: prefix.Addr().AsSlice()}}
		if words[1] == "del" {
			return c.Address.Delete(m)
		}
		if prefix.Addr().Is6() {
			m.Flags = unix.IFA_F_NODAD
			m.Attributes.Flags = unix.IFA_F_NODAD
		}
		return c.Address.New(m)
	case "route add", "route replace":
		m := &rtnetlink.RouteMessage{Family: unix.AF_INET, Table: unix.RT_TABLE_MAIN, Protocol: unix.RTPROT_BOOT, Scope: unix.RT_SCOPE_UNIVERSE, Type: unix.RTN_UNICAST,
			Attributes: rtnetlink.RouteAttributes{OutIface: uint32(index), Table: unix.RT_TABLE_MAIN}}
		if strings.Contains(words[2], ":") {
			m.Family = unix.AF_INET6
		}
		if via := option("via"); via != "" {
			gateway, err := netip.ParseAddr(via)
			if err != nil {
				return err
			}
			m.Attributes.Gateway = gateway.AsSlice()
		}
		if metric := option("metric"); metric != "" {
			n, err := strconv.ParseUint(metric, 10, 32)
			if err != nil {
				return err
			}
			m.Attributes.Priority = uint32(n)
		}
		if words[1] == "replace" {
			return c.Route.Replace(m)
		}
		return c.Route.Add(m)
	}
	return errors.New("this program can't")
}

func family(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// name names devices by their hardware addresses and sets them up, lo too.
func name(names map[string]string) error {
	c, err := rtnetlink.Dial(nil)
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
			if err := c.Link.Set(&rtnetlink.LinkMessage{Index: uint32(d.Index), Attributes: &rtnetlink.LinkAttributes{Name: name}}); err != nil {
				return fmt.Errorf("call %s %s: %w", d.Name, name, err)
			}
		}
		if !ok && d.Flags&net.FlagLoopback == 0 {
			continue
		}
		if err := c.Link.Set(&rtnetlink.LinkMessage{Index: uint32(d.Index), Flags: unix.IFF_UP, Change: unix.IFF_UP}); err != nil {
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
