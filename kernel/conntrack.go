// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"golang.org/x/sys/unix"

	"spillway/netlink"
)

// Of include/uapi/linux/netfilter/nfnetlink_conntrack.h and nf_conntrack_common.h.
const (
	ctDelete      = unix.NFNL_SUBSYS_CTNETLINK<<8 | 2 // IPCTNL_MSG_CT_DELETE; without a tuple: all that match
	ctaStatus     = 3
	ctaMark       = 8
	ctaMarkMask   = 21
	ctaStatusMask = 26          // since Linux 6.0
	ctTranslated  = 1<<4 | 1<<5 // IPS_SRC_NAT, IPS_DST_NAT
)

// forgetRelayed has conntrack forget the LAN connections that went to the relay, which have ended. It remembers them for two minutes as the router's
// own, and would forward a new connection between the same ports without translating its address: nobody would answer, and each SYN that
// is repeated makes it remember for longer.
func (n Numbers) forgetRelayed(c *netlink.Conn) error {
	ae := &netlink.Encoder{Big: true}
	ae.Uint32(ctaMark, n.MarkLocal())
	ae.Uint32(ctaMarkMask, n.MarkLocal())
	ae.Uint32(ctaStatus, 0)
	ae.Uint32(ctaStatusMask, ctTranslated)
	filter, err := ae.Encode()
	if err != nil {
		return err
	}
	_, err = c.Execute(netlink.Message{Type: ctDelete, Flags: unix.NLM_F_ACK,
		Data: append([]byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, 0}, filter...)})
	return err
}
