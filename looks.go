// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"time"

	"spillway/linkmon"
	"spillway/mptcp"
)

// The subflows of the relay's connections, as the kernel shows them: when they are looked at and what for, and the events that make a look
// come sooner.

// The rhythm of the looks at the subflows: this often while connections live, and never more than a fiftieth of a core.
const (
	lookBusy  = 50 * time.Millisecond
	lookIdle  = time.Second
	lookEmpty = 2 * time.Second  // while nothing is connected
	lookCalm  = 10 * time.Second // and nothing has changed for calmAfter: what does is told by others
	calmAfter = time.Minute
	lookShare = 50
	restAfter = 3 * time.Second
)

// lookEvery is how often the subflows are looked at: often while something moves on a link, and for a while after, since
// what stands still all at once is what the looks are for.
func (h *house) lookEvery(now time.Time) time.Duration {
	for i := range h.snap.Links {
		if l, v := &h.snap.Links[i], &h.senses[i].verdict; l.DownRate+l.UpRate >= quietBit || v.Suspect {
			h.moved = now
		}
	}
	if now.Sub(h.moved) >= restAfter {
		switch {
		case h.relay.Sessions() > 0:
			return lookIdle
		case h.calm(now):
			return lookCalm
		default:
			return lookEmpty
		}
	}
	return max(lookBusy, lookShare*h.look)
}

// calm tells whether the links have been as they are for a while, in fact and by plan.
func (h *house) calm(now time.Time) bool {
	since := h.started
	for i := range h.snap.Links {
		if at := h.snap.Links[i].Since; at.After(since) {
			since = at
		}
	}
	if at := h.history.last(); at.After(since) {
		since = at
	}
	return now.Sub(since) >= calmAfter && (h.edge.IsZero() || h.edge.Sub(now) > lookCalm)
}

// lookAtSubflows looks at the namespace's subflows while there are any of ours, for judge. They are not kept, if nobody needs
// them all: there are two of each idle connection, and the looks would make most of the garbage.
func (h *house) lookAtSubflows(now time.Time, busy bool) {
	h.looked = now
	beginLook(now, h.senses, h.snap.Links)
	if h.diag == nil || !busy {
		h.flows, h.still.lost, h.still.ways = nil, 0, nil
		return
	}
	stands, keeps := h.still.due(now, h.history.last()), h.keepsFlows()
	if h.flows = h.flows[:0]; !keeps {
		h.flows = nil
	}
	rtts := make([]time.Duration, len(h.addrs))
	err := h.diag.Each(h.which(stands), func(s *mptcp.Subflow) {
		feed(h.senses, h.snap.Links, s)
		nearest(rtts, h.addrs, s)
		if stands {
			h.still.see(s, h.snap.Links)
		}
		if keeps {
			h.flows = append(h.flows, *s)
		}
	})
	h.noteRTTs(rtts)
	if err != nil {
		h.log.Debug("look at the subflows", "error", err)
		clear(h.still.ways)
		return
	}
	if stands {
		h.resetStill(now)
	}
	cost := time.Since(now)
	h.look += (cost - h.look) / 8
}

// keepsFlows tells whether h.flows is to hold what was seen: for connections that are steered one by one, and to count whom a link's
// end would leave without a way.
func (h *house) keepsFlows() bool { return h.steering != nil || h.losing }

// which are the subflows to look at.
func (h *house) which(stands bool) mptcp.Which {
	switch {
	case stands || h.transparent: // what stands still may have lost its address
		return mptcp.Which{}
	case h.steering != nil:
		return markedOurs(kernelNumbers(h.cfg))
	}
	return ourSubflows(h.snap.Links, familiesOf(h.addrs))
}

// ourSubflows leaves out what is none of the links': half of all sockets are the LAN's sides of connections.
func ourSubflows(links []linkmon.Link, f families) mptcp.Which {
	w := mptcp.Which{Only4: !f.v6, Only6: !f.v4}
	for i := range links {
		for _, a := range []netip.Addr{links[i].Addr4, links[i].Addr6} {
			if a.IsValid() {
				w.Local = append(w.Local, a)
			}
		}
	}
	return w
}

// subflowJoined notes that a link's subflow came up, and tells whether that is news; a removal may have waited for it.
func (h *house) subflowJoined(local netip.Addr) (news bool) {
	i := linkOf(local, h.snap.Links)
	if i < 0 || i >= len(h.joined) {
		return false
	}
	news, h.joined[i] = !h.joined[i], true
	if waiting(time.Now(), h.paths) {
		h.looked, news = time.Time{}, true // somebody waits to hear that no connection is without a way
	}
	return news
}

// listen has the kernel tell of joins while one would be news. Else each connection would wake a thread for nothing, at a tenth of what
// it costs in all. While connections crowd, each end of theirs would have the kernel compared, and a second apart at least (watchJoins): it is
// then without being told.
func (h *house) listen(now time.Time, accepted int64) {
	wants := h.hurried(now)
	for i := range h.paths {
		s := &h.paths[i]
		wants = wants || s.want == endpointActive && !h.joined[i] && now.Sub(s.active) < joinTime
	}
	if h.crowd.see(now, accepted) {
		h.poke()
	}
	if rest := h.crowd.many && !wants && h.steering == nil; rest != h.resting {
		if err := h.ear.Rest(rest); err != nil {
			h.log.Debug("path-manager events", "error", err)
			return
		}
		h.resting = rest
	}
	if h.deaf != wants {
		return
	}
	kinds := []mptcp.EventKind{mptcp.EventSubClosed}
	if wants {
		kinds = append(kinds, mptcp.EventSubEstablished)
	}
	if err := h.ear.Hear(kinds...); err != nil {
		h.log.Debug("choose path-manager events", "error", err)
		return
	}
	h.deaf = !wants
}

// crowd tells whether many connections come, by their number so far. The zero value is ready.
type crowd struct {
	at       time.Time // of the last count
	accepted int64
	many     bool
}

const crowdFrom = 50 // connections a second

// see counts, once in a second, and tells whether it has found many.
func (c *crowd) see(now time.Time, accepted int64) bool {
	d := now.Sub(c.at)
	if d < time.Second {
		return false
	}
	c.many = !c.at.IsZero() && float64(accepted-c.accepted) >= crowdFrom*d.Seconds()
	c.at, c.accepted = now, accepted
	return c.many
}

// countLonely counts, by link, the connections whose only established subflow is there.
func countLonely(views []pathView, flows []mptcp.Subflow, links []linkmon.Link) {
	for _, group := range mptcp.Group(flows) {
		on, plain := -1, 0
		for i := range group {
			if group[i].Fallback {
				plain = 1
			}
			if group[i].Established {
				link := linkOf(group[i].Local.Addr(), links)
				if on >= 0 && link != on {
					on = -1
					break
				}
				on = link
			}
		}
		if on >= 0 {
			views[on].lonely++
			views[on].plain += plain
		}
	}
}

// linkOf is the link with this address; -1: none.
func linkOf(a netip.Addr, links []linkmon.Link) int {
	a = a.Unmap()
	for i := range links {
		if links[i].Addr4 == a || links[i].Addr6 == a {
			return i
		}
	}
	return -1
}
