// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"time"

	"spillway/linkmon"
)

// links is what is known of each link.
func (h *house) links(now time.Time) []LinkStatus {
	out := make([]LinkStatus, 0, len(h.snap.Links))
	if len(h.snap.Links) != len(h.senses) || len(h.plan.Links) != len(h.senses) {
		return out
	}
	for i := range h.snap.Links {
		l, s, p := &h.snap.Links[i], &h.senses[i], &h.plan.Links[i]
		role, set := h.machine.Role(i)
		x := LinkStatus{
			Name: l.Name, Device: l.Device, Role: role.String(), State: p.Role.String(), Resting: p.Resting, Why: p.Why, Since: byClock(now, p.Since),
			Usable: s.usable, UsableSince: byClock(now, s.turned), Losses: s.losses, Carrier: l.Carrier, Address4: address(l.Addr4), Address6: address(l.Addr6),
			Down: l.DownRate, Up: l.UpRate, DownPeak: l.DownPeak, UpPeak: l.UpPeak, Rx: l.RxBytes, Tx: l.TxBytes,
			RTTms: ms(s.verdict.RTT), MinRTTms: ms(s.verdict.MinRTT), Loss: s.verdict.Loss, Subflows: s.subflows,
		}
		if !set {
			x.RoleWhy = h.roleWhy[l.Name]
		}
		if p.Draining {
			x.State = "draining"
		}
		x.Capacity = capacityStatus(now, s)
		if q, ok := h.machine.Quota(i, now); ok {
			x.Quota = quotaStatus(&q)
		}
		out = append(out, x)
	}
	return out
}

func capacityStatus(now time.Time, s *sense) CapacityStatus {
	down, source := s.down.Bit(now)
	up, sourceUp := s.up.Bit(now)
	if source == linkmon.CapacityUnknown {
		source = sourceUp
	}
	return CapacityStatus{Down: down, Up: up, Source: source.String()}
}

func address(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
