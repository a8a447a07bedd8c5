// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"golang.org/x/sys/unix"

	"spillway/sockopt"
)

// savedDSCP reads the DSCP of the SYN that a transparent listener with TCP_SAVE_SYN kept; 0 without.
func savedDSCP(fd int) uint8 {
	var h [256]byte // for the headers of IP and TCP: the kernel gives no part of them (EINVAL), and forgets them once told
	n, err := sockopt.Bytes(fd, unix.SOL_TCP, unix.TCP_SAVED_SYN, h[:])
	if err != nil {
		return 0
	}
	return dscpOf(h[:n])
}

// dscpOf takes the DSCP from an IPv4 or IPv6 header.
func dscpOf(h []byte) uint8 {
	switch {
	case len(h) < 2:
	case h[0]>>4 == 4:
		return h[1] >> 2
	case h[0]>>4 == 6:
		return (h[0]<<4 | h[1]>>4) >> 2
	}
	return 0
}
