// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"spillway/config"
	"spillway/mptcp"
)

// checkWorld compares a configuration with the machine it is to run on: devices that are not there, names that don't
// resolve, concentrators that don't answer. Nil: nothing found.
func checkWorld(file string, c *config.Config, wait time.Duration) error {
	var errs []error
	for i, l := range c.Links {
		if l.Device == "" {
			continue
		}
		if _, err := net.InterfaceByName(l.Device); err != nil {
			errs = append(errs, fmt.Errorf("%s: link[%d].device: there is no device %q now; `ip link` lists those that are (%s)", place(file, c, "link", i, "device"), i, l.Device, devicesNow()))
		}
	}
	for _, name := range c.LAN.Interfaces {
		if _, err := net.InterfaceByName(name); err != nil {
			errs = append(errs, fmt.Errorf("%s: lan.interfaces: there is no device %q now (%s)", place(file, c, "lan", -1, "interfaces"), name, devicesNow()))
		}
	}
	for i, u := range c.Concentrators {
		if err := reachable(u, wait); err != nil {
			errs = append(errs, fmt.Errorf("%s: concentrator[%d].address: %w", place(file, c, "concentrator", i, "address"), i, err))
		}
	}
	return errors.Join(errs...)
}

// place is the file and line of a key.
func place(file string, c *config.Config, table string, i int, key string) string {
	if line := c.Line(table, i, key); line > 0 {
		return fmt.Sprintf("%s:%d", file, line)
	}
	return file
}

func devicesNow() string {
	list, err := net.Interfaces()
	if err != nil || len(list) == 0 {
		return "none can be listed"
	}
	var names []string
	for _, i := range list {
		names = append(names, i.Name)
	}
	return "here: " + strings.Join(names, ", ")
}

// reachable tries to connect to a concentrator, at the least effort.
func reachable(u config.Concentrator, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), wait+resolveWait)
	defer cancel()
	addrs, err := resolve(ctx, u, systemLookup())
	if err != nil {
		return fmt.Errorf("%q does not resolve: %w; check the name and this machine's name server", or(u.Address, u.Learn), err)
	}
	for _, a := range addrs {
		err = connectOnce(ctx, a, wait)
		if err == nil {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("no answer from %v: %w; is the concentrator running, and its port open in its firewall?", addrs, err)
	}
	return nil
}

func connectOnce(ctx context.Context, a netip.AddrPort, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	c, err := mptcp.Dial(ctx, a, mptcp.DialOptions{PlainTCP: true})
	if err == nil {
		c.Close()
	}
	return err
}
