// SPDX-License-Identifier: Apache-2.0

package main

import (
	"time"

	"spillway/linkmon"
	"spillway/mptcp"
	"spillway/relay"
)

// A connection whose last subflow the kernel has closed from our side stands still for ever, when nothing makes another one:
// links that came and went within the time of a handshake do that. Linux (6.18.44 for one) keeps such a subflow half open,
// acknowledges on it what the peer sends, and throws it away, so that the peer sends the same again and again. Neither
// end's application hears of anything. It is reset: then the LAN host does, and tries again. So is a connection whose local
// addresses are gone with their lines: the kernel keeps such subflows established while nothing of theirs is unacknowledged, though
// the end of the connection, say, can be told by none of them. One that is plain TCP and bound to a device that was removed is reset at once.

const (
	stillEvery = 5 * time.Second
	// stillOften is the pace after a link has changed, for stillWatch, and while a connection has no subflow.
	stillOften = time.Second
	stillWatch = 15 * time.Second
	// stillFor is how long a connection may be without a subflow and without progress while a link carries: its endpoint would have made
	// a new subflow by then, or the peer has refused it: Linux takes no further subflow once it has sent its end, as after a short answer.
	stillFor = 5 * time.Second
	// goneFor is how long a connection may be without its local address and without progress, while its link has none. A
	// line that is dialled again may get the same address, and then the connection goes on. It is also how long one is kept while no
	// link carries at all, since a lost line or an exhausted quota is not the connection's fault; the kernel itself gives one without
	// a subflow up after as long (net.mptcp.close_timeout).
	goneFor = time.Minute
)

// still remembers connections that have no live subflow.
type still struct {
	looked time.Time
	since  map[uint64]standing // by Flow.ID
	lost   int                 // connections of these with no live subflow at all
	dark   bool                // no link carried
	ways   map[uint32]uint8    // by token: what subflows are known of, until the step
}

const wayLost, wayLive = 1, 2 // live subflows with an address that is gone, and others

// see takes note of one subflow, for the step that follows.
func (s *still) see(l *mptcp.Subflow, links []linkmon.Link) {
	if !alive(l.TCP.State) {
		return
	}
	way := uint8(wayLost)
	if i := linkOf(l.Local.Addr(), links); i >= 0 && (l.IfIndex == 0 || links[i].Index == 0 || l.IfIndex == links[i].Index) {
		way = wayLive // else it is bound to a device that was removed
	}
	if s.ways == nil {
		s.ways = map[uint32]uint8{}
	}
	s.ways[l.Token] = max(s.ways[l.Token], way)
}

// lives tells whether a connection was seen to have a live subflow on a link.
func (s *still) lives(token uint32) bool { return s.ways[token] == wayLive }

type standing struct {
	at    time.Time
	moved uint64
}

// due tells whether it is time to look again, at all subflows of the namespace. changed is when a link has last changed its state.
func (s *still) due(now, changed time.Time) bool {
	every := stillEvery
	if s.lost > 0 || now.Sub(changed) < stillWatch {
		every = stillOften
	}
	return now.Sub(s.looked) >= every
}

// step returns the connections that have had no live subflow, and have moved nothing, for stillFor; or no local address for
// goneFor, or for stillFor when their link has another by now; or anything of that for goneFor while no link carries; and those that are plain TCP
// by a device that is gone. Its caller has seen all subflows, and gives all flows of the same instant; it may leave out those that live.
func (s *still) step(now time.Time, flows []relay.Flow, links []linkmon.Link, carries bool) (doomed []*relay.Flow) {
	if s.dark && carries {
		s.since = nil // now a subflow may come
	}
	s.dark = !carries
	since := map[uint64]standing{}
	s.lost = 0
	for i := range flows {
		f := &flows[i]
		way := s.ways[f.Token]
		switch {
		case f.MPTCP && f.Token == 0, f.Local.Addr() == f.Src.Addr(): // not known; the LAN host's own address
			continue
		case !f.MPTCP:
			way = wayLost
			if i := linkOf(f.Local.Addr(), links); i >= 0 {
				if links[i].Name == f.Link && f.Index != links[i].Index && f.Index != 0 && links[i].Index != 0 {
					doomed = append(doomed, f) // it is bound to a device that was removed
					continue
				}
				way = wayLive
			}
		}
		most := stillFor
		switch {
		case way == wayLive:
			continue
		case !carries, way == wayLost && !readdressed(f, links):
			most = goneFor
		}
		was, known := s.since[f.ID]
		if moved := f.Up + f.Down; !known || was.moved != moved {
			was = standing{now, moved}
		}
		if now.Sub(was.at) >= most {
			doomed = append(doomed, f)
			continue
		}
		since[f.ID] = was
		if way == 0 {
			s.lost++
		}
	}
	s.since = since
	clear(s.ways)
	return doomed
}

// readdressed tells whether a flow's link has an address of the family that the flow began with.
func readdressed(f *relay.Flow, links []linkmon.Link) bool {
	for i := range links {
		if l := &links[i]; l.Name == f.Link {
			return f.Local.Addr().Is4() && l.Addr4.IsValid() || f.Local.Addr().Is6() && l.Addr6.IsValid()
		}
	}
	return false
}

// alive tells whether a subflow in this TCP state carries data towards us, or may soon: established, or its handshake
// under way (include/net/tcp_states.h: 1, 2, 3).
func alive(state uint8) bool { return state >= 1 && state <= 3 }

// resetStill looks for such connections. h.still has just seen all subflows.
func (h *house) resetStill(now time.Time) {
	h.still.looked = now
	for _, f := range h.still.step(now, h.relay.FlowsBut(h.still.lives), h.snap.Links, h.plan.First >= 0) {
		if h.relay.Abort(f.ID, f.MPTCP) {
			h.log.Debug("a connection that has no way left is reset", "src", f.Src, "dst", f.Dst, "local", f.Local, "mptcp", f.MPTCP)
		}
	}
}
