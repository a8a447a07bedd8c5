// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// EventKind is the kind of an event (enum mptcp_event_type).
type EventKind uint8

// The kinds, by the kernel's numbers.
const (
	EventCreated         EventKind = 1  // a connection began
	EventEstablished     EventKind = 2  // it is fully established: subflows may join
	EventClosed          EventKind = 3  // it ended
	EventAnnounced       EventKind = 6  // the peer announced an address: RemoteID, Remote
	EventRemoved         EventKind = 7  // the peer withdrew an address: RemoteID
	EventSubEstablished  EventKind = 10 // a subflow joined
	EventSubClosed       EventKind = 11 // a subflow closed: Error says why
	EventSubPriority     EventKind = 13 // the peer changed a subflow's priority: Backup
	EventListenerCreated EventKind = 15 // since 6.6
	EventListenerClosed  EventKind = 16 // since 6.6
)

// Event is one message of the path manager. What the kernel didn't say is zero.
type Event struct {
	Kind              EventKind
	Token             uint32
	Local, Remote     netip.AddrPort
	LocalID, RemoteID uint8
	IfIndex           int           // device the subflow is bound to
	Backup            bool          // what the *peer* asked for, never our own flag
	Error             uint8         // errno that closed a subflow: 110 timed out, 103 aborted, ...
	ServerSide        bool          // we accepted the connection
	DenyJoinID0       bool          // the peer forbids further subflows to its first address
	Timeout           time.Duration // EventSubClosed, EventAnnounced of some kernels
	ResetReason       uint32        // MP_TCPRST reason (RFC 8684 3.6)
	ResetFlags        uint32
}

// ErrOverrun: events were lost. The caller reads the state anew (Diag) and subscribes again.
var ErrOverrun = errors.New("path-manager events were lost: the queue overflowed")

// Events calls fn for each event of the current network namespace, in order, on the caller's goroutine. It returns
// nil when ctx ends, ErrOverrun (errors.Is) when events were lost. It needs CAP_NET_ADMIN.
func Events(ctx context.Context, fn func(Event)) error { return errTODO }
