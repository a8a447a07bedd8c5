// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
	"spillway/mptcp"
)

// console does lines of shell in a guest without one (big-endian MIPS): those that the testbed's faults consist of, and says of anything
// else that it can't. It knows
//
//	for NAME in WORD...; do COMMAND; COMMAND; done
//	COMMAND || true
//	echo WORD >FILE
//	nft ARGUMENT...
//	date -s @$(($(date +%s) + SECONDS))
//	ip [-4|-6] ..., see consoleIP
func console(lines string) error {
	statements := strings.FieldsFunc(lines, func(r rune) bool { return r == '\n' || r == ';' })
	for i := 0; i < len(statements); i++ {
		head, ok := strings.CutPrefix(strings.TrimSpace(statements[i]), "for ")
		if !ok {
			if err := command(statements[i]); err != nil {
				return err
			}
			continue
		}
		name, list, _ := strings.Cut(head, " in ")
		var body []string
		for i++; i < len(statements) && strings.TrimSpace(statements[i]) != "done"; i++ {
			body = append(body, strings.TrimPrefix(strings.TrimSpace(statements[i]), "do "))
		}
		for word := range strings.FieldsSeq(list) {
			for _, s := range body {
				if err := command(strings.ReplaceAll(s, "$"+name, word)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// command does one.
func command(text string) error {
	text, forgiven := strings.CutSuffix(strings.TrimSpace(text), " || true")
	words := strings.Fields(text)
	if len(words) == 0 {
		return nil
	}
	err := errors.New("this program can't")
	switch words[0] {
	case "echo":
		if len(words) == 3 && strings.HasPrefix(words[2], ">") {
			err = os.WriteFile(words[2][1:], []byte(strings.Trim(words[1], `"`)), 0o644)
		}
	case "nft":
		var out []byte
		if out, err = exec.Command("/usr/sbin/nft", words[1:]...).CombinedOutput(); err != nil {
			err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
		}
	case "date":
		if ahead, ok := strings.CutPrefix(text, "date -s @$(($(date +%s) + "); ok {
			err = setClock(strings.TrimSuffix(ahead, "))"))
		}
	case "ip":
		err = consoleIP(words[1:])
	}
	if err != nil && !forgiven {
		return fmt.Errorf("%s: %w", text, err)
	}
	return nil
}

// setClock sets the clock so many seconds ahead of what it is.
func setClock(ahead string) error {
	seconds, err := strconv.ParseInt(ahead, 10, 64)
	if err != nil {
		return err
	}
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME, &t); err != nil {
		return err
	}
	t = unix.NsecToTimespec(t.Nano() + seconds*1e9)
	return unix.ClockSettime(unix.CLOCK_REALTIME, &t)
}

// consoleIP does what a person does with ip in the faults. Beside what ip knows:
//
//	rule del pref N
//	route flush table N
//	mptcp endpoint flush
//	mptcp limits set subflows N
//	link set DEVICE mtu N
func consoleIP(words []string) error {
	proto := uint8(unix.AF_INET)
	if len(words) > 0 && (words[0] == "-4" || words[0] == "-6") {
		if words[0] == "-6" {
			proto = unix.AF_INET6
		}
		words = words[1:]
	}
	if len(words) < 3 {
		return errors.New("too short")
	}
	n, err := strconv.ParseUint(words[len(words)-1], 10, 32)
	what := strings.Join(words[:len(words)-1], " ")
	if what == "mptcp endpoint" || what == "mptcp limits set subflows" && err == nil {
		return pathManager(words[1] == "endpoint", uint32(n))
	}
	if err != nil {
		return ip(strings.Join(words, " "))
	}
	c, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	switch {
	case what == "rule del pref":
		return deleteRule(c, proto, uint32(n))
	case what == "route flush table":
		return flushTable(c, proto, uint32(n))
	case len(words) == 5 && words[0] == "link" && words[1] == "set" && words[3] == "mtu":
		return setMTU(c, words[2], uint32(n))
	}
	return ip(strings.Join(words, " "))
}

// pathManager removes the endpoints, or sets how many subflows a connection may have beside its first.
func pathManager(flush bool, subflows uint32) error {
	pm, ok, err := mptcp.OpenPathManager()
	if err != nil || !ok {
		return errors.Join(errors.New("no MPTCP path manager"), err)
	}
	defer pm.Close()
	if flush {
		return pm.Flush()
	}
	limits, err := pm.Limits()
	if err != nil {
		return err
	}
	limits.Subflows = subflows
	return pm.SetLimits(limits)
}

// deleteRule removes a routing rule by its priority: struct fib_rule_hdr, FRA_PRIORITY.
func deleteRule(c *netlink.Conn, proto uint8, priority uint32) error {
	attributes := netlink.NewAttributeEncoder()
	attributes.Uint32(unix.FRA_PRIORITY, priority)
	return send(c, unix.RTM_DELRULE, 0, append([]byte{proto}, make([]byte, 11)...), attributes)
}

// flushTable removes each route of a table: what the kernel says of it is what it takes to remove it (struct rtmsg, RTA_TABLE).
func flushTable(c *netlink.Conn, proto uint8, table uint32) error {
	routes, err := c.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_GETROUTE, Flags: netlink.Request | netlink.Dump},
		Data:   append([]byte{proto}, make([]byte, 11)...),
	})
	if err != nil {
		return err
	}
	for _, m := range routes {
		if len(m.Data) < 12 || tableOf(m.Data[12:]) != table {
			continue
		}
		_, err := c.Execute(netlink.Message{Header: netlink.Header{Type: unix.RTM_DELROUTE, Flags: netlink.Request | netlink.Acknowledge}, Data: m.Data})
		if err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}

// tableOf is the table that a route's attributes name; 0: none.
func tableOf(attributes []byte) (table uint32) {
	ad, err := netlink.NewAttributeDecoder(attributes)
	if err != nil {
		return 0
	}
	for ad.Next() {
		if ad.Type() == unix.RTA_TABLE {
			table = ad.Uint32()
		}
	}
	return table
}

// setMTU sets a device's largest packet: struct ifinfomsg, IFLA_MTU.
func setMTU(c *netlink.Conn, device string, mtu uint32) error {
	d, err := net.InterfaceByName(device)
	if err != nil {
		return err
	}
	header := append(binary.NativeEndian.AppendUint32(make([]byte, 4), uint32(d.Index)), make([]byte, 8)...)
	attributes := netlink.NewAttributeEncoder()
	attributes.Uint32(unix.IFLA_MTU, mtu)
	return send(c, unix.RTM_NEWLINK, 0, header, attributes)
}
