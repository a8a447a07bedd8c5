// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"spillway/netlink"
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
	IfIndex           int    // device the subflow is bound to
	Backup            bool   // what the *peer* asked for, never our own flag
	Error             uint8  // errno that closed a subflow: 110 timed out, 103 aborted, ...
	ServerSide        bool   // we accepted the connection
	DenyJoinID0       bool   // the peer forbids further subflows to its first address
	ResetReason       uint32 // MP_TCPRST reason (RFC 8684 3.6)
	ResetFlags        uint32
}

// ErrOverrun: events were lost. The caller reads the state anew (Diag) and subscribes again.
var ErrOverrun = errors.New("path-manager events were lost: the queue overflowed")

// Ear hears events. Which kinds may be changed while it does. The zero value hears all.
type Ear struct {
	mu    sync.Mutex
	kinds []EventKind
	rests bool
	c     *netlink.Conn // while Events runs, with
	group uint32
}

// Hear has the kernel drop what is not of these kinds from now on (none: all are heard). What was queued before still comes. It may be
// called from anywhere.
func (e *Ear) Hear(kinds ...EventKind) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.kinds = kinds; e.c == nil {
		return nil
	}
	return filterEvents(e.c, kinds)
}

// Rest has nothing heard while it is on. The kernel makes no events then, unless somebody else hears (genl_has_listeners in
// net/mptcp/pm_netlink.c): Hear drops them when they are made, and a connection's life is eight. What was queued before still comes. It may be
// called from anywhere.
func (e *Ear) Rest(on bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	was := e.rests
	if e.rests = on; e.c == nil || on == was {
		return nil
	}
	if on {
		return e.c.LeaveGroup(e.group)
	}
	return e.c.JoinGroup(e.group)
}

// attend hears the group with a socket.
func (e *Ear) attend(c *netlink.Conn, group uint32) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.c, e.group = c, group; len(e.kinds) > 0 {
		if err := filterEvents(c, e.kinds); err != nil {
			return err
		}
	}
	if e.rests {
		return nil
	}
	if err := c.JoinGroup(group); err != nil {
		return fmt.Errorf("hear %s (CAP_NET_ADMIN is needed): %w", pmEvents, err)
	}
	return nil
}

// leave forgets the socket.
func (e *Ear) leave() {
	e.mu.Lock()
	e.c = nil
	e.mu.Unlock()
}

// Events calls fn for each event of the current network namespace, in order, on the caller's goroutine. It returns nil when ctx ends,
// ErrOverrun (errors.Is) when events were lost. It needs CAP_NET_ADMIN. One at a time may run.
func (e *Ear) Events(ctx context.Context, fn func(Event)) error {
	c, err := netlink.Listen(unix.NETLINK_GENERIC)
	if err != nil {
		return fmt.Errorf("open generic netlink: %w", err)
	}
	defer c.Close()
	f, err := findFamily(c, pmFamily)
	if err != nil {
		return err
	}
	group, ok := f.groups[pmEvents]
	if !ok {
		return fmt.Errorf("netlink family %s has no group %s", pmFamily, pmEvents)
	}
	_ = c.Set(unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, eventBuffer) // a smaller buffer overruns earlier, which Events reports
	defer e.leave()
	if err := e.attend(c, group); err != nil {
		return err
	}
	// A deadline in the past wakes the reader without pulling the socket away from under it.
	stop := context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	return receiveEvents(ctx, c, f.id, fn)
}

// filterEvents has the kernel drop what is not of these kinds before it wakes us: a connection's life is eight events.
func filterEvents(c *netlink.Conn, kinds []EventKind) error {
	program := eventFilter(kinds)
	var serr error
	err := c.Control(func(fd uintptr) {
		serr = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
			&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	})
	if err = errors.Join(err, serr); err != nil {
		return fmt.Errorf("filter path-manager events: %w", err)
	}
	return nil
}

// eventFilter accepts messages whose generic netlink command, the octet after the header of 16 (linux/netlink.h), is one of kinds, or all
// without any.
func eventFilter(kinds []EventKind) []unix.SockFilter {
	if len(kinds) == 0 {
		return []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: mostOfEvent}}
	}
	program := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: unix.SizeofNlMsghdr}}
	for i, k := range kinds {
		accept := uint8(len(kinds) - i) // over the other comparisons and the refusal
		program = append(program, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: accept, K: uint32(k)})
	}
	return append(program, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: mostOfEvent})
}

// mostOfEvent is how many octets of a message a filter lets pass: all.
const mostOfEvent = 1 << 18

// eventBuffer holds the events of a few thousand connections that start or end at once: some 200 octets each, and
// the kernel's own bookkeeping for them.
const eventBuffer = 1 << 20

// receiveEvents hands events to fn until ctx ends or the conversation fails.
func receiveEvents(ctx context.Context, c *netlink.Conn, family uint16, fn func(Event)) error {
	for {
		msgs, err := c.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS):
			return ErrOverrun
		case err != nil:
			return fmt.Errorf("receive path-manager events: %w", err)
		}
		for _, m := range msgs {
			if m.Type != family || len(m.Data) < genlLen {
				continue
			}
			ev, err := parseEvent(m.Data[0], netlink.Decode(m.Data[genlLen:]))
			if err != nil {
				return err
			}
			fn(ev)
		}
	}
}
