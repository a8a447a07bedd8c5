// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"os"
	"strconv"
	"strings"

	"spillway/mptcp"
)

// The receive buffer of a connection over several links is set, and not left to the kernel, which makes it grow by what was read.
//
// It must hold what two links have under way when the second joins, 0.6 MB with 20 and 40 Mbit/s and 0.1 s of queue, and what comes by one while
// another keeps it waiting: with a window of 1 MiB a line of 20 Mbit/s stood still for a link 0.3 s away (matrix rtt-1:10). And where data went in the
// SYN, Linux (6.18) at the other end sends more than is offered (kernel.LinkRoute says why), and what is beyond is thrown away and repeated late.
//
// Each subflow has a buffer, and so a window, of its own. One that joins begins with tcp_rmem's second number, and the kernel gives it more only when the
// connection's own buffer grows: not if that is large already. As long as another subflow is there it lends its window (RcvWndShared); but
// once it was lost, 85 KB were left, 10 Mbit/s at 70 ms, for as long as the connection lasted (scenario cut: 24 % of LTE's rate). What was set is given
// to all subflows, also those to come (net/mptcp/sockopt.c, sync_socket_options).

// And the window must not be full while it narrows, as it does by what arrives before something that was lost. A subflow that has lost something
// acknowledges nothing new, and TCP at the other end does not take a narrower window from such an acknowledgement (tcp_may_update_window); but
// MPTCP takes what it tells of the connection, adds the window of before (ack_update_msk), and sends that much too far. What is beyond is thrown
// away here, though the subflow has it acknowledged: each piece waits for a timer and for a line that rests. Seven links that filled a window of
// 2.7 MB stood still for 1 to 4 s each time. So many links get more room by the plan (Plan.Room), and the window no more than a third of the most
// (kernel.LinkRoute).

// mostRoom bounds the buffer where the plan needs no more, octets: the window is up to two thirds of it. It is memory only where a LAN host is
// slower than its links, or something lost is waited for.
const mostRoom = 8 << 20

// bondedUnsent is how many octets may wait unsent upstream, TCP_NOTSENT_LOWAT, beside what each subflow has taken. A link that joins is given all of it
// at once, and what the others bring waits for it there: two of its round trips with 40 KiB, three or four with 128.
const bondedUnsent = 40 << 10

// bondedRoom is what to ask for, octets, half of what the kernel will make of it: as much as it would let the buffer grow to by itself, or needed, if
// that is more.
func bondedRoom(needed int) int {
	raw, _ := os.ReadFile("/proc/sys/net/ipv4/tcp_rmem")
	return roomWithin(string(raw), needed)
}

// roomWithin is bondedRoom where tcp_rmem is so; 0, the kernel tunes, where it can't be read.
func roomWithin(rmem string, needed int) int {
	f := strings.Fields(rmem)
	if len(f) != 3 {
		return 0
	}
	most, err := strconv.Atoi(f[2])
	if err != nil {
		return 0
	}
	return max(min(most, mostRoom), needed) / 2
}

// roomy lets a connection that is to be MPTCP have under way what several links can.
func (r *Relay) roomy(o *mptcp.DialOptions) {
	if !o.PlainTCP {
		o.RecvBuffer, o.NotSentLowat = int(r.room.Load()), bondedUnsent
	}
}
