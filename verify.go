// SPDX-License-Identifier: Apache-2.0

package main

import (
	"time"

	"spillway/mptcp"
)

// MP_PRIO is a bare acknowledgement: a lost one is never sent again, and the kernel sends none for a flag that is set already. So the
// effect is looked at, and the flag toggled while there is none.

// repeat is what is remembered of one link's flag.
type repeat struct {
	want  endpointWant
	woken bool      // the link was silent before
	at    time.Time // of the last change or repetition
	tries int
}

const (
	repeatAfter = time.Second
	repeatMost  = 5     // then it isn't a lost MP_PRIO: other traffic uses the link
	rejoinAt    = 2     // the try at which a link that shall carry is joined anew
	quietBit    = 100e3 // bit/s: less is not the traffic of connections that should be elsewhere
)

// stayVerified repeats flags without effect: of a silent link that still carries; and of one that was to carry again and does not, though a queue
// stands at the first link.
func (h *house) stayVerified(now time.Time) {
	first := h.plan.First
	waits := h.plan.Overflow && first >= 0 && (h.senses[first].verdict.DownQueue || h.senses[first].verdict.UpQueue)
	for i := range h.repeats {
		r, l := &h.repeats[i], &h.snap.Links[i]
		if r.change(now, h.paths[i].want) || !r.unheeded(now, l.DownRate+l.UpRate, waits && i != first && h.senses[i].subflows > 0) {
			continue
		}
		r.at, r.tries = now, r.tries+1
		wanted := h.apply.wanted().Endpoints
		for j := range wanted {
			if id := wanted[j].ID; id == kernelNumbers(h.cfg).EndpointID(i, false) || id == kernelNumbers(h.cfg).EndpointID(i, true) {
				if err := h.retell(r, &wanted[j]); err != nil {
					h.log.Debug("repeat the backup flag", "link", l.Name, "error", err)
				}
			}
		}
		h.log.Debug("the backup flag had no effect; sent again", "link", l.Name, "rate", rate(l.DownRate+l.UpRate))
	}
}

// retell sends the flag of a link's endpoint again. A link that does not carry even then is joined anew, for that says it too: something drops MP_PRIO
// on it, and a connection that began while the link was silent would never use it.
func (h *house) retell(r *repeat, e *mptcp.Endpoint) error {
	if r.woken && r.tries == rejoinAt {
		if err := h.kernel.RemoveEndpoint(e.ID); err != nil {
			return err
		}
		return h.kernel.AddEndpoint(*e)
	}
	return h.kernel.ToggleBackup(e.ID, r.want == endpointBackup)
}

// change notes what is wanted of the link now, and reports whether that is new.
func (r *repeat) change(now time.Time, want endpointWant) bool {
	if r.want == want {
		return false
	}
	*r = repeat{want: want, woken: r.want == endpointBackup && want == endpointActive, at: now}
	return true
}

// unheeded reports whether the flag shall be told again to a link that carries rate, bit/s; waits: there is more to carry than others can.
func (r *repeat) unheeded(now time.Time, rate float64, waits bool) bool {
	if r.tries >= repeatMost || now.Sub(r.at) < repeatAfter {
		return false
	}
	return r.want == endpointBackup && rate >= quietBit || r.woken && waits && rate < quietBit
}
