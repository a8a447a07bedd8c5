// SPDX-License-Identifier: Apache-2.0

package mptcp

import "golang.org/x/sys/unix"

// Tokens is how many MPTCP connections the kernel finds tokens for with certainty. Its table (net/mptcp/token.c) has a chain for each MiB of memory
// (rounded up to a power of two, 65,536 at most), four tokens in each at most, and five draws for a connection: with one for each chain a
// draw fails in 2 of 100 cases, all five in 2 of 10^9; with four for each chain always. A socket that finds none is plain TCP from its SYN on
// (counter MPFallbackTokenInit), as one whose option a box on the way removes, which DialOptions.Sure prevents.
func Tokens() int {
	var s unix.Sysinfo_t
	if unix.Sysinfo(&s) != nil {
		return 64
	}
	return int(min(uint64(s.Totalram)*uint64(s.Unit)>>20, 1<<16))
}

// FellBack tells of a connected socket that was made for MPTCP whether it is plain TCP by now.
func FellBack(fd int) bool { return !isMPTCP(fd) }
