// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Counters returns the counters MPTcpExt and TcpExt of the current thread's network namespace by name, without prefix
// ("MPCapableSYNTX", "TCPFastOpenActiveFail"). Which ones are there depends on the kernel.
func Counters() (map[string]uint64, error) {
	// thread-self: /proc/net is that of the process's first thread, which may live in another namespace.
	b, err := os.ReadFile("/proc/thread-self/net/netstat")
	if err != nil {
		return nil, fmt.Errorf("read kernel counters: %w", err)
	}
	return parseNetstat(string(b)), nil
}

// parseNetstat reads pairs of lines, "Group: names..." and "Group: values...". What isn't such a pair, and a value
// that isn't a number, is skipped: counters are never worth failing for.
func parseNetstat(text string) map[string]uint64 {
	out := make(map[string]uint64, 256)
	lines := strings.Split(text, "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		group, names, _ := strings.Cut(lines[i], ":")
		again, values, _ := strings.Cut(lines[i+1], ":")
		if group != again || group != "TcpExt" && group != "MPTcpExt" {
			continue
		}
		vs := strings.Fields(values)
		for j, name := range strings.Fields(names) {
			if j >= len(vs) {
				break
			}
			if v, err := strconv.ParseUint(vs[j], 10, 64); err == nil {
				out[name] = v
			}
		}
	}
	return out
}
