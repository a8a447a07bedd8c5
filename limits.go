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

// sessionsWithin is the most connections, configured or the relay's own default (0), that so many descriptors suffice for: two
// each. Without it the door would stay open and connections be accepted that nobody can serve.
func sessionsWithin(configured, descriptors int) int {
	spare := 64 + descriptors/8 // netlink, control socket, commands, probes, and what waits at the door when it closes
	most := max(8, (descriptors-spare)/2)
	if configured == 0 && most >= relay.DefaultMaxSessions {
		return 0
	}
	if configured == 0 {
		return most
	}
	return min(configured, most)
}
