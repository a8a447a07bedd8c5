// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"spillway/netlink"
)

// ForgetNeighbour removes what the kernel believes of an IPv4 address as a neighbour on a device, with the packets that wait for it. Absent is no
// error.
//
// A far address is none, but gets to be one: where a socket is bound to a device and no route leads out of that, the kernel assumes that the
// destination is on the link (net/ipv4/route.c, ip_route_output_key_hash_rcu). It is so while a line has no carrier and netifd has
// the kernel ignore such lines' routes. ARP asks in vain for 3 s; a segment that waits for its answer is in the host's own queue for TCP, which
// does not repeat it before it has left that (net/ipv4/tcp_output.c, skb_still_in_host_queue).
func (r *Reconciler) ForgetNeighbour(device int, addr netip.Addr) error {
	c, err := dialRoute() // its own: it is rare, and must not wait for an Apply
	if err != nil {
		return err
	}
	defer c.Close()
	b, err := encodeNeighbour(device, addr)
	if err == nil {
		err = change(c, unix.RTM_DELNEIGH, 0, b)
	}
	if err = except(err, unix.ENOENT, unix.ENODEV, unix.ENXIO); err != nil {
		return fmt.Errorf("forget neighbour %v on device %d: %w", addr, device, err)
	}
	return nil
}

// encodeNeighbour is the body of RTM_DELNEIGH: struct ndmsg (include/uapi/linux/neighbour.h) and the address.
func encodeNeighbour(device int, addr netip.Addr) ([]byte, error) {
	h := make([]byte, unix.SizeofNdMsg)
	h[0] = afamily(addr.Is6())
	binary.NativeEndian.PutUint32(h[4:], uint32(device))
	ae := new(netlink.Encoder)
	ae.Bytes(unix.NDA_DST, addr.AsSlice())
	b, err := ae.Encode()
	return append(h, b...), err
}
