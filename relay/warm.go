// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"spillway/mptcp"
	"spillway/relay/engine"
)

// Warm connections are MPTCP connections to a converter that are established before somebody needs them, their subflows
// joined as policy has them. A Connect on one costs no handshake and needs no data in the SYN, so that no lost or mangled
// SYN can cost it the bonding. They are made on the link where new connections begin, and made anew before the
// converter or a NAT on the way forgets them.

const (
	warmLife  = 4 * time.Minute // a NAT may forget after five (RFC 5382 asks for more); our converter waits for ten
	warmLook  = 15 * time.Second
	warmRetry = time.Second
)

// warmed is one such connection.
type warmed struct {
	c     *net.TCPConn
	addr  netip.AddrPort
	local netip.Addr
	link  string
	plain bool // without MPTCP, which is lost on this link
	until time.Time
}

// pool is an upstream's warm connections.
type pool struct {
	mu   sync.Mutex
	list []warmed
}

// take gives a warm connection that began on a link with the address that the link has now; one without MPTCP only to who would go plain.
func (u *upstream) take(link *PlanLink, plain bool) (w warmed, ok bool) {
	p := &u.warm
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for i := 0; i < len(p.list); {
		w = p.list[i]
		if w.link != link.Name || w.plain && !plain { // another's, where weights have connections begin on several
			i++
			continue
		}
		p.list = slices.Delete(p.list, i, i+1)
		if w.fits(link, now) && quiet(w.c) {
			u.relay.warmSoon()
			return w, true
		}
		w.c.Close()
	}
	return w, false
}

func (w *warmed) fits(link *PlanLink, now time.Time) bool {
	local, ok := link.source(w.addr.Addr())
	return ok && w.link == link.Name && w.local == local && now.Before(w.until)
}

// quiet tells that a connection has neither ended nor brought anything, which nobody asked for.
func quiet(c *net.TCPConn) bool {
	rc, err := c.SyscallConn()
	if err != nil {
		return false
	}
	open := false
	rc.Control(func(fd uintptr) { open = peek(fd) == unix.EAGAIN })
	return open
}

// warmSoon has keepWarm look.
func (r *Relay) warmSoon() {
	select {
	case r.chill <- struct{}{}:
	default:
	}
}

// keepWarm keeps each pool full until ctx ends.
func (r *Relay) keepWarm(ctx context.Context) {
	var had []*upstream
	for ctx.Err() == nil {
		s := r.settings.Load()
		for _, u := range had { // of a configuration before
			if !slices.ContainsFunc(s.upstreams, func(o *upstream) bool { return o.learnt == u.learnt }) {
				u.warm.drain()
			}
		}
		had = s.upstreams
		pause := warmLook
		for _, u := range s.upstreams {
			if !r.refill(ctx, u, s.Warm) {
				pause = warmRetry
			}
		}
		if s.Warm == 0 {
			pause = time.Hour
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-r.chill:
		case <-t.C:
		}
		t.Stop()
	}
	for _, u := range had {
		u.warm.drain()
	}
}

// refill drops what is cold and makes what lacks; false when that failed. An upstream that is out, or not the first
// choice, gets none, and none is made on a link that costs money. Where connections begin on several links each has its share.
func (r *Relay) refill(ctx context.Context, u *upstream, want int) bool {
	var links []*PlanLink
	if u.Protocol == Convert && u.up() && r.preferred(u) {
		links = slices.DeleteFunc(r.plan.Load().begins(Bond), func(l *PlanLink) bool { return l.Metered })
	}
	lack := make([]int, len(links))
	for i := range lack {
		lack[i] = (want + len(links) - 1) / len(links)
	}
	p, now := &u.warm, time.Now()
	p.mu.Lock()
	kept := p.list[:0]
	for _, w := range p.list {
		i := slices.IndexFunc(links, func(l *PlanLink) bool { return w.fits(l, now) })
		if i >= 0 && lack[i] > 0 && quiet(w.c) && (!w.plain || u.loses(w.link)) {
			lack[i]--
			kept = append(kept, w)
		} else {
			w.c.Close()
		}
	}
	p.list = kept
	p.mu.Unlock()
	var all sync.WaitGroup
	var failed atomic.Bool
	for i, link := range links {
		for range lack[i] {
			all.Go(func() {
				w, err := r.heat(ctx, u, link)
				if err != nil {
					failed.Store(true)
					return
				}
				p.mu.Lock()
				p.list = append(p.list, w)
				p.mu.Unlock()
			})
		}
	}
	all.Wait()
	return !failed.Load()
}

// preferred tells whether no upstream that works has a lower priority.
func (r *Relay) preferred(u *upstream) bool {
	for _, o := range r.settings.Load().upstreams {
		if o.Priority < u.Priority && o.up() {
			return false
		}
	}
	return true
}

// heat makes a connection for the pool, without MPTCP where that is lost. One that has just lost it is no use: see stripped.
func (r *Relay) heat(ctx context.Context, u *upstream, link *PlanLink) (w warmed, err error) {
	a, local, ok := u.pick(link)
	if !ok {
		return w, errFamily
	}
	s := r.settings.Load()
	ctx, cancel := context.WithTimeout(ctx, s.ConnectTimeout)
	defer cancel()
	o := mptcp.DialOptions{Local: local, Device: link.Device, Mark: s.Mark, NotSentLowat: s.NotSentLowat, PlainTCP: u.stripped(link.Name, time.Now())}
	r.roomy(&o)
	c, err := mptcp.Dial(ctx, a, o)
	if err != nil {
		return w, err
	}
	if !o.PlainTCP && u.fell(c, link.Name) {
		engine.ResetConn(c)
		return w, mptcp.ErrFallback
	}
	return warmed{c: c, addr: a, local: local, link: link.Name, plain: o.PlainTCP, until: time.Now().Add(warmLife)}, nil
}

// fell is fellBack of a connection to the upstream that package net has.
func (u *upstream) fell(c *net.TCPConn, link string) (fell bool) {
	if rc, err := c.SyscallConn(); err == nil {
		rc.Control(func(fd uintptr) { fell = u.fellBack(int(fd), link) })
	}
	return fell
}

func (p *pool) drain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.list {
		w.c.Close()
	}
	p.list = nil
}

// unknown is what taken tells of a connection that fell back to plain TCP.
const unknown uint64 = 1<<64 - 1

// taken is the data sequence number up to which the far side's kernel has taken what was sent.
func taken(c *net.TCPConn) uint64 {
	in, err := mptcp.ConnInfo(c)
	if err != nil {
		return unknown
	}
	return in.SndUna
}
