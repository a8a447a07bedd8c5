// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"spillway/mptcp"
)

// outage is how long after the last link was lost a new connection waits for one: a line that flaps, or is dialled again, costs a moment
// then and no connection. Later it is reset at once, as the kernel without us says "unreachable" at once.
const outage = 5 * time.Second

// joinGrace is how long a connection whose address was replaced waits for its answer by another subflow: the join takes one and a half
// round trips of the other link, and the peer repeats there what it has not had acknowledged.
const joinGrace = 3 * time.Second

// swapMost is how long two links may take to change names or addresses: meanwhile an address may seem gone that another link has in the end, and
// with it all that was said goes on.
const swapMost = 500 * time.Millisecond

// quietMost is how long a connection waits for its answer on a link that others do not begin on any more, while its LAN host has said nothing. A
// line that loses its packets makes TCP's handshake last for seconds, which pass for its round trip then, and the answer, lost once, is
// repeated after three times as long. What was not said can be said on another link.
const quietMost = 3 * time.Second

// errMoved: the LAN host has said something that no answer can come to.
var errMoved = fmt.Errorf("the link has another address or device by now: %w", unix.EADDRNOTAVAIL)

// planned is what connections that are not made yet need to know of changes of the plan.
type planned struct {
	mu      sync.Mutex
	changed chan struct{}    // closed at the next one
	lost    [Block]time.Time // by action: since when no link serves it; zero: one does
	pending map[*pending]struct{}
	grace   time.Duration // instead of joinGrace and swapMost, for tests
	quiet   time.Duration // instead of quietMost, for tests
	unready time.Duration // instead of unready, for tests
}

// pending is a connection to an upstream that has not answered.
type pending struct {
	s     *session
	up    *net.TCPConn
	link  PlanLink
	local netip.Addr
	since time.Time   // when the address or device was replaced, after something was said; zero: it is not
	grace *time.Timer // until that is looked at again
	quiet *time.Timer // until the answer is late
	late  bool        // and it is
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
		w.look(d, p)
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
		within(changed, left)
	}
}

// awaitChange waits for a change of the plan, no longer than most.
func (s *session) awaitChange(most time.Duration) {
	changed, _ := s.r.planned.next(s.act)
	within(changed, most)
}

// within waits for the end of c, no longer than most, and tells whether it came.
func within(c <-chan struct{}, most time.Duration) bool {
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-c:
		return true
	case <-t.C:
		return false
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
	w.look(d, s.r.plan.Load())
	d.quiet = time.AfterFunc(cmp.Or(w.quiet, quietMost), func() { w.quietOver(d) })
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.pending, d)
		d.quiet.Stop()
		if d.grace != nil {
			d.grace.Stop()
		}
	}
}

// look ends the wait if no answer can come, or a better way is there: the connection's address or device was replaced, or its link is
// lost, another serves, and neither was its handshake completed nor has its LAN host said anything yet. What was said on a link
// that is merely gone may still be answered, there or by another subflow. Where the address was replaced after something
// was said, it may be another link's within swapMost; and where all of that has arrived, the kernel has joinGrace to make that subflow.
func (w *planned) look(d *pending, p *Plan) {
	said := d.s.early.sent.Load()
	replaced := p.replaced(&d.link, d.local)
	if d.grace != nil {
		d.grace.Stop()
	}
	if !replaced {
		d.since = time.Time{}
	}
	switch {
	case replaced && !said:
		d.giveUp()
	case replaced:
		w.await(d)
	case !said && p.lost(d.link.Name) && len(p.links(d.s.act)) > 0 && !shaken(d.up):
		d.giveUp()
	case !said && d.late && p.left(d.link.Name, d.s.act):
		d.giveUp()
	}
}

// await gives up a connection whose host has said something once its address has been replaced for long enough.
func (w *planned) await(d *pending) {
	if d.since.IsZero() {
		d.since = time.Now()
	}
	most := swapMost
	if heard(d.up) {
		most = joinGrace
	}
	left := time.Until(d.since.Add(cmp.Or(w.grace, most)))
	if left <= 0 {
		d.giveUp()
		return
	}
	d.grace = time.AfterFunc(left, func() { w.lookAgain(d) })
}

func (w *planned) quietOver(d *pending) {
	w.mu.Lock()
	d.late = true
	w.mu.Unlock()
	w.lookAgain(d)
}

func (w *planned) lookAgain(d *pending) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, waits := w.pending[d]; waits {
		w.look(d, d.s.r.plan.Load())
	}
}

// left tells whether new connections of an action begin on other links than this.
func (p *Plan) left(name string, a Action) bool {
	links := p.begins(a)
	return len(links) > 0 && !slices.ContainsFunc(links, func(l *PlanLink) bool { return l.Name == name })
}

// giveUp has whoever waits for the connection see errMoved.
func (d *pending) giveUp() {
	d.s.moved.Store(true)
	d.up.SetDeadline(time.Unix(1, 0))
}

// heard tells whether the peer has all that was said, by MPTCP's own acknowledgement: only then does the kernel make another subflow of
// a connection (fully_established in net/mptcp/protocol.h).
func heard(up *net.TCPConn) bool {
	in, err := mptcp.ConnInfo(up)
	return err == nil && in.SndUna == in.WriteSeq
}

// lost tells whether a link of this name can't be used.
func (p *Plan) lost(name string) bool {
	for i := range p.Links {
		if p.Links[i].Name == name {
			return !p.Links[i].Usable
		}
	}
	return true
}

// loses tells whether a link that could be used can't any more, or has another device or address.
func (p *Plan) loses(was *Plan) bool {
	return slices.ContainsFunc(was.Links, func(l PlanLink) bool {
		return l.Usable && !slices.ContainsFunc(p.Links, func(now PlanLink) bool { return l.is(&now) })
	})
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
