// SPDX-License-Identifier: Apache-2.0

package mptcp

import "net/netip"

// Endpoint is an address that the in-kernel path manager uses for subflows. Comparable.
type Endpoint struct {
	ID      uint8 // 1..255; 0 lets the kernel choose when adding
	Addr    netip.Addr
	Port    uint16 // 0: any; only for FlagSignal
	Flags   EndpointFlags
	IfIndex int // device its subflows are bound to, 0: none
}

// EndpointFlags are the flags of an endpoint (MPTCP_PM_ADDR_FLAG_*).
type EndpointFlags uint32

// The flags, in the kernel's order.
const (
	FlagSignal   EndpointFlags = 1 << iota // announced to peers (ADD_ADDR)
	FlagSubflow                            // subflows are made from it
	FlagBackup                             // its subflows are backup: used only when no other works
	FlagFullmesh                           // subflows to every address of the peer
	FlagImplicit                           // made by the kernel itself; read only
	FlagLaminar                            // since 6.18: local address for answers to ADD_ADDR
)

// Limits are those of the path manager, per connection.
type Limits struct {
	Subflows uint32 // beside the first; opened and accepted alike
	AddAddrs uint32 // announced addresses of the peer that we take up
}

// PathManager is a conversation with the kernel's MPTCP path manager. Safe for concurrent use.
type PathManager struct{}

// OpenPathManager opens the conversation in the current network namespace. ok is false, without an error, when the
// kernel has no MPTCP.
func OpenPathManager() (pm *PathManager, ok bool, err error) { return nil, false, errTODO }

// Close ends the conversation.
func (p *PathManager) Close() error { return errTODO }

// Endpoints lists the endpoints.
func (p *PathManager) Endpoints() ([]Endpoint, error) { return nil, errTODO }

// Add adds an endpoint and, with FlagSubflow, a subflow from it to every live connection.
// An address that is there already: errors.Is(err, fs.ErrExist).
func (p *PathManager) Add(e Endpoint) error { return errTODO }

// Remove removes the endpoint with this id and closes its subflows on every connection. id 0 with addr closes the
// *first* subflow of each connection that started from addr, endpoint or not; it also resets the connections from
// addr that had fallen back to plain TCP. An endpoint that isn't there: errors.Is(err, fs.ErrNotExist).
func (p *PathManager) Remove(id uint8, addr netip.Addr) error { return errTODO }

// SetFlags replaces the flags FlagBackup and FlagFullmesh of an endpoint, named by id, or by addr when id is 0, and
// tells the peers of live connections (MP_PRIO). A flag that is already so tells nobody, and MP_PRIO is never
// repeated when lost: to be sure, verify by counters and toggle.
func (p *PathManager) SetFlags(id uint8, addr netip.Addr, f EndpointFlags) error { return errTODO }

// Flush removes all endpoints.
func (p *PathManager) Flush() error { return errTODO }

// Limits reads the limits.
func (p *PathManager) Limits() (Limits, error) { return Limits{}, errTODO }

// SetLimits sets the limits for connections to come.
func (p *PathManager) SetLimits(l Limits) error { return errTODO }
