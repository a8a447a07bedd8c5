// SPDX-License-Identifier: Apache-2.0

package mptcp

import "net/netip"

// Subflow is one TCP subflow of an MPTCP connection.
type Subflow struct {
	Token             uint32 // of the connection, as in Info.Token
	Local, Remote     netip.AddrPort
	LocalID, RemoteID uint8 // MPTCP address ids; 0 for the address of the first subflow
	Backup            bool  // we asked the peer not to use it
	PeerBackup        bool  // the peer asked us not to use it
	Established       bool  // fully established: data may flow
	Join              bool  // joined later (MP_JOIN); false: the first subflow (MP_CAPABLE)
	IfIndex           int   // the device it is bound to, 0: none
	Mark              uint32
	Inode             uint32
	TCP               TCPInfo
}

// Diag dumps sockets by sock_diag(7). Not safe for concurrent use.
type Diag struct{}

// OpenDiag opens a conversation with sock_diag in the current network namespace.
func OpenDiag() (*Diag, error) { return nil, errTODO }

// Subflows returns all MPTCP subflows of the namespace, of every process, in no particular order. Connections that
// fell back to plain TCP have none. It needs CAP_NET_ADMIN: without it the kernel withholds the tokens.
func (d *Diag) Subflows() ([]Subflow, error) { return nil, errTODO }

// Group sorts subflows by connection: Token to its subflows.
func Group(subflows []Subflow) map[uint32][]Subflow { return nil }

// Close ends the conversation.
func (d *Diag) Close() error { return errTODO }
