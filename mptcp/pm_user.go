// SPDX-License-Identifier: Apache-2.0

package mptcp

import "net/netip"

// The commands of this file act on one connection, named by its token, which must belong to the userspace path
// manager (net.mptcp.pm_type = 1 when it was made). A connection of the in-kernel one answers "invalid argument".

// CreateSubflow opens a subflow from local to remote. local.ID must be 1..255: 0 would share the first subflow's id.
// local.Flags may hold FlagBackup, and local.IfIndex a device; kernels before 6.12 ignore both.
func (p *PathManager) CreateSubflow(token uint32, local Endpoint, remote netip.AddrPort) error {
	return errTODO
}

// DestroySubflow closes the subflow with exactly these addresses and ports.
func (p *PathManager) DestroySubflow(token uint32, local, remote netip.AddrPort) error {
	return errTODO
}

// SetSubflowBackup sends MP_PRIO for one subflow, each time it is called; the first subflow too.
func (p *PathManager) SetSubflowBackup(token uint32, local, remote netip.AddrPort, backup bool) error {
	return errTODO
}

// RemoveAddr tells the peer that the address with this id is gone (RM_ADDR), 0 allowed. The peer closes its side;
// our subflow stays: DestroySubflow closes it.
func (p *PathManager) RemoveAddr(token uint32, id uint8) error { return errTODO }

// Announce tells the peer of an address (ADD_ADDR). e.ID must not be 0.
func (p *PathManager) Announce(token uint32, e Endpoint) error { return errTODO }
