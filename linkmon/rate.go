// SPDX-License-Identifier: Apache-2.0

package linkmon

import (
	"math"
	"time"
)

const (
	// rateWindow is the time over which a rate is taken. A mean over a window reaches a new rate in that time; exponential smoothing
	// of the same quiet would take three times as long to come near it, and overflow waits for that.
	rateWindow   = 250 * time.Millisecond
	rateSoon     = 100 * time.Millisecond // ... but after a rest, when the reading before is old
	rateSamples  = 16                     // kept: more than the window holds at the quickest cadence
	peakHalfLife = 10 * time.Second
)

// Rate turns one octet counter into bit/s. The zero value is ready.
type Rate struct {
	Bit  float64 // bit/s, the mean of the last rateWindow, or of the time between two readings if that is longer; of at least rateSoon after a rest
	Peak float64 // bit/s, the highest Bit of late, halved each 10 s

	last    uint64 // counter
	total   uint64 // octets since the beginning, whatever the counter did
	at      time.Time
	started bool
	window  [rateSamples]rateSample // the newest first
	n       int
}

type rateSample struct {
	at    time.Time
	total uint64
}

// Add takes the counter's value at an instant. An instant that is not after the last one only refreshes the
// counter. A counter that went back has wrapped at 2^32 (drivers that count in 32 bits) or begun anew (device made
// anew, statistics cleared); the latter counts as no traffic, never as a gigantic rate.
func (r *Rate) Add(at time.Time, counter uint64) {
	if !r.started {
		r.started, r.last, r.at = true, counter, at
		r.push(at)
		return
	}
	dt := at.Sub(r.at)
	if dt <= 0 {
		return
	}
	r.total += grown(r.last, counter)
	r.last, r.at = counter, at
	r.push(at)
	base := r.base(at)
	if span := at.Sub(base.at).Seconds(); span > 0 {
		r.Bit = float64(r.total-base.total) * 8 / span
	}
	r.Peak = max(r.Bit, r.Peak*halved(dt, peakHalfLife))
	if r.Peak < 1 {
		r.Peak = 0
	}
}

// base is the sample from which the mean is taken: the newest that is as old as the window, else the oldest there is. A rest before does not
// count: what came right after it tells of now.
func (r *Rate) base(at time.Time) *rateSample {
	base := &r.window[1]
	for i := 1; i < r.n; i++ {
		last := base
		base = &r.window[i]
		switch age := at.Sub(base.at); {
		case age >= 2*rateWindow && at.Sub(last.at) >= rateSoon:
			return last
		case age >= rateWindow:
			return base
		}
	}
	return base
}

// push keeps a sample.
func (r *Rate) push(at time.Time) {
	copy(r.window[1:], r.window[:])
	r.window[0] = rateSample{at, r.total}
	r.n = min(r.n+1, rateSamples)
}

// Restart forgets the counter but not the rates: the device was replaced, its counter is another one.
func (r *Rate) Restart() { r.started, r.n = false, 0 }

// grown is how far a counter has moved from a to b.
func grown(a, b uint64) uint64 {
	const wrap = 1 << 32
	switch {
	case b >= a:
		return b - a
	case a < wrap && a >= wrap/4*3 && b < wrap/4:
		return b + wrap - a
	default:
		return 0 // begun anew: how much of b is of this interval is unknown
	}
}

// halved is what is left of one after d at the given half-life.
func halved(d, halfLife time.Duration) float64 {
	if d <= 0 {
		return 1
	}
	return math.Exp2(-d.Seconds() / halfLife.Seconds())
}
