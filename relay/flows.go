// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"spillway/mptcp"
	"spillway/relay/engine"
	"spillway/sockopt"
)

const bulkFlow = 1 << 20 // octets that make a connection bulk

// flow is an established connection.
type flow struct {
	r        *Relay
	id       uint64
	conn     atomic.Pointer[engine.Conn]
	src, dst netip.AddrPort
	rule     *Rule
	act      Action
	up       *upstream // nil: straight to the server
	link     *PlanLink
	since    int64  // Unix seconds
	head     uint32 // octets of the LAN host sent before the engine took over
	token    atomic.Uint32
	asked    atomic.Bool // for the token
	mptcp    atomic.Bool
}

// flows are listed in the order of their start. Ended ones leave holes until there are more holes than flows.
type flows struct {
	mu    sync.Mutex
	last  uint64
	list  []place
	holes int
	up    uint64 // octets of ended ones
	down  uint64
}

// place is a flow in the list; without one, a hole, which keeps the order searchable.
type place struct {
	id uint64
	*flow
}

func (s *session) flow(p path, head int) *flow {
	f := &flow{r: s.r, src: s.src, dst: s.dst, rule: s.rule, act: s.act, up: p.u,
		link: p.link, since: time.Now().Unix(), head: uint32(head)}
	if p.u != nil {
		p.u.sessions.Add(1)
	}
	return f
}

func (fs *flows) add(f *flow) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.last++
	f.id = fs.last
	fs.list = append(fs.list, place{f.id, f})
}

func (fs *flows) len() int {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return len(fs.list) - fs.holes
}

func (fs *flows) remove(f *flow) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if i := fs.find(f.id); i < len(fs.list) && fs.list[i].flow == f {
		fs.list[i].flow = nil
		fs.holes++
	}
	fs.up += uint64(f.head)
	if c := f.conn.Load(); c != nil {
		up, down := c.Moved()
		fs.up += up
		fs.down += down
	}
	if fs.holes > 64 && fs.holes > len(fs.list)/2 {
		fs.compact()
	}
}

