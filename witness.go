// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"

	"spillway/policy"
)

// Probes go to a concentrator. If it does not answer by one link it is the link's fault only when it answers by another: one that is cut off
// made all links dead one after the other before, their subflows were removed, which the concentrator never heard, and when it was back the
// connections had none. So while a link keeps a probe waiting the others are witnesses: what their own traffic tells counts, else each is
// asked once. That costs some 200 octets of a metered link, which gets subflows at the same moment anyway (views). While nobody answers all
// connections stay where they are.

// witnesses are what one link's doubt has found out of the others.
type witnesses struct {
	since  time.Time // when the link's own probe left
	round  int       // answers to earlier questions don't count
	asked  []string  // links
	open   int       // of these, not reported yet
	spoke  bool      // one was answered
	failed bool      // the link's own probe was not answered in time
}

// findings of witnesses.
type finding uint8

const (
	undecided finding = iota
	linkDead          // the others answer, or there are none
	allSilent         // nothing is known of the link
)

// find decides once the link's own probe has failed. heard: some other link's traffic has moved meanwhile; again: nobody answered before.
func (w *witnesses) find(heard, again bool) finding {
	switch {
	case !w.failed:
		return undecided
	case len(w.asked) == 0, w.spoke, heard:
		return linkDead
	case w.open > 0 && !again: // else the link is asked on, so that its return is seen at once
		return undecided
	}
	return allSilent
}

// witnessLeast is how long a witness may take to answer at first, twice as long each further time: a mobile line that rests takes some tenths of a
// second to begin, and of one that was never used nobody knows how far it is.
const (
	witnessLeast = 400 * time.Millisecond
	witnessMost  = 4 * time.Second
)

// askWitnesses asks by all other links that could carry, when a link that is not dead keeps a probe waiting.
func (h *house) askWitnesses(ctx context.Context, link int, since time.Time) {
	s := &h.senses[link]
	w := &s.others
	if w.open > 0 && s.health.Moot() > 0 {
		return // they have time, and what they say counts still
	}
	*w = witnesses{since: since, round: w.round + 1}
	if s.verdict.Dead || len(h.snap.Links) != len(h.senses) || len(h.plan.Links) != len(h.senses) {
		return
	}
	for i := range h.senses {
		l, p := &h.snap.Links[i], &h.plan.Links[i]
		if i == link || !l.Usable || h.senses[i].verdict.Dead || p.Role == policy.Off && !p.Available {
			continue
		}
		target, o, ok := probeTarget(h.addrs, l)
		if !ok {
			continue
		}
		w.asked = append(w.asked, h.cfg.Links[i].Name)
		w.open++
		wait := max(h.senses[i].health.Usual(), min(witnessLeast<<min(s.health.Moot(), 8), witnessMost))
		name, round := h.cfg.Links[link].Name, w.round
		go func() {
			spoke := probe(ctx, target, o, wait, probeAgain, func() {})
			h.report(ctx, probeResult{link: name, answered: spoke, witness: round})
		}()
	}
}

// testify takes a witness's answer.
func (h *house) testify(link int, p probeResult) {
	w := &h.senses[link].others
	if p.witness != w.round {
		return
	}
	w.open--
	w.spoke = w.spoke || p.answered
	h.conclude(link)
}

// conclude tells a link's health how its probe ended, as soon as that is certain.
func (h *house) conclude(link int) {
	s, now := &h.senses[link], time.Now()
	switch s.others.find(h.heardBeside(link, s.others.since), s.health.Moot() > 0) {
	case undecided:
		return
	case linkDead:
		s.health.ProbeDone(now, false)
	case allSilent:
		s.health.ProbeMoot(now)
		for _, name := range s.others.asked { // nor does their silence mean anything
			if i := linkNamed(h.cfg.Links, name); i >= 0 {
				h.senses[i].health.ProbeMoot(now)
			}
		}
	}
	s.doubt = false
	s.others.failed = false
}

// heardBeside tells whether anybody was heard by another link after t.
func (h *house) heardBeside(link int, t time.Time) bool {
	for i := range h.senses {
		if i != link && h.senses[i].health.HeardSince(t) {
			return true
		}
	}
	return false
}

// unmute has each link's silence count again as soon as anybody has been heard by another.
func (h *house) unmute() {
	for i := range h.senses {
		if since := h.senses[i].health.Muted(); !since.IsZero() && h.heardBeside(i, since) {
			h.senses[i].health.Unmute()
		}
	}
}

// mute tells whether nobody answers by any link.
func (h *house) mute() bool {
	for i := range h.senses {
		if h.senses[i].health.Moot() > 0 && h.plan.Links[i].Role >= policy.Active {
			return true
		}
	}
	return false
}
