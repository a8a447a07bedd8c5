// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// forget empties the router's table of connections: conntrack remembers those of an earlier contestant as not translated,
// and would forward a new one with the same port so.
func (s *Stage) forget() error {
	const (
		subsystem = 1 // NFNL_SUBSYS_CTNETLINK
		remove    = 2 // IPCTNL_MSG_CT_DELETE; without a tuple: all
	)
	return s.cpe.Do(func() error {
		c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
		if err != nil {
			return fmt.Errorf("forget connections: %w", err)
		}
		defer c.Close()
		_, err = c.Execute(netlink.Message{
			Header: netlink.Header{Type: subsystem<<8 | remove, Flags: netlink.Request | netlink.Acknowledge},
			Data:   make([]byte, 4), // struct nfgenmsg: any family
		})
		if err != nil {
			return fmt.Errorf("forget connections: %w", err)
		}
		return nil
	})
}
