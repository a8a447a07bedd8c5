// SPDX-License-Identifier: Apache-2.0

package linkmon

import (
	"math"
	"time"
)

// CapacitySource says how a capacity is known.
type CapacitySource uint8

// From knowing nothing to being told.
const (
	CapacityUnknown    CapacitySource = iota
	CapacityLearnt                    // the most that was carried while the queue stood
	CapacityModem                     // the line rate that the modem reports
	CapacityConfigured                // written in the configuration
)

// String gives the word that status output shows.
func (s CapacitySource) String() string {
	switch s {
	case CapacityLearnt:
		return "learnt"
	case CapacityModem:
		return "modem"
	case CapacityConfigured:
		return "configured"
	default:
		return "unknown"
	}
}

const (
	capacityTau      = 500 * time.Millisecond // smoothing of what is carried while the queue stands: a burst is no capacity
	capacityProof    = 2 * time.Second        // a queue must stand this long before the rate under it counts
	capacityDown     = 20 * time.Second       // half-life towards a lower rate at which the queue stands too: the line became slower
	capacityHalfLife = 12 * time.Hour         // of what was learnt, while nothing confirms it
	capacityFloor    = 0.25                   // of the best: ageing ends here, a quiet week is no reason to think of a slow line
	capacityFresh    = 10 * time.Minute       // so long a learnt capacity may contradict a higher configured one
	capacityGap      = 5 * time.Second        // no sample for this long: the queue is not known to have stood meanwhile
)

// Capacity is what one direction of one link can carry. The zero value knows nothing yet.
type Capacity struct {
	Configured float64 // bit/s, 0: none
	Modem      float64 // bit/s as the modem reports it, 0: unknown; may change at any time

	learnt, best float64
	carried      float64 // smoothed rate of the present stretch: while the queue stands, or while more flows than was thought possible
	standing     time.Duration
	above        time.Duration
	proven       time.Time // when a standing queue last confirmed learnt
	at           time.Time
}

// Learn takes the present rate in bit/s and whether a queue stands in this direction (Verdict.UpQueue, DownQueue).
// A standing queue makes the rate the capacity; without one the rate is but a lower bound of what was learnt before.
func (c *Capacity) Learn(now time.Time, rate float64, queue bool) {
	dt := now.Sub(c.at)
	first := c.at.IsZero()
	if !first && dt <= 0 {
		return
	}
	c.at = now
	if first || dt > capacityGap {
		c.age(dt, first)
		c.standing, c.above = 0, 0
		dt = 0
	}
	if math.IsNaN(rate) || math.IsInf(rate, 0) || rate <= 0 {
		queue = false
		rate = 0
	}
	if queue {
		c.above = 0
		c.stands(now, dt, rate)
		return
	}
	c.standing = 0
	c.age(dt, first)
	if c.learnt > 0 {
		c.learnt = max(c.learnt, min(rate, c.best)) // back towards the best that a queue has proven
		c.exceeds(dt, rate)
	}
}

// stands learns from a stretch with a standing queue.
func (c *Capacity) stands(now time.Time, dt time.Duration, rate float64) {
	c.standing += dt
	if c.standing < capacityProof/2 {
		c.carried = rate // still filling the buffer of the modem: that went faster than the line
		return
	}
	c.smooth(dt, rate)
	if c.standing < capacityProof {
		return
	}
	c.proven = now
	if c.carried >= c.learnt {
		c.learnt = c.carried
		c.best = max(c.best, c.learnt)
		return
	}
	c.learnt = c.carried + (c.learnt-c.carried)*halved(dt, capacityDown)
	c.best = c.learnt
}

// exceeds learns from a stretch in which more was carried than was thought possible, without a queue.
func (c *Capacity) exceeds(dt time.Duration, rate float64) {
	if rate <= c.learnt {
		c.above = 0
		return
	}
	if c.above == 0 {
		c.carried = rate
	}
	c.above += dt
	c.smooth(dt, rate)
	if c.above >= 2*capacityProof {
		c.learnt = max(c.learnt, c.carried)
		c.best = max(c.best, c.learnt)
	}
}

func (c *Capacity) smooth(dt time.Duration, rate float64) {
	keep := math.Exp(-dt.Seconds() / capacityTau.Seconds())
	c.carried = c.carried*keep + rate*(1-keep)
}

func (c *Capacity) age(dt time.Duration, first bool) {
	if first || c.learnt == 0 {
		return
	}
	c.learnt = max(c.learnt*halved(dt, capacityHalfLife), c.best*capacityFloor)
}

// Bit is the capacity in bit/s and how it is known; 0 and CapacityUnknown at the beginning. What is configured is
// never exceeded; a modem that trained lower, or a queue that lately stood at a clearly lower rate, is believed.
func (c *Capacity) Bit(now time.Time) (float64, CapacitySource) {
	bit, source := c.learnt, CapacityLearnt
	if told, by := c.told(); told > 0 {
		fresh := c.learnt > 0 && now.Sub(c.proven) < capacityFresh
		if !fresh || c.learnt >= 0.9*told {
			bit, source = told, by
		}
	}
	if bit <= 0 {
		return 0, CapacityUnknown
	}
	return bit, source
}

// told is the lower of what configuration and modem say.
func (c *Capacity) told() (float64, CapacitySource) {
	if c.Modem > 0 && (c.Configured <= 0 || c.Modem < c.Configured) {
		return c.Modem, CapacityModem
	}
	return c.Configured, CapacityConfigured
}
