// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"os"
	"strings"
	"time"
)

// useZone makes local time what the router's owner means by it. OpenWrt keeps the zone in /etc/TZ, in POSIX's way
// ("CET-1CEST,M3.5.0,M10.5.0/3"), and has no /etc/localtime unless a package of zones is installed: Go alone would take UTC, and
// quotas and time windows would begin hours off.
func useZone(localtime, posix string) {
	if os.Getenv("TZ") != "" {
		return
	}
	if _, err := os.Stat(localtime); err == nil {
		return
	}
	text, err := os.ReadFile(posix)
	if err != nil {
		return
	}
	if zone, err := posixZone(strings.TrimSpace(string(text))); err == nil {
		time.Local = zone
	}
}

// posixZone makes a location of a POSIX TZ string: a zone file (RFC 9636) that has nothing but it in its footer.
func posixZone(tz string) (*time.Location, error) {
	block := func(version byte) []byte {
		b := append([]byte("TZif"), version)
		b = append(b, make([]byte, 15)...)
		for _, n := range []uint32{0, 0, 0, 0, 1, 4} { // of UT and standard indicators, leap seconds, transitions; one type, 4 octets of names
			b = binary.BigEndian.AppendUint32(b, n)
		}
		return append(b, 0, 0, 0, 0, 0, 0, 'U', 'T', 'C', 0) // the type: offset, no summer time, name
	}
	file := append(block('2'), block('2')...)
	return time.LoadLocationFromTZData("Local", append(file, "\n"+tz+"\n"...))
}
