// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"
)

// The mode "smallest-delay" compares round trips, and of most links no connection tells one: those that are not in use have none, and of
// one that only receives the kernel has that of the request. So in this mode, while connections live, each link is asked.

// timeEvery is how often: some 200 octets each time, on a link that costs money too.
const timeEvery = 5 * time.Second

// timing is what the last two questions by a link came to.
type timing struct {
	asked time.Time
	took  [2]time.Duration // the newest first; 0: no answer
}

// rtt is the link's round trip: the lesser of the two, so that one peak means nothing, or what its subflows told where there is none.
func (t *timing) rtt(told time.Duration) time.Duration {
	if a, b := t.took[0], t.took[1]; a > 0 && (b == 0 || a < b) {
		return a
	} else if b > 0 {
		return b
	}
	return told
}

// timeLinks asks by the links whose turn it is.
func (h *house) timeLinks(ctx context.Context, now time.Time) {
	if h.cfg.Policy.Mode != "smallest-delay" {
		return
	}
	for i := range h.senses {
		t, l := &h.senses[i].timing, &h.snap.Links[i]
		target, o, ok := probeTarget(h.addrs, l)
		if !ok || !l.Usable || h.relay.Sessions() == 0 || now.Sub(t.asked) < timeEvery {
			continue
		}
		t.asked, t.took = now, [2]time.Duration{0, t.took[0]}
		name := h.cfg.Links[i].Name
		go func() {
			ctx, cancel := context.WithTimeout(ctx, timeEvery/2)
			defer cancel()
			if answered(ctx, target, o) {
				took := time.Since(now)
				h.call(ctx, func() {
					if i := linkNamed(h.cfg.Links, name); i >= 0 {
						h.senses[i].timing.took[0] = took
					}
				})
			}
		}()
	}
}
