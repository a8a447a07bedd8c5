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
	Fallback          bool  // plain TCP since the handshake. A later fallback is seen in Connections alone
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

// Subflows returns all MPTCP subflows of the namespace, of every process, in no particular order. A connection that
// fell back to plain TCP is one subflow without companions. It needs CAP_NET_ADMIN: without it the kernel withholds
// the tokens.
func (d *Diag) Subflows() ([]Subflow, error) {
	var out []Subflow
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		msgs, err := d.dump(diagRequest(family, diagStates))
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

// Connection is one MPTCP connection as a whole.
type Connection struct {
	Local, Remote netip.AddrPort
	Info          Info
}

// Connections returns the MPTCP connections of the namespace. One that fell back to plain TCP has Info.Fallback, or is
// missing, which depends on the kernel and on when it fell.
// ok is false, without an error, when the kernel can't list them (option INET_MPTCP_DIAG, module mptcp_diag).
func (d *Diag) Connections() (out []Connection, ok bool, err error) {
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		msgs, err := d.dump(diagConnections(family, diagStates))
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
			return nil, false, nil
		}
		if err != nil {
			return nil, false, fmt.Errorf("dump MPTCP connections: %w", err)
		}
		for _, m := range msgs {
			c, err := parseConnection(m.Data)
			if err != nil {
				return nil, false, err
			}
			out = append(out, c)
		}
	}
	return out, true, nil
}

// probe asks for sockets in a state that none is in: only whether the kernel knows the question.
func (d *Diag) probe() error {
	_, err := d.dump(diagRequest(unix.AF_INET, 1<<0))
	return err
}

// dump sends a request and returns the answers.
func (d *Diag) dump(request []byte) ([]netlink.Message, error) {
	return d.c.Execute(netlink.Message{
		Header: netlink.Header{Type: diagByFamily, Flags: netlink.Request | netlink.Dump},
		Data:   request,
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
