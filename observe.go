// SPDX-License-Identifier: Apache-2.0

package main

import (
	"time"

	"spillway/linkmon"
	"spillway/mptcp"
	"spillway/policy"
)

// sense is what is remembered of one link between two looks.
type sense struct {
	health   linkmon.Health
	down, up linkmon.Capacity
	verdict  linkmon.Verdict
	doubt    bool // a probe was sent and should have been answered by now
	others   witnesses
	subflows int
	usable   bool      // could carry, at the last look
	turned   time.Time // when that changed
	losses   uint64    // how often it could no longer
	timing   timing    // in mode smallest-delay
}

// beginLook prepares for a look at the subflows, each of which is fed.
func beginLook(now time.Time, senses []sense, links []linkmon.Link) {
	for i := range senses {
		senses[i].health.Begin(now, links[i])
	}
}

// feed gives a subflow of the namespace to the link that it uses. The link is told by the local address.
func feed(senses []sense, links []linkmon.Link, s *mptcp.Subflow) {
	link := linkOf(s.Local.Addr(), links)
	if link < 0 || !s.Established {
		return
	}
	t := &s.TCP
	senses[link].health.Add(&linkmon.PathSample{
		Key:     uint64(s.Token)<<32 | uint64(s.Local.Port())<<16 | uint64(s.LocalID)<<8 | uint64(s.RemoteID),
		Unacked: t.Unacked, NotSent: t.NotSent, LastAck: t.LastAckRecv, RTT: t.RTT, MinRTT: t.MinRTT, RTO: t.RTO, RcvRTT: t.RcvRTT,
		Timeouts: max(t.Backoff, t.Retransmits), Lost: t.Lost, BytesAcked: t.BytesAcked, BytesReceived: t.BytesReceived, BytesSent: t.BytesSent, BytesRetrans: t.BytesRetrans,
		DataSegs: t.DataSegsIn, OutOfOrder: t.OutOfOrder, AppLimited: t.AppLimited,
	})
}

// judge brings every link's memory up to date, with a look at the subflows that was begun, or without (fresh is false) when only
// rates are new.
func judge(now time.Time, senses []sense, snap *linkmon.Snapshot, fresh bool) {
	for i := range senses {
		s, l := &senses[i], &snap.Links[i]
		if fresh {
			s.verdict = s.health.End()
			s.subflows = s.verdict.Subflows
		}
		if usable := l.Usable && !s.verdict.Dead; usable != s.usable || s.turned.IsZero() {
			if s.usable {
				s.losses++
			}
			s.usable, s.turned = usable, now
		}
		s.down.Learn(now, l.DownRate, s.verdict.DownQueue)
		s.up.Learn(now, l.UpRate, s.verdict.UpQueue)
	}
}

// noteAstray tells of links that work in no family in which a concentrator is reached: of a line that has lost its IPv4 address and kept that of
// IPv6, say, beside a concentrator that has none of these.
func noteAstray(o *policy.Observation, links []linkmon.Link, f families) {
	for i := range o.Links {
		l := &links[i]
		switch {
		case !l.Usable, f.v4 && l.Addr4.IsValid() && l.Route4, f.v6 && l.Addr6.IsValid() && l.Route6:
		case f.v4:
			o.Links[i].Astray = "it has no way out by IPv4, and concentrators have no other addresses"
		default:
			o.Links[i].Astray = "it has no way out by IPv6, and concentrators have no other addresses"
		}
	}
}

// observe makes of what was sensed what the policy needs.
//
// boot tells one run of the machine from another: counters begin anew with each.
func observe(now time.Time, boot uint64, snap *linkmon.Snapshot, senses []sense) policy.Observation {
	o := policy.Observation{Now: now, Links: make([]policy.LinkObs, len(senses))}
	for i := range senses {
		s, l := &senses[i], &snap.Links[i]
		down, _ := s.down.Bit(now)
		up, _ := s.up.Bit(now)
		reason := l.Reason
		if l.Usable {
			reason = s.verdict.Reason
		}
		o.Links[i] = policy.LinkObs{
			Usable: l.Usable, Dead: s.verdict.Dead, Reason: reason,
			DownRate: l.DownRate, UpRate: l.UpRate, DownCap: down, UpCap: up, DownQueue: s.verdict.DownQueue, UpQueue: s.verdict.UpQueue,
			RTT: s.timing.rtt(s.verdict.RTT), MinRTT: s.verdict.MinRTT, Loss: s.verdict.Loss, DownLoss: s.verdict.DownLoss, Subflows: s.subflows,
			UsedBytes: l.RxBytes + l.TxBytes, UsedEpoch: boot ^ uint64(l.Index)<<1 | 1, UsedBefore: l.Before,
		}
	}
	return o
}
