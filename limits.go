// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"spillway/relay"
)

// means is what each connection takes a part of.
type means struct {
	descriptors int    // that the process may have open
	ports       int    // local ones, of each address of the router
	memory      uint64 // the machine's, octets
}

// ourMeans looks at the process and its machine.
func ourMeans() means { return means{descriptors(), localPorts(), memory()} }

// descriptors is how many the process may have open.
func descriptors() int {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil || l.Cur > 1<<30 {
		return 1 << 30
	}
	return int(l.Cur)
}

// localPorts is how many ports the kernel has for connections that it begins (net.ipv4.ip_local_port_range, for both families).
func localPorts() int {
	text, _ := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	return portsIn(string(text))
}

// portsIn reads the two ends of a range, "32768\t60999"; all there are if it can't be read.
func portsIn(text string) int {
	if f := strings.Fields(text); len(f) == 2 {
		low, err := strconv.ParseUint(f[0], 10, 16)
		high, err2 := strconv.ParseUint(f[1], 10, 16)
		if err == nil && err2 == nil && high >= low {
			return int(high - low + 1)
		}
	}
	return 1 << 16
}

// memoryOfOne is what the machine should have for each connection. An idle one takes some 12 kB, of which 5 are the daemon's and the
// rest the kernel's sockets (`scenario memory-short`); one that moves octets has them in buffers besides. So all together take
// a third of the memory at most, and the rest is for the system.
const memoryOfOne = 64 << 10

// sessionsWithin is the most connections, configured or the default (0), that these means suffice for: two descriptors, and on the
// first link a port, for each. Without it the door would stay open and connections be accepted that nobody can serve. Memory
// bounds the default alone: the owner's number is the owner's word.
func sessionsWithin(configured int, m means) int {
	if configured == 0 {
		configured = int(min(relay.DefaultMaxSessions, m.memory/memoryOfOne))
	}
	spare := 64 + m.descriptors/8 // netlink, control socket, commands, probes, and what waits at the door when it closes
	ports := m.ports - m.ports/4  // probes, what waits at the door, and connections that have ended hold theirs for a minute
	return max(8, min(configured, (m.descriptors-spare)/2, ports))
}

// queueWithin is how many connections may wait to be accepted where so many may be served. What waits was promised to be, so that memory bounds
// it, whatever the owner says.
func queueWithin(sessions int, m means) int { return min(sessions/8, sessionsWithin(0, m)) }
