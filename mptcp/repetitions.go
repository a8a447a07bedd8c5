// SPDX-License-Identifier: Apache-2.0

package mptcp

// How soon TCP repeats what was lost, at both ends. By itself it doubles the distance each time, up to two minutes: what was sent just before
// a line was cut waits for as long again as the cut took; and a handshake that took seconds on a line that loses its packets counts as the
// round trip, so that the answer, lost once, comes after 20 s. Linux cannot limit the distance for one MPTCP socket, and knows the limit of
// the whole host since 6.15 (net.ipv4.tcp_rto_max_ms). It counts repetitions where it means time; so their numbers are raised with it, and a
// peer is given up after about as long as before. Where the kernel does not know the limit, they stay as they are.
const (
	RTOMax        = 3000 // net.ipv4.tcp_rto_max_ms, at most: the longest distance of a segment's repetitions
	Retries       = 255  // tcp_retries2, at least: 765 s for what is sent
	SYNRetries    = 41   // tcp_syn_retries, at least: 2 minutes for a SYN
	SYNACKRetries = 21   // tcp_synack_retries, at least: 1 minute for a SYN-ACK
	// tcp_orphan_retries, at least: 102 s for what a closed socket still has. By itself the kernel drops that once the distance is at its
	// longest (net/ipv4/tcp_timer.c, tcp_write_timeout).
	OrphanRetries = 36
)
