// SPDX-License-Identifier: Apache-2.0

package linkmon

import (
	"math"
	"time"
)

// Figures of the dampening, after RFC 2439 section 4.2 (there for BGP routes, with minutes instead of seconds): a loss
// costs dampLoss; above dampSuppress the link is suppressed until the penalty has decayed below dampReuse.
// Three losses within some seconds suppress, for about 45 s; the ceiling bounds any suppression to 90 s.
const (
	dampLoss     = 1000.0
	dampSuppress = 2500.0
	dampReuse    = 1000.0
	dampCeiling  = 8000.0
	dampHalfLife = 30 * time.Second
)

// Damp remembers how often a link was lost. The zero value is ready. Time going backwards decays nothing.
type Damp struct {
	penalty    float64
	at         time.Time
	suppressed bool
}

// Lost notes that the link went from good to bad.
func (d *Damp) Lost(now time.Time) {
	d.decay(now)
	d.penalty = min(d.penalty+dampLoss, dampCeiling)
	if d.penalty > dampSuppress {
		d.suppressed = true
	}
}

// Suppressed says whether the link should be left alone where there is another, and for how long if nothing happens.
func (d *Damp) Suppressed(now time.Time) (bool, time.Duration) {
	d.decay(now)
	if d.suppressed && d.penalty < dampReuse {
		d.suppressed = false
	}
	if !d.suppressed {
		return false, 0
	}
	// A hair longer than exact, so that one who waits this long finds it over.
	wait := time.Duration(math.Log2(d.penalty/dampReuse)*float64(dampHalfLife)) + time.Millisecond
	return true, wait
}

func (d *Damp) decay(now time.Time) {
	if d.at.IsZero() || now.After(d.at) {
		if d.penalty != 0 { // spares a MIPS without FPU the exponential at each step
			d.penalty *= halved(now.Sub(d.at), dampHalfLife)
		}
		d.at = now
	}
}
