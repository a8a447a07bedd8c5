// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"spillway/netlink"
)

// Watch calls poke when somebody (we too) changed rules, routes or nft tables of ours; reading again is the caller's.
// Endpoints have no such notice: Apply now and then. It returns nil when ctx ends; poke may be called from two
// goroutines at once. A lost message is a poke.
func (r *Reconciler) Watch(ctx context.Context, poke func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ends := make(chan error, 2)
	conns := 0
	for _, w := range []struct {
		family int
		groups []uint32
		ours   func(netlink.Message) bool
	}{
		{unix.NETLINK_ROUTE, []uint32{unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE}, r.ours.oursOnRoute},
		{unix.NETLINK_NETFILTER, []uint32{unix.NFNLGRP_NFTABLES}, oursOnNetfilter},
	} {
		if w.family == unix.NETLINK_NETFILTER && r.nfnl == nil {
			continue
		}
		c, err := netlink.Listen(w.family, w.groups...)
		if err != nil {
			return fmt.Errorf("watch: open netlink: %w", err)
		}
		defer c.Close()
		defer context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Unix(1, 0)) })()
		conns++
		go func() { ends <- watch(ctx, c, w.ours, poke) }()
	}
	var first error
	for range conns {
		if err := <-ends; err != nil && first == nil {
			first = err
		}
		cancel() // one that ended takes the other along
	}
	return first
}

func watch(ctx context.Context, c *netlink.Conn, ours func(netlink.Message) bool, poke func()) error {
	for {
		msgs, err := c.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS):
			poke()
			continue
		case err != nil:
			return fmt.Errorf("watch: %w", err)
		}
		for _, m := range msgs {
			if ours(m) {
				poke()
				break
			}
		}
	}
}

func (n Numbers) oursOnRoute(m netlink.Message) (ours bool) {
	switch m.Type {
	case unix.RTM_NEWRULE, unix.RTM_DELRULE:
		_, ours, _ = n.decodeRule(m.Data)
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		_, ours, _ = n.decodeRoute(m.Data)
	}
	return ours
}

// oursOnNetfilter looks at tables, chains and rules; each names its table in its first attribute. Sets are left out:
// resolvers fill them all day.
func oursOnNetfilter(m netlink.Message) bool {
	if m.Type>>8 != unix.NFNL_SUBSYS_NFTABLES || m.Type&0xff > unix.NFT_MSG_DELRULE {
		return false
	}
	ad, err := nftAttributes(m.Data)
	if err != nil {
		return false
	}
	for ad.Next() {
		if ad.Type() == unix.NFTA_TABLE_NAME {
			return cstring(ad.Bytes()) == TableName
		}
	}
	return false
}
