// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"io/fs"
	"net/netip"
	"time"

	"spillway/kernel"
	"spillway/mptcp"
)

// autoUser tells what policy.path_manager = "auto" is where the kernel can do both; docs/POLICY.md has the figures.
const autoUser = false

// steersApart tells whether subflows are made for each connection by itself.
func steersApart(manager string, f mptcp.Features) bool {
	return f.Apart && f.PathManager && f.Diag && (manager == "user" || manager == "auto" && autoUser)
}

// steer carries the plan out on each connection.
func (h *house) steer(now time.Time, fresh bool) {
	pm := h.kernel.PathManager()
	if !h.apply.ready() || pm == nil {
		return // a subflow needs its link's routes
	}
	links := steerLinks(kernelNumbers(h.cfg), &h.plan, h.views(now), h.snap.Links)
	for i := range links {
		h.reached[i] = false
		for _, r := range links[i].want {
			h.reached[i] = h.reached[i] || r >= reachSpare
		}
	}
	if first := h.plan.First; first >= 0 {
		down, _ := h.senses[first].down.Bit(now)
		up, _ := h.senses[first].up.Bit(now)
		h.steering.bulk = bulkFrom(down, up)
	}
	orders := h.steering.step(now, fresh, links, h.flows)
	for i := range orders {
		o := &orders[i]
		if err := o.give(pm); err != nil {
			h.steering.failed(now, o)
			h.log.Debug("subflow", "link", o.link, "error", err)
		}
	}
}

// give is one call of the kernel, or two. A subflow that is not there any more is what was wanted.
func (o *order) give(pm *mptcp.PathManager) error {
	local := netip.AddrPortFrom(o.local.Addr, o.local.Port)
	switch o.do {
	case orderCreate:
		return pm.CreateSubflow(o.token, o.local, o.remote)
	case orderTell:
		return pm.SetSubflowBackup(o.token, local, o.remote, o.backup)
	}
	var err error
	if o.withdraw {
		err = pm.RemoveAddr(o.token, o.id) // over the others, before this one is closed: the peer hears of it at once
	}
	if e := pm.DestroySubflow(o.token, local, o.remote); !errors.Is(e, fs.ErrNotExist) {
		err = errors.Join(err, e)
	}
	return err
}

// markedOurs asks for the subflows of the relay's connections, whatever address they have.
func markedOurs(n kernel.Numbers) mptcp.Which {
	return mptcp.Which{Mark: n.MarkDial(), Mask: n.MarkDial() | n.MarkLocal()}
}

// subflowEvent takes note of what the kernel told of a connection, and tells whether the loop should look.
func (h *house) subflowEvent(now time.Time, e mptcp.Event) bool {
	if e.Kind == mptcp.EventSubClosed {
		return h.steering.lost(now, e.Token)
	}
	if !h.steering.hurried(now) {
		return false
	}
	if now.Sub(h.looked) >= max(joinPause, 4*h.look) {
		h.looked = time.Time{} // a dead subflow waits for this one
	}
	return true
}

// joinPause gathers joins of many connections into one look.
const joinPause = 5 * time.Millisecond

// strangers is how many MPTCP connections of other programs there are.
func (h *house) strangers() (n int) {
	subflows, _ := h.diag.Subflows(mptcp.Which{})
	for i := range subflows {
		if _, ours := h.steering.ours(subflows[i].Mark); !ours && !subflows[i].Join && !subflows[i].Fallback {
			n++
		}
	}
	return n
}
