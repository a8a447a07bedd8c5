// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"net/netip"
	"time"
)

// An upstream may have several addresses: of a name, of the targets of an SRV record. The first that works is used. One that
// fails rests, the next serves, and only when all of them fail is the upstream out. What rests is asked now and then, so
// that no connection has to find out whether it is back.

// shunned is how long a link is avoided for an upstream after an answer that was none (RFC 8803 section 8).
const shunned = 10 * time.Minute

// resting is an address that failed.
type resting struct {
	until time.Time // when it is asked
	pause time.Duration
}

// pick chooses the upstream's address for a link and the source to use. Addresses that rest come last.
func (u *upstream) pick(link *PlanLink) (a netip.AddrPort, local netip.Addr, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, rests := range []bool{false, true} {
		for _, a := range u.Addrs {
			if local, ok := link.source(a.Addr()); ok && (u.rests[a] != nil) == rests {
				return a, local, true
			}
		}
	}
	return a, local, false
}

// restAddress takes one address out of use, and tells whether another one can serve over the link. The last one is never
// taken: then it is the upstream that fails, with all its addresses.
func (u *upstream) restAddress(a netip.AddrPort, wait time.Duration, link *PlanLink) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, other := range u.Addrs {
		if _, ok := link.source(other.Addr()); ok && other != a && u.rests[other] == nil {
			if u.rests == nil {
				u.rests = make(map[netip.AddrPort]*resting)
			}
			wait = max(wait, probeLeast)
			u.rests[a] = &resting{until: time.Now().Add(wait), pause: wait}
			u.relay.askSoon()
			return true
		}
	}
	clear(u.rests)
	return false
}

// dueAddress is a resting address that is to be asked now, and how long until the next one is.
func (u *upstream) dueAddress(now time.Time) (a netip.AddrPort, next time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	next = time.Hour
	for addr, r := range u.rests {
		if wait := r.until.Sub(now); wait <= 0 {
			return addr, 0
		} else if wait < next {
			next = wait
		}
	}
	return a, next
}

// askAddress asks an address that rests whether it is back.
func (r *Relay) askAddress(ctx context.Context, u *upstream, a netip.AddrPort) {
	back := false
	for _, link := range r.plan.Load().links(NoLTE) {
		if r.greetAddress(ctx, u, link, a, probeTimeout) == nil {
			back = true
			break
		}
	}
	u.mu.Lock()
	rest := u.rests[a]
	if back {
		delete(u.rests, a)
	} else if rest != nil {
		rest.pause = min(2*rest.pause, probeMost)
		rest.until = time.Now().Add(rest.pause)
	}
	u.mu.Unlock()
	if back {
		r.log.Info("relay: upstream's address is back", "upstream", u.Name, "address", a)
	}
}

// shun remembers that between a link and this upstream something answers for it.
func (u *upstream) shun(link string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.shuns == nil {
		u.shuns = make(map[string]time.Time)
	}
	u.shuns[link] = time.Now().Add(shunned)
}

// clean lists the links without those that the upstream shuns; all of them when there is none else.
func (u *upstream) clean(links []*PlanLink) []*PlanLink {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.shuns) == 0 {
		return links
	}
	var list []*PlanLink
	now := time.Now()
	for _, l := range links {
		if !now.Before(u.shuns[l.Name]) {
			list = append(list, l)
		}
	}
	if len(list) == 0 {
		return links
	}
	return list
}
