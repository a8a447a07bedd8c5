// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"

	"spillway/netlink"
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
//
// It has a bare socket and one buffer: the subflows are looked at many times a second, with one answer for each, and this way a look
// allocates next to nothing (Each), or its result (Subflows).
type Diag struct {
	mu     sync.Mutex
	fd     int
	seq    uint32
	buffer []byte
	found  Subflow // while fn of Each is called
}

const (
	// diagBuffer holds what the kernel sends at once: it fills 32 KiB at most (netlink_dump in af_netlink.c).
	diagBuffer = 32 << 10
	// diagPatience bounds the wait for a kernel that does not answer.
	diagPatience = 2 // s
)

// OpenDiag opens a conversation with sock_diag in the current network namespace.
func OpenDiag() (*Diag, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("open sock_diag: %w", err)
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: diagPatience}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("bound the wait for sock_diag: %w", err)
	}
	return &Diag{fd: fd, buffer: make([]byte, diagBuffer)}, nil
}

// Which says which subflows Subflows shall return. The zero value: all. Less is cheaper: the kernel walks its
// table of sockets once for each family, and makes an answer for each socket that is not left out.
type Which struct {
	Only4, Only6 bool         // of this family
	Local        []netip.Addr // with one of these local addresses, mostLocals at most; empty: with any
	Mark, Mask   uint32       // whose SO_MARK has these bits under the mask, and any local address; no mask: see Local
}

// Subflows returns what Each tells of.
func (d *Diag) Subflows(which Which) (all []Subflow, err error) {
	if err = d.Each(which, func(s *Subflow) { all = append(all, *s) }); err != nil {
		return nil, err
	}
	return all, nil
}

// Each calls fn for the MPTCP subflows of the namespace, of every process, in no particular order. fn must not keep s, nor call d. A
// connection that fell back to plain TCP is one subflow without companions. It needs CAP_NET_ADMIN: without it the kernel
// withholds the tokens. After an error some may have been left out.
func (d *Diag) Each(which Which, fn func(s *Subflow)) error {
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		if family == unix.AF_INET6 && which.Only4 || family == unix.AF_INET && which.Only6 {
			continue
		}
		request := diagRequest(family, diagStates)
		if which.Mask != 0 {
			request = append(request, markFilter(which.Mark, which.Mask)...)
		} else if filter, some := localFilter(family, which.Local); some {
			request = append(request, filter...)
		} else if len(which.Local) > 0 {
			continue // no local address of this family
		}
		err := d.dump(request, func(b []byte) error {
			var ok bool
			var err error
			if d.found, ok, err = parseSubflow(b); ok {
				fn(&d.found)
			}
			return err
		})
		if errors.Is(err, unix.ENOENT) {
			continue // the kernel has no such dump: Probe tells
		}
		if err != nil {
			return fmt.Errorf("dump TCP sockets: %w", err)
		}
	}
	return nil
}

// Connection is one MPTCP connection as a whole.
type Connection struct {
	Local, Remote netip.AddrPort
	Info          Info
}

// Connections returns the MPTCP connections of the namespace. One that fell back to plain TCP has Info.Fallback, or is
// missing, which depends on the kernel and on when it fell.
// ok is false, without an error, when the kernel can't list them (option INET_MPTCP_DIAG, module mptcp_diag).
func (d *Diag) Connections() (out []Connection, ok bool, err error) { return d.connections(diagStates) }

// Forgotten returns those that ended and still have a token. One that stays among them for longer than a moment, without a process that
// holds it, the kernel will never free: see relay/engine/parting.go.
func (d *Diag) Forgotten() (out []Connection, ok bool, err error) { return d.connections(1 << 7) } // TCP_CLOSE

func (d *Diag) connections(states uint32) (out []Connection, ok bool, err error) {
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		err := d.dump(diagConnections(family, states), func(b []byte) error {
			c, err := parseConnection(b)
			if err == nil {
				out = append(out, c)
			}
			return err
		})
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
			return nil, false, nil
		}
		if err != nil {
			return nil, false, fmt.Errorf("dump MPTCP connections: %w", err)
		}
	}
	return out, true, nil
}

// probe asks for sockets in a state that none is in: only whether the kernel knows the question.
func (d *Diag) probe() error {
	return d.dump(diagRequest(unix.AF_INET, 1<<0), func([]byte) error { return nil })
}

// dump sends a request and hands over each answer, valid until fn returns. After an error of fn the rest is read and thrown away.
func (d *Diag) dump(request []byte, fn func([]byte) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seq++
	if _, err := unix.Write(d.fd, netlink.Frame(diagDump(d.seq, request))); err != nil {
		return err
	}
	var failed error
	for {
		n, err := unix.Read(d.fd, d.buffer)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		done, err := eachAnswer(d.buffer[:n], d.seq, func(b []byte) error {
			if failed == nil {
				failed = fn(b)
			}
			return nil
		})
		if done || err != nil {
			return errors.Join(err, failed)
		}
	}
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
func (d *Diag) Close() error { return unix.Close(d.fd) }
