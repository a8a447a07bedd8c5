// SPDX-License-Identifier: Apache-2.0

package mptcp

import "strings"

// groupListeners counts the generic netlink sockets (protocol 16) in any group that /proc/net/netlink shows.
func groupListeners(text string) (n int) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) > 3 && f[1] == "16" && strings.Trim(f[3], "0") != "" {
			n++
		}
	}
	return n
}
