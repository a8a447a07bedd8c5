// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"spillway/mptcp"
)

// Conflicts tells, a sentence each, what others keep in the kernel that may lead our traffic astray or ours theirs, and
// what to do about it. It changes nothing. None is no promise.
func (r *Reconciler) Conflicts() ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []string
	msgs, err := dump(r.rtnl, unix.RTM_GETRULE, make([]byte, rtmsgLen))
	if err != nil {
		return nil, fmt.Errorf("list rules: %w", err)
	}
	for _, m := range msgs {
		rule, ours, err := decodeRule(m.Data)
		if err == nil && !ours {
			found = append(found, ruleConflicts(rule)...)
		}
	}
	more, err := r.endpointConflicts()
	found = append(found, more...)
	if r.nfnl != nil {
		tables, terr := readFlowtables(r.nfnl)
		err = errors.Join(err, terr)
		for _, t := range tables {
			found = append(found, fmt.Sprintf("flow offloading is on (flowtable %s): LAN connections that are already offloaded stay native when relaying begins, until they end", t))
		}
	}
	return found, err
}

// ruleConflicts judges a rule that isn't ours.
func ruleConflicts(r Rule) (found []string) {
	if bits := r.Mark & (MarkLocal | MarkDial | MarkRule); bits != 0 && r.Mask != 0 {
		found = append(found, fmt.Sprintf("`%v` uses our mark bits %#x: give its owner another mark", r, bits))
	}
	switch {
	case r.Priority > 0 && r.Priority < priorityLocal:
		found = append(found, fmt.Sprintf("`%v` comes before our rules from %d on: what it matches leaves by its table, not by the link that was chosen", r, priorityLocal))
	case ourPriority(r.Priority):
		found = append(found, fmt.Sprintf("`%v` sits among our priorities without being ours: move it out of %d to %d", r, priorityLocal, priorityLink+2*MaxLinks-1))
	}
	return found
}

// endpointConflicts are other people's subflow endpoints: our connections make subflows from them, past the policy.
func (r *Reconciler) endpointConflicts() (found []string, err error) {
	if r.pm == nil {
		return nil, nil
	}
	all, err := r.pm.Endpoints()
	for _, e := range all {
		if !ourEndpoint(e) && e.Flags&mptcp.FlagSubflow != 0 {
			found = append(found, fmt.Sprintf("mptcp endpoint %s is not ours, and our connections use it whatever the policy says: if nobody needs it, `ip mptcp endpoint delete id %d`", endpointString(e), e.ID))
		}
	}
	return found, err
}

// readFlowtables are the names of all flowtables, as "table/name".
func readFlowtables(c *netlink.Conn) (names []string, err error) {
	err = nftAsk(c, unix.NFT_MSG_GETFLOWTABLE, netlink.Dump, func(*netlink.AttributeEncoder) {}, func(b []byte) error {
		ad, err := nftAttributes(b)
		if err != nil {
			return err
		}
		table, name := "", ""
		for ad.Next() {
			switch ad.Type() {
			case nftaFlowtableTable:
				table = cstring(ad.Bytes())
			case nftaFlowtableName:
				name = cstring(ad.Bytes())
			}
		}
		names = append(names, table+"/"+name)
		return ad.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("list flowtables: %w", err)
	}
	return names, nil
}
