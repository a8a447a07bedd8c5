// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"fmt"
	"net/netip"
)

// The commands of this file act on one connection, named by its token, which must belong to the userspace path
// manager (net.mptcp.pm_type = 1 when it was made). A connection of the in-kernel one answers "invalid argument".

// CreateSubflow opens a subflow from local to remote. local.ID must be 1..255: 0 would share the first subflow's id.
// local.Flags may hold FlagBackup, and local.IfIndex a device; kernels before 6.12 ignore both.
func (p *PathManager) CreateSubflow(token uint32, local Endpoint, remote netip.AddrPort) error {
	if local.ID == 0 {
		return fmt.Errorf("create subflow %v -> %v: a local id of 1..255 is needed", local.Addr, remote)
	}
	return p.tell(cmdSubflowCreate, encodeSubflow(token, local, remote),
		"create subflow %v -> %v of %#x", local.Addr, remote, token)
}

// DestroySubflow closes the subflow with exactly these addresses and ports.
func (p *PathManager) DestroySubflow(token uint32, local, remote netip.AddrPort) error {
	return p.tell(cmdSubflowDestroy, encodeSubflow(token, Endpoint{Addr: local.Addr(), Port: local.Port()}, remote),
		"destroy subflow %v -> %v of %#x", local, remote, token)
}

// SetSubflowBackup sends MP_PRIO for one subflow, each time it is called; the first subflow too.
func (p *PathManager) SetSubflowBackup(token uint32, local, remote netip.AddrPort, backup bool) error {
	e := Endpoint{Addr: local.Addr(), Port: local.Port()}
	if backup {
		e.Flags = FlagBackup
	}
	return p.tell(cmdSetFlags, encodeSubflow(token, e, remote),
		"set backup=%v on subflow %v -> %v of %#x", backup, local, remote, token)
}

// RemoveAddr tells the peer that the address with this id is gone (RM_ADDR), 0 allowed. The peer closes its side;
// our subflow stays: DestroySubflow closes it.
func (p *PathManager) RemoveAddr(token uint32, id uint8) error {
	return p.tell(cmdRemove, encodeRemove(token, id), "withdraw address id %d of %#x", id, token)
}

// Announce tells the peer of an address (ADD_ADDR). e.ID must not be 0.
func (p *PathManager) Announce(token uint32, e Endpoint) error {
	return p.tell(cmdAnnounce, encodeAnnounce(token, e), "announce %v id %d on %#x", e.Addr, e.ID, token)
}