// find is a binary search by id: the list is in order.
func (fs *flows) find(id uint64) int {
	lo, hi := 0, len(fs.list)
	for lo < hi {
		m := (lo + hi) / 2
		if fs.list[m].id < id {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo
}

func (fs *flows) compact() {
	kept := make([]place, 0, len(fs.list)-fs.holes)
	for _, f := range fs.list {
		if f.flow != nil {
			kept = append(kept, f)
		}
	}
	fs.list, fs.holes = kept, 0
}

// page copies pointers out, so that system calls happen without the lock.
func (fs *flows) page(offset, limit int) []*flow {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	page := make([]*flow, 0, min(limit, len(fs.list)))
	for _, f := range fs.list {
		if f.flow == nil {
			continue
		}
		if offset > 0 {
			offset--
			continue
		}
		if len(page) >= limit {
			break
		}
		page = append(page, f.flow)
	}
	return page
}

// ended is the engine's call when a connection is over.
func (f *flow) ended(c *engine.Conn, end engine.End) {
	f.conn.Store(c) // Add may not have returned yet
	switch end {
	case engine.Lost:
		f.r.log.Warn("relay: the kernel lost octets of a connection without MPTCP, it was reset (tcp_mem is too small)", "src", f.src, "dst", f.dst)
		fallthrough
	case engine.Failed, engine.Aborted:
		f.r.count.reset.Add(1)
	case engine.Idle:
		f.r.count.idle.Add(1)
	}
	f.uncount()
	f.r.flows.remove(f)
	f.r.guests.rise(f.src.Addr())
	f.r.farewell()
}

// uncount takes the flow from its upstream's sessions.
func (f *flow) uncount() {
	if f.up != nil {
		f.up.sessions.Add(-1)
	}
}

// Flows lists established connections in the order of their start, limit at most, after skipping offset.
func (r *Relay) Flows(offset, limit int) []Flow {
	page := r.flows.page(max(0, offset), max(0, limit))
	list := make([]Flow, 0, len(page))
	for _, f := range page {
		list = append(list, f.status())
	}
	return list
}

// FlowsBut lists established connections in the order of their start, without those whose MPTCP token but tells to leave out. Of these
// little is asked, so that it costs little where they are most.
func (r *Relay) FlowsBut(but func(token uint32) bool) (list []Flow) {
	for _, f := range r.flows.page(0, math.MaxInt) {
		if c := f.conn.Load(); c != nil {
			f.askToken(c)
		}
		if !f.mptcp.Load() || !but(f.token.Load()) {
			list = append(list, f.status())
		}
	}
	return list
}

func (f *flow) status() Flow {
	st := Flow{ID: f.id, Src: f.src, Dst: f.dst, Action: f.act.String(), Link: f.link.Name, Index: f.link.Index, Since: time.Unix(f.since, 0)}
	if f.rule != nil {
		st.Rule = f.rule.Name
	}
	st.Upstream = "direct"
	if f.up != nil {
		st.Upstream = f.up.Name
	}
	c := f.conn.Load()
	if c == nil {
		return st
	}
	st.Up, st.Down = c.Moved()
	st.Up += uint64(f.head)
	st.Idle = c.Idle()
	st.Bulk = st.Up+st.Down >= bulkFlow
	c.Control(func(_, up int) { st.Local = engine.LocalAddr(up) })
	f.askToken(c)
	st.Token, st.MPTCP = f.token.Load(), f.mptcp.Load()
	return st
}

// askToken reads the token at the first time somebody wants to know.
func (f *flow) askToken(c *engine.Conn) {
	if f.asked.Swap(true) {
		return
	}
	c.Control(func(_, up int) {
		if in, err := mptcp.InfoFD(up); err == nil {
			f.token.Store(in.Token)
			f.mptcp.Store(true)
		}
	})
}

const (
	mostAsked = 512                    // connections that AskAll asks: some 100 octets each, by each of its subflows
	askFor    = 300 * time.Millisecond // the kernel asks later where a socket is busy
)

// AskAll has the kernel ask the upstreams of the newest connections whether they still know them, after an outage. Whose upstream has forgotten it, as
// one does that was restarted meanwhile, is reset; a download from it would stand still for ever. (Linux asks where nothing of ours is under
// way; before 6.14 it cannot with MPTCP.) Who is known hears nothing new by it: the question's number is below the window, and TCP answers
// that without taking anything from it (RFC 9293 section 3.10.7.4). It takes a moment.
func (r *Relay) AskAll() {
	page := r.flows.page(0, math.MaxInt)
	page = page[max(0, len(page)-mostAsked):]
	for _, on := range [...]int{1, 0, 1, 0, 1, 0} { // again where nobody answered: it was lost, or found no route yet
		for _, f := range page {
			if c := f.conn.Load(); c != nil && f.up != nil {
				c.Control(func(_, up int) {
					sockopt.SetInt(up, unix.SOL_SOCKET, unix.SO_KEEPALIVE, on)
					sockopt.SetInt(up, unix.SOL_TCP, unix.TCP_KEEPIDLE, 1) // at once, if nothing was heard for 1 s
				})
			}
		}
		time.Sleep(time.Duration(on) * askFor)
	}
}

// Abort resets a connection by its id (Flow.ID) on both sides, so that the LAN host tries again. With onlyMPTCP it leaves one
// alone that has fallen back to plain TCP: what is said of its subflows is not true then. It tells whether it did.
func (r *Relay) Abort(id uint64, onlyMPTCP bool) bool {
	r.flows.mu.Lock()
	var f *flow
	var c *engine.Conn
	if i := r.flows.find(id); i < len(r.flows.list) && r.flows.list[i].id == id && r.flows.list[i].flow != nil {
		f = r.flows.list[i].flow
		c = f.conn.Load()
	}
	r.flows.mu.Unlock()
	if c == nil {
		return false
	}
	may := !onlyMPTCP
	c.Control(func(_, up int) {
		_, err := mptcp.InfoFD(up)
		may = may || err == nil
	})
	if may {
		c.Abort()
	} else {
		f.mptcp.Store(false) // it is plain TCP for whoever looks next
	}
	return may
}
