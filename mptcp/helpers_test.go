// SPDX-License-Identifier: Apache-2.0

package mptcp

import "strings"

// hasGroupListener says whether /proc/net/netlink shows a generic netlink socket (protocol 16) in any group.
func hasGroupListener(text string) bool {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) > 3 && f[1] == "16" && strings.Trim(f[3], "0") != "" {
			return true
		}
	}
	return false
}
