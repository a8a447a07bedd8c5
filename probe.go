// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"net/netip"
	"syscall"
	"time"

	"spillway/linkmon"
	"spillway/mptcp"
	"spillway/policy"
)

// A probe is a TCP connection without MPTCP to a concentrator, bound to one link, closed at once: some 200 octets. linkmon
// says when one is needed; on a metered link that is not in use never.

type probeResult struct {
	link     int
	answered bool
}

// probeWhereNeeded sends the probes that are due.
func (h *house) probeWhereNeeded(ctx context.Context, now time.Time) {
	for i := range h.senses {
		s, l, p := &h.senses[i], &h.snap.Links[i], &h.plan.Links[i]
		use := linkmon.Use{
			Needed:  l.Usable && (p.Role == policy.First || s.verdict.Dead && p.Primary || s.verdict.Dead && h.configuredPrimary(i)),
			InUse:   p.Role >= policy.Active,
			Metered: p.Metered,
		}
		if !s.health.NeedProbe(now, use, s.verdict) {
			continue
		}
		target, local, ok := probeTarget(h.addrs, l)
		if !ok {
			continue
		}
		s.health.ProbeSent(now)
		wait, device := s.health.ProbeWait(), l.Device
		go func() {
			answered := probe(ctx, target, mptcp.DialOptions{Local: local, Device: device, PlainTCP: true}, wait)
			select {
			case h.probes <- probeResult{i, answered}:
			case <-ctx.Done():
			}
		}()
	}
}

func (h *house) configuredPrimary(link int) bool {
	role, _ := h.machine.Role(link)
	return role == policy.RolePrimary
}

// probeTarget is a concentrator's address that the link can reach by its families.
func probeTarget(addrs [][]netip.AddrPort, l *linkmon.Link) (target netip.AddrPort, local netip.Addr, ok bool) {
	for _, of := range addrs {
		for _, a := range of {
			local := l.Addr4
			if a.Addr().Unmap().Is6() {
				local = l.Addr6
			}
			if local.IsValid() {
				return a, local, true
			}
		}
	}
	return netip.AddrPort{}, netip.Addr{}, false
}

// probeAgain is when a second SYN follows a silent first one: one lost packet must not cost a failover.
const probeAgain = 100 * time.Millisecond

// probe tells whether anything came back within wait.
func probe(ctx context.Context, target netip.AddrPort, o mptcp.DialOptions, wait time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	answers := make(chan bool, 2)
	try := func() { answers <- answered(ctx, target, o) }
	go try()
	select {
	case a := <-answers:
		return a
	case <-time.After(probeAgain):
	}
	go try()
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
