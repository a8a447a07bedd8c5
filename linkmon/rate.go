// SPDX-License-Identifier: Apache-2.0

package linkmon

import (
	"math"
	"time"
)

const (
	rateTau      = 500 * time.Millisecond // time constant of the smoothing
	peakHalfLife = 10 * time.Second
)

// Rate turns one octet counter into bit/s. The zero value is ready.
type Rate struct {
	Bit  float64 // bit/s, exponentially smoothed over about 0.5 s
	Peak float64 // bit/s, the highest Bit of late, halved each 10 s

	last    uint64
	at      time.Time
	started bool
}

// Add takes the counter's value at an instant. An instant that is not after the last one only refreshes the
// counter. A counter that went back has wrapped at 2^32 (drivers that count in 32 bits) or begun anew (device made
// anew, statistics cleared); the latter counts as no traffic, never as a gigantic rate.
func (r *Rate) Add(at time.Time, counter uint64) {
	if !r.started {
		r.started, r.last, r.at = true, counter, at
		return
	}
	dt := at.Sub(r.at)
	if dt <= 0 {
		return
	}
	bit := float64(grown(r.last, counter)) * 8 / dt.Seconds()
	r.last, r.at = counter, at
	keep := math.Exp(-dt.Seconds() / rateTau.Seconds())
	r.Bit = r.Bit*keep + bit*(1-keep)
	if r.Bit < 1 { // less than a bit a second is silence: an idle link shall come to rest at zero
		r.Bit = 0
	}
	r.Peak = max(r.Bit, r.Peak*halved(dt, peakHalfLife))
	if r.Peak < 1 {
		r.Peak = 0
	}
}

// Restart forgets the counter but not the rates: the device was replaced, its counter is another one.
func (r *Rate) Restart() { r.started = false }

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
