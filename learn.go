// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"spillway/config"
	"spillway/convert"
)

// learn reads concentrators' addresses from the file of a concentrator's key `learn`.
func learn(c config.Concentrator) ([]netip.AddrPort, error) {
	text, err := os.ReadFile(c.Learn)
	if err != nil {
		return nil, fmt.Errorf("read options that DHCP brought: %w", err)
	}
	addrs, err := learnt(string(text), c.LearnCode)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Learn, err)
	}
	var out []netip.AddrPort
	for _, a := range addrs {
		out = append(out, netip.AddrPortFrom(a, c.Port))
	}
	return out, nil
}

// learnt finds an option in what the DHCP clients give their scripts as environment, a variable a line: udhcpc's
// opt224=HEX, odhcp6c's OPTION_224=HEX, several instances with a blank between them. Other lines do not matter.
func learnt(text string, code int) (addrs []netip.Addr, err error) {
	v4, v6 := "opt"+strconv.Itoa(code), "OPTION_"+strconv.Itoa(code)
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		name, value = strings.TrimPrefix(name, "export "), strings.Trim(value, `'"`)
		if name != v4 && name != v6 {
			continue
		}
		for part := range strings.FieldsSeq(value) {
			b, err := hex.DecodeString(part)
			if err != nil {
				return nil, fmt.Errorf("option %s: %w", name, err)
			}
			lists := make([][]netip.Addr, 1)
			if name == v4 {
				lists, err = convert.ParseDHCPv4(b)
			} else {
				lists[0], err = convert.ParseDHCPv6(b)
			}
			if err != nil {
				return nil, err
			}
			for _, list := range lists {
				addrs = append(addrs, list...)
			}
		}
	}
	if len(addrs) == 0 {
		return nil, errors.New("no address of a concentrator in option " + strconv.Itoa(code))
	}
	return addrs, nil
}
