// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"net"
	"net/netip"
	"time"

	"spillway/relay/engine"
)

// race shakes hands on two links at once. The connection of the first to be ready is used, and path tells which; the
// other one is dropped before anything was said on it, so that the server is never asked for twice.
func (s *session) race(ctx context.Context, p *path, rival *PlanLink, patience time.Time) (*net.TCPConn, error) {
	type end struct {
		up  *net.TCPConn
		p   path
		err error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // the loser's handshake ends
	ends := make(chan end, 2)
	u := p.u // the loser may begin after the winner has written p
	for _, link := range []*PlanLink{p.link, rival} {
		go func() {
			e := end{p: path{u: u, link: link}}
			var local netip.Addr
			if local, e.err = s.address(&e.p); e.err == nil {
				e.up, e.err = s.dial(ctx, &e.p, local, false, patience)
			}
			ends <- e
		}()
	}
	first := <-ends
	if first.err != nil {
		second := <-ends
		*p = second.p
		return second.up, second.err
	}
	go func() {
		if e := <-ends; e.err == nil {
			engine.ResetConn(e.up)
		}
	}()
	*p = first.p
	return first.up, nil
}
