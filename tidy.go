// SPDX-License-Identifier: Apache-2.0

package main

import (
	"runtime/debug"
	"time"
)

const (
	rushLeast = 64          // connections that make a rush
	rushStep  = 8           // more than so many in rushRest: it goes on
	rushRest  = time.Second // how often that is asked
)

// rush is many connections that begin together. The memory that their beginning took is given back to the machine once: Go itself would
// keep it for minutes.
type rush struct {
	seen  int64 // connections, when last asked
	tidy  int64 // and when memory was last given back
	asked time.Time
}

// over tells, once, that a rush has ended. accepted is how many connections have begun since the start.
func (r *rush) over(now time.Time, accepted int64) bool {
	if now.Sub(r.asked) < rushRest {
		return false
	}
	grown := accepted - r.seen
	r.asked, r.seen = now, accepted
	if grown > rushStep || accepted-r.tidy < rushLeast {
		return false
	}
	r.tidy = accepted
	return true
}

func (h *house) tidyUp(now time.Time) {
	if h.rush.over(now, h.relay.Accepted()) {
		debug.FreeOSMemory()
	}
}
