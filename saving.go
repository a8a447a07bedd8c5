// SPDX-License-Identifier: Apache-2.0

package main

import (
	"time"

	"spillway/journal"
)

// A write of the quota counters that has failed is tried again after saveFirst, then ever more seldom. A full or broken flash is
// not helped by trying often.
const (
	saveFirst = time.Second
	saveMost  = 5 * time.Minute
)

// saving is how the writing of the quota counters goes.
type saving struct {
	err   error // why they are not in their file; nil: they are
	since time.Time
	wait  time.Duration
	again time.Time
}

// due tells whether counters that want to be written may be, now.
func (s *saving) due(now time.Time) bool { return s.err == nil || !now.Before(s.again) }

// tried notes how a write ended. Only what changes is logged.
func (s *saving) tried(now time.Time, err error, log *journal.Logger) {
	switch {
	case err == nil && s.err != nil:
		log.Info("quota counters are saved again", "lacking_for", now.Sub(s.since).Round(time.Second))
		*s = saving{}
	case err != nil:
		if s.err == nil {
			log.Warn("quota counters are not saved; trying again", "error", err)
			s.since = now
		}
		s.err, s.wait = err, min(max(2*s.wait, saveFirst), saveMost)
		s.again = now.Add(s.wait)
	}
}

// persist writes the quota counters when the policy wants it.
func (h *house) persist(now time.Time) {
	if !h.plan.Persist || !h.saving.due(now) {
		return
	}
	err := h.usage.write(h.machine.Usage(false))
	if err == nil {
		h.machine.Persisted()
	}
	h.saving.tried(now, err, h.log)
}
