// SPDX-License-Identifier: Apache-2.0

package main

import (
	"golang.org/x/sys/unix"

	"spillway/relay"
)

// descriptors is how many the process may have open.
func descriptors() int {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil || l.Cur > 1<<30 {
		return 1 << 30
	}
	return int(l.Cur)
}

// spareDescriptors are for all but connections: netlink, control socket, commands, probes, accepts under way.
const spareDescriptors = 64

// sessionsWithin is the most connections, configured or the relay's own default (0), that so many descriptors suffice for: two
// each. Without it the door would stay open and connections be accepted that nobody can serve.
func sessionsWithin(configured, descriptors int) int {
	most := max(8, (descriptors-spareDescriptors)/2)
	if configured == 0 && most >= relay.DefaultMaxSessions {
		return 0
	}
	if configured == 0 {
		return most
	}
	return min(configured, most)
}
