// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"spillway/config"
	"spillway/linkmon"
	"spillway/mptcp"
	"spillway/policy"
)

// A probe is a TCP connection without MPTCP to a concentrator, bound to one link, closed at once: some 200 octets. linkmon
// says when one is needed; on a metered link that is not in use never.

type probeResult struct {
	link     string // by its name: a reload may change the order while the question is out
	answered bool
	doubt    bool // not the end yet: the first SYN was not answered in time
	late     bool // not answered, and that was found out long after it should have been
	sent     time.Time
	witness  int // of another link, in which round of askWitnesses; 0: it is the link's own
}

// report hands a result to the loop.
func (h *house) report(ctx context.Context, r probeResult) {
	select {
	case h.probes <- r:
	case <-ctx.Done():
	}
}

// probed takes the news of a probe.
func (h *house) probed(ctx context.Context, p probeResult) {
	link := linkNamed(h.cfg.Links, p.link)
	if link < 0 {
		return // a reload has taken it away meanwhile
	}
	s := &h.senses[link]
	switch {
	case p.witness > 0:
		h.testify(link, p)
	case p.doubt:
		s.doubt = true
		h.askWitnesses(ctx, link, p.sent)
	case p.answered:
		s.doubt = false
		s.health.ProbeDone(time.Now(), true)
	case p.late:
		s.doubt = false
		s.health.ProbeLate(time.Now())
	default:
		s.others.failed = true
		h.conclude(link)
	}
}

// linkNamed is a link's place; -1: there is none of this name now.
func linkNamed(links []config.Link, name string) int {
	return slices.IndexFunc(links, func(l config.Link) bool { return l.Name == name })
}

// inDoubt tells whether a link in use does not answer a probe.
func (h *house) inDoubt() bool {
	for i := range h.senses {
		if h.senses[i].doubt && h.plan.Links[i].Role >= policy.Active {
			return true
		}
	}
	return false
}

// probeWhereNeeded sends the probes that are due.
func (h *house) probeWhereNeeded(ctx context.Context, now time.Time) {
	empty := h.relay.Sessions() == 0
	for i := range h.senses {
		s, l := &h.senses[i], &h.snap.Links[i]
		use := h.useOf(i)
		if use.Metered && !s.verdict.Dead && empty || !s.health.NeedProbe(now, use, s.verdict) {
			continue // one that costs is not asked for nobody
		}
		target, o, ok := probeTarget(h.addrs, l)
		if !ok {
			continue
		}
		s.health.ProbeSent(now)
		wait := s.health.ProbeWait()
		again := probeAgain
		if empty { // nobody is in a hurry, and doubt asks links that cost money too (witness.go)
			again = max(again, wait*2/3)
		}
		name := h.cfg.Links[i].Name
		go func() {
			answered := probe(ctx, target, o, wait, again, func() {
				h.report(ctx, probeResult{link: name, doubt: true, sent: now})
			})
			h.report(ctx, probeResult{link: name, answered: answered, late: !answered && time.Since(now) > wait+max(wait/2, lateLeast)})
		}()
	}
}

// useOf tells whether a link is needed, which says whether it is probed. The first is, and one to which the first yields. A dead link is where it would carry
// at once: as a primary, in place of none, or for what does not fit into the first. That costs a mobile line some 200 octets each 30 s, and only then;
// otherwise one that was silent for a while would stay away until the other fails.
func (h *house) useOf(i int) linkmon.Use {
	p, first := &h.plan.Links[i], h.plan.First
	use := linkmon.Use{InUse: p.Role >= policy.Active, Metered: p.Metered}
	if h.senses[i].verdict.Dead {
		role, _ := h.machine.Role(i)
		missed := role != policy.RoleOff && (first < 0 || h.senses[first].verdict.Standing)
		use.Needed, use.InUse = missed || role == policy.RolePrimary, use.InUse || missed
	} else {
		use.Needed = p.Role == policy.First || use.InUse && first >= 0 && h.plan.Links[first].Resting
	}
	use.Needed = use.Needed && h.snap.Links[i].Usable
	return use
}

// probeTarget is a concentrator's address that the link can reach by its families, and how a probe goes there.
func probeTarget(addrs [][]netip.AddrPort, l *linkmon.Link) (target netip.AddrPort, o mptcp.DialOptions, ok bool) {
	for _, of := range addrs {
		for _, a := range of {
			local := l.Addr4
			if a.Addr().Unmap().Is6() {
				local = l.Addr6
			}
			if local.IsValid() {
				return a, mptcp.DialOptions{Local: local, Device: l.Device, PlainTCP: true}, true
			}
		}
	}
	return netip.AddrPort{}, mptcp.DialOptions{}, false
}

// probeAgain is when a second SYN follows a silent first one while somebody is connected: one lost packet must not cost a failover.
const probeAgain = 100 * time.Millisecond

// lateLeast is how late an idle machine may look at a probe's end; beyond it, and half of the wait, it has other things to do.
const lateLeast = 150 * time.Millisecond

// probe tells whether anything came back within wait. doubt is called when the second SYN leaves, after again without an answer.
func probe(ctx context.Context, target netip.AddrPort, o mptcp.DialOptions, wait, again time.Duration, doubt func()) bool {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	answers := make(chan bool, 2)
	try := func() { answers <- answered(ctx, target, o) }
	go try()
	select {
	case a := <-answers:
		return a
	case <-time.After(again):
	}
	go try()
	doubt()
	if <-answers {
		return true
	}
	return <-answers
}

// answered makes one attempt. A refusal is an answer: the way there and back is alive.
func answered(ctx context.Context, target netip.AddrPort, o mptcp.DialOptions) bool {
	c, err := mptcp.Dial(ctx, target, o)
	if err != nil {
		return errors.Is(err, syscall.ECONNREFUSED)
	}
	c.SetLinger(0)
	c.Close()
	return true
}
