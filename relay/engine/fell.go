// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"golang.org/x/sys/unix"

	"spillway/sockopt"
)

// An MPTCP socket that is plain TCP, because a box on the way removes the option or the kernel had no token left, may lose octets without a
// sign. What its TCP has acknowledged is charged once more to the MPTCP socket, and where the kernel is at its limit for TCP
// (net.ipv4.tcp_mem, a tenth of the memory by itself) it is dropped there (net/mptcp/protocol.c, __mptcp_move_skb: counter RcvPruned). MPTCP sends it
// again; for plain TCP it is gone, and what follows takes its place. Seen with 6.1 and 6.12: of 300 connections 59 ended too
// early or had wrong octets (qemu run -guest amd64-6.12 tcp-memory-short). But the subflow's TCP counts what it has taken, so that the reader
// of such a socket can tell.

// fallen is what is known of such a socket.
type fallen struct {
	on   bool
	read uint64 // octets read so far
}

// errLost is what whole returns for octets that the kernel will never give. TCP itself has no such error.
const errLost = unix.EILSEQ

// taken is what the TCP of a socket has acknowledged so far, its end as one octet; 0 where the kernel doesn't tell.
//
//go:noinline
func taken(fd int32) uint64 {
	info, err := sockopt.TCPInfo(int(fd))
	if err != nil {
		return 0
	}
	return info.Bytes_received
}

// since takes a fallen-back socket up, of which something may have been read before, and something may wait. Should more come just
// now, it is looked at again; without a true count nothing is ever found missing.
func (f *fallen) since(fd int32) {
	for range 4 {
		before := taken(fd)
		waits, err := unix.IoctlGetInt(int(fd), unix.SIOCINQ)
		if err != nil {
			return
		}
		if taken(fd) == before && uint64(waits) <= before {
			f.on, f.read = true, before-uint64(waits)
			return
		}
	}
}

// whole reads on, after n octets of b, until the socket has given all that its TCP had taken: nothing that comes after a gap shall be
// passed on. b may be too small to tell; the next read will. errLost: the kernel has dropped some.
func (f *fallen) whole(fd int32, b []byte, n int) (int, unix.Errno) {
	for {
		had := taken(fd)
		if had <= f.read+uint64(n)+1 || n == len(b) { // the end counts as one
			f.read += uint64(n)
			return n, 0
		}
		more, e := read(fd, b[n:])
		switch {
		case e == unix.EAGAIN || e == 0 && more == 0: // all that was to come has come
			return 0, errLost
		case e != 0:
			return 0, e
		}
		n += more
	}
}
