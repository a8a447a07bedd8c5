// SPDX-License-Identifier: Apache-2.0

package engine

import "time"

const (
	onsetOver  = int64(time.Second)
	onsetLeast = 16 << 10 // octets within onsetOver: 131 kbit/s
)

// onset sees that a transfer begins, by what a loop's attentive directions have moved: one may fill a slow line and yet never become
// bulk, which takes 1.6 Mbit/s. Times are nanoseconds of one monotonic clock. The zero value is ready.
type onset struct {
	since          int64 // when the present second began
	octets, before int   // moved in it, and in the second before
}

// moved tells of n octets. It returns true once in a second at most: when at least twice as much has been moved as in the whole second
// before. What goes on as it did is no beginning.
func (o *onset) moved(now int64, n int) bool {
	if d := now - o.since; d >= onsetOver {
		if o.before = o.octets; d >= 2*onsetOver {
			o.before = 0
		}
		o.since, o.octets = now, 0
	}
	least := max(onsetLeast, 2*o.before)
	was := o.octets
	o.octets += n
	return was < least && o.octets >= least
}
