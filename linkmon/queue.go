// SPDX-License-Identifier: Apache-2.0

package linkmon

import (
	"fmt"
	"math"
	"time"
)

// queue is the hysteresis of one direction: a delay above the least round trip that lasts is a standing queue.
type queue struct {
	stands bool
	turn   time.Time // since when the other state is seen; zero: it is not
	now    time.Duration
}

// step takes the present and the least round trip (0: unknown, which counts as no queue), and the delay of a few segments that left
// together, which is none either.
func (q *queue) step(now time.Time, rtt, least, few time.Duration) {
	q.now = rtt
	room := max(queueLeast, time.Duration(float64(least)*queueShare), few)
	extra := rtt - least
	seen := least > 0 && extra >= room
	if q.stands {
		seen = least > 0 && extra >= room/2
	}
	if seen == q.stands {
		q.turn = time.Time{}
		return
	}
	if q.turn.IsZero() {
		q.turn = now
	}
	wait := queueSettle
	if q.stands {
		wait = queueGone
	}
	if now.Sub(q.turn) >= wait {
		q.stands, q.turn = seen, time.Time{}
	}
}

// delays notes a subflow's round trips. Upwards speaks the sender's round trip of subflows that have data out and are not limited by
// their application; downwards the receiver's. The least delayed one is the link's: a queue of the link delays all.
func (s *summary) delays(x *PathSample) {
	s.least = lesser(lesser(s.least, x.MinRTT), x.RTT)
	if x.Unacked > 0 && !x.AppLimited {
		s.up = lesser(s.up, x.RTT)
	}
	s.rcv = lesser(s.rcv, x.RcvRTT)
}

// lesser is the lesser of two where 0 is unknown.
func lesser(a, b time.Duration) time.Duration {
	if b > 0 && (a == 0 || b < a) {
		return b
	}
	return a
}

// queues updates the least round trips of the link and judges both directions.
func (h *Health) queues(now time.Time, sum *summary) {
	if since := now.Sub(h.leastAt); h.leastAt.IsZero() || since > minRTTHalf {
		h.least, h.leastRcv, h.leastAt = 0, 0, now // a route may have become longer
	}
	h.least, h.leastRcv = lesser(h.least, sum.least), lesser(h.leastRcv, sum.rcv)
	up, rcv := sum.up, sum.rcv
	if h.inBytes < downloadMin/4 || now.Sub(h.inAt) > queueSettle {
		rcv = 0 // the receiver's figure stays when nothing comes any more
	}
	h.up.step(now, up, h.least, few(h.outBytes))
	least := h.least
	if least == 0 || (h.leastRcv > 0 && h.leastRcv < least) {
		least = h.leastRcv
	}
	h.down.step(now, rcv, least, few(h.inBytes))
	if d := max(up, rcv); d > 0 {
		h.delay = d
	}
}

// few is how long fewSegments take at the rate at which the link carries now, "late" octets of late, halved each rateHalf: at 1 Mbit/s one takes 12 ms. So far
// apart come those of a slow stream besides, and by no less does the receiver take the round trip for longer than it is.
func few(late float64) time.Duration {
	perSecond := late * math.Ln2 / rateHalf.Seconds()
	if perSecond*fewMost.Seconds() <= fewSegments {
		return fewMost
	}
	return time.Duration(fewSegments / perSecond * float64(time.Second))
}

func (h *Health) queueReason() string {
	way, rtt := "up", h.up.now
	if !h.up.stands {
		way, rtt = "down", h.down.now
	}
	return fmt.Sprintf("a queue stands %s: round trip %d ms against %d ms at best", way, rtt.Milliseconds(), h.least.Milliseconds())
}
