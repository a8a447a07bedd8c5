// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// outage is how long after the last link was lost a new connection waits for one: a line that flaps, or is dialled again, costs a moment
// then and no connection. Later it is reset at once, as the kernel without us says "unreachable" at once.
const outage = 5 * time.Second

// errMoved: the LAN host has said something that no answer can come to.
var errMoved = fmt.Errorf("the link has another address or device by now: %w", unix.EADDRNOTAVAIL)

// planned is what connections that are not made yet need to know of changes of the plan.
type planned struct {
	mu      sync.Mutex
	changed chan struct{}    // closed at the next one
	lost    [Block]time.Time // by action: since when no link serves it; zero: one does
	pending map[*pending]struct{}
}

// pending is a connection to an upstream that has not answered.
type pending struct {
	s     *session
	up    *net.TCPConn
	link  PlanLink
	local netip.Addr
}

// follow tells those who wait of a new plan.
func (w *planned) follow(p *Plan, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for a := range w.lost {
		switch {
		case len(p.links(Action(a))) > 0:
			w.lost[a] = time.Time{}
		case w.lost[a].IsZero():
			w.lost[a] = now
		}
	}
	for d := range w.pending {
		d.look(p)
	}
	if w.changed != nil {
		close(w.changed)
	}
	w.changed = make(chan struct{})
}

// next gives what the next change closes, and since when no link serves an action.
func (w *planned) next(a Action) (changed <-chan struct{}, lost time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed, w.lost[a]
}

// soon lists the links for the session's action, and waits for one if the last was lost just now.
func (s *session) soon() []*PlanLink {
	for {
		changed, lost := s.r.planned.next(s.act)
		links := s.r.plan.Load().links(s.act)
		left := time.Until(lost.Add(outage))
		if len(links) > 0 || left <= 0 {
			return links
		}
		t := time.NewTimer(left)
		select {
		case <-changed:
		case <-t.C:
		}
		t.Stop()
	}
}

// enter has a connection given up when its link gets another address or device; leave ends that.
func (w *planned) enter(s *session, up *net.TCPConn, link *PlanLink) (leave func()) {
	d := &pending{s: s, up: up, link: *link, local: endpoint(up.LocalAddr()).Addr()}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pending == nil {
		w.pending = make(map[*pending]struct{})
	}
	w.pending[d] = struct{}{}
	d.look(s.r.plan.Load())
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.pending, d)
	}
}

// look ends the wait if the connection's address or device was replaced: no answer can reach it. One that is merely gone may come back.
func (d *pending) look(p *Plan) {
	if p.replaced(&d.link, d.local) {
		d.s.moved.Store(true)
		d.up.SetDeadline(time.Unix(1, 0))
	}
}

// replaced tells whether a link as it was, with an address, has another device, or another address of the family while no link has that
// one any more.
func (p *Plan) replaced(was *PlanLink, local netip.Addr) bool {
	other := false
	for i := range p.Links {
		l := &p.Links[i]
		if a, ok := l.source(local); a == local {
			return l.Name == was.Name && l.Index != was.Index && l.Index != 0 && was.Index != 0
		} else if l.Name == was.Name && ok && a.IsValid() {
			other = true
		}
	}
	return other
}
