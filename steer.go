// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"time"

	"spillway/kernel"
	"spillway/mptcp"
)

// With policy.path_manager = "user" the plan is carried out on each connection by itself: what its class shall have on each link is
// compared with the subflows that the kernel shows, and commands follow. Pure, and without a picture of its own of the
// world: a lost event, or a command that failed, is seen at the next look.

// steering is what is remembered of connections between two looks.
type steering struct {
	marks  [markCount]uint32
	mask   uint32 // the bits of a mark that tell ours
	conns  map[uint32]*steered
	looks  uint32
	bulk   int64     // octets from which on a connection is bulk
	haste  time.Time // until then somebody waits for what the next look shows
	orders []order
}

// order is one command about one connection.
type order struct {
	do       orderKind
	token    uint32
	link     int
	local    mptcp.Endpoint
	remote   netip.AddrPort
	backup   bool
	withdraw bool  // tell the peer over other subflows that the address is gone
	id       uint8 // which it knows by this number
}

type orderKind uint8

const (
	orderCreate orderKind = iota
	orderTell             // MP_PRIO
	orderDrop
)

const (
	// lostFor is how long one is remembered that has lost its last subflow.
	lostFor = time.Minute
	// ordersMost are given at once: each is a call of the kernel, and links must be watched meanwhile.
	ordersMost = 256
	hasteFor   = time.Second
)

func newSteering(n kernel.Numbers) *steering {
	s := &steering{conns: map[uint32]*steered{}, mask: n.Mark, bulk: bulkKnown}
	for i := range s.marks {
		s.marks[i] = classMark(n, i)
	}
	return s
}

// ours tells a connection of the relay's, its predecessors' too, from another program's.
func (s *steering) ours(mark uint32) (class int, ours bool) {
	for i, m := range s.marks {
		if mark&s.mask == m {
			return i, true
		}
	}
	return 0, false
}

// hurried tells whether somebody waits for the next look.
func (s *steering) hurried(now time.Time) bool { return now.Before(s.haste) }

// step compares and gives orders, the most urgent first within a connection; fresh tells that the subflows were looked at anew. It notes
// in the subflows what it ordered.
func (s *steering) step(now time.Time, fresh bool, links []steerLink, subflows []mptcp.Subflow) []order {
	s.looks++
	s.orders = s.orders[:0]
	for i := range subflows {
		mark, ours := s.ours(subflows[i].Mark)
		if !ours {
			continue
		}
		token := subflows[i].Token
		c := s.conns[token]
		if c == nil || len(c.on) != len(links) {
			c = &steered{at: now, on: make([]steeredOn, len(links))}
			s.conns[token] = c
		}
		if c.look != s.looks {
			c.look, c.flows = s.looks, c.flows[:0]
		}
		c.mark = mark
		c.flows = append(c.flows, i)
	}
	for i := range subflows {
		if c := s.conns[subflows[i].Token]; c != nil && c.look == s.looks && len(c.flows) > 0 && c.flows[0] == i {
			if len(s.orders) >= ordersMost {
				s.haste = now.Add(hasteFor)
				break
			}
			s.connection(now, fresh, subflows[i].Token, c, links, subflows)
		}
	}
	for token, c := range s.conns {
		switch {
		case c.look == s.looks:
		case c.lost.IsZero() || now.Sub(c.lost) >= lostFor || len(c.on) != len(links):
			delete(s.conns, token)
		default:
			for l := range links {
				if links[l].reach(c) >= reachSpare {
					s.create(now, token, c, l, &links[l])
				}
			}
		}
	}
	return s.orders
}

// lost notes that a living connection lost a subflow, and tells whether it is ours.
func (s *steering) lost(now time.Time, token uint32) bool {
	c := s.conns[token]
	if c != nil {
		c.lost = now
	}
	return c != nil
}

// failed notes that an order was refused.
func (s *steering) failed(now time.Time, o *order) {
	c := s.conns[o.token]
	switch {
	case c == nil || o.do != orderCreate:
	case c.look != s.looks:
		delete(s.conns, o.token) // it has ended
	default:
		m := &c.on[o.link]
		if m.other ^= 1; m.tries&1 == 1 {
			m.create = now
		}
	}
}
