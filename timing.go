// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"

	"spillway/mptcp"
)

// The mode "smallest-delay" compares round trips, and of most links no connection tells one: those that are not in use have none, and of
// one that only receives the kernel has that of the request. So in this mode, while connections live, each link is asked.

const (
	// timeEvery is how often: some 200 octets each time, on a link that costs money too.
	timeEvery = 5 * time.Second
	// timeKept is how long an answer counts.
	timeKept = 4 * timeEvery
)

// timing is what the last two questions by a link came to.
type timing struct {
	asked, at time.Time        // the last question; its answer
	took      [2]time.Duration // the newest first; 0: not known
}

// note keeps an answer.
func (t *timing) note(now time.Time, took time.Duration) {
	if now.Sub(t.at) >= timeKept {
		t.took[0] = 0
	}
	t.took, t.at = [2]time.Duration{took, t.took[0]}, now
}

// rtt is the link's round trip: the lesser of the last two, so that one peak means nothing; 0: not known.
func (t *timing) rtt(now time.Time) time.Duration {
	switch {
	case t.at.IsZero() || now.Sub(t.at) >= timeKept:
		return 0
	case t.took[1] > 0:
		return min(t.took[0], t.took[1])
	}
	return t.took[0]
}

// timeLinks asks by the links whose turn it is.
func (h *house) timeLinks(ctx context.Context, now time.Time) {
	if h.cfg.Policy.Mode != "smallest-delay" || h.relay.Sessions() == 0 {
		return
	}
	for i := range h.senses {
		t, l := &h.senses[i].timing, &h.snap.Links[i]
		target, local, ok := probeTarget(h.addrs, l)
		if !ok || !l.Usable || now.Sub(t.asked) < timeEvery {
			continue
		}
		t.asked = now
		device := l.Device
		go func() {
			ctx, cancel := context.WithTimeout(ctx, timeEvery)
			defer cancel()
			began := time.Now()
			if !answered(ctx, target, mptcp.DialOptions{Local: local, Device: device, PlainTCP: true}) {
				return
			}
			took := time.Since(began)
			select {
			case h.calls <- func() {
				if i < len(h.senses) { // a reload may have taken links away meanwhile
					h.senses[i].timing.note(time.Now(), took)
				}
			}:
			case <-ctx.Done():
			}
		}()
	}
}
