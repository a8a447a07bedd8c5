// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

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

// Diag dumps sockets by sock_diag(7). Safe for concurrent use.
type Diag struct{ c *netlink.Conn }

// OpenDiag opens a conversation with sock_diag in the current network namespace.
func OpenDiag() (*Diag, error) {
	c, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, nil)
	if err != nil {
		return nil, fmt.Errorf("open sock_diag: %w", err)
	}
	return &Diag{c: c}, nil
}

// Subflows returns all MPTCP subflows of the namespace, of every process, in no particular order. Connections that
// fell back to plain TCP have none. It needs CAP_NET_ADMIN: without it the kernel withholds the tokens.
func (d *Diag) Subflows() ([]Subflow, error) {
	var out []Subflow
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		msgs, err := d.dump(family, diagStates)
		if errors.Is(err, unix.ENOENT) {
			continue // the kernel has no such dump: Probe tells
		}
		if err != nil {
			return nil, fmt.Errorf("dump TCP sockets: %w", err)
		}
		for _, m := range msgs {
			s, ok, err := parseSubflow(m.Data)
			if err != nil {
				return nil, err
			}
			if ok {
				out = append(out, s)
			}
		}
	}
	return out, nil
}

// probe asks for sockets in a state that none is in: only whether the kernel knows the question.
func (d *Diag) probe() error {
	_, err := d.dump(unix.AF_INET, 1<<0)
	return err
}

// dump asks for the TCP sockets of one family in some states, one bit per state.
func (d *Diag) dump(family uint8, states uint32) ([]netlink.Message, error) {
	return d.c.Execute(netlink.Message{
		Header: netlink.Header{Type: diagByFamily, Flags: netlink.Request | netlink.Dump},
		Data:   diagRequest(family, states),
	})
}

// Group sorts subflows by connection: Token to its subflows.
func Group(subflows []Subflow) map[uint32][]Subflow {
	out := make(map[uint32][]Subflow)
	for _, s := range subflows {
		out[s.Token] = append(out[s.Token], s)
	}
	return out
}

// Close ends the conversation.
func (d *Diag) Close() error { return d.c.Close() }
