// SPDX-License-Identifier: Apache-2.0

package main

import (
	"time"
)

// MP_PRIO is a bare acknowledgement: a lost one is never sent again, and the kernel sends none for a flag that is set already. So the
// effect is looked at, and the flag toggled while there is none.

// repeat is what is remembered of one link's flag.
type repeat struct {
	want  endpointWant
	at    time.Time // of the last change or repetition
	tries int
}

const (
	repeatAfter = time.Second
	repeatMost  = 5     // then it isn't a lost MP_PRIO: other traffic uses the link
	quietBit    = 100e3 // bit/s: less is not the traffic of connections that should be elsewhere
)

// stayVerified repeats flags without effect: a silent link that still carries.
func (h *house) stayVerified(now time.Time) {
	for i := range h.repeats {
		r, l := &h.repeats[i], &h.snap.Links[i]
		if r.want != h.paths[i].want {
			*r = repeat{want: h.paths[i].want, at: now}
			continue
		}
		if r.want != endpointBackup || r.tries >= repeatMost || now.Sub(r.at) < repeatAfter || l.DownRate+l.UpRate < quietBit {
			continue
		}
		r.at, r.tries = now, r.tries+1
		for _, v6 := range []bool{false, true} {
			id := kernelNumbers(h.cfg).EndpointID(i, v6)
			for _, e := range h.apply.wanted().Endpoints {
				if e.ID == id {
					if err := h.kernel.ToggleBackup(id, true); err != nil {
						h.log.Debug("repeat the backup flag", "link", l.Name, "error", err)
					}
				}
			}
		}
		h.log.Debug("the backup flag had no effect; sent again", "link", l.Name, "rate", rate(l.DownRate+l.UpRate))
	}
}
