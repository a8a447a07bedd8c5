// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"spillway/journal"
	"spillway/policy"
)

func TestFailedWritesAreTriedAgainEverMoreSeldom(t *testing.T) {
	var text bytes.Buffer
	log := journal.New(&text, journal.Info)
	var s saving
	start := time.Unix(1e9, 0)
	tries := 0
	for at := time.Duration(0); at < time.Hour; at += time.Second {
		if now := start.Add(at); s.due(now) {
			tries++
			s.tried(now, errors.New("no space left"), log)
		}
	}
	// After 0, 1, 3, 7, ... 255 s and then each 5 minutes.
	if tries < 15 || tries > 22 {
		t.Errorf("%d tries within an hour, want about 20", tries)
	}
	if n := strings.Count(text.String(), "not saved"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, &text)
	}
	s.tried(start.Add(time.Hour), nil, log)
	if !s.due(start) || s.err != nil || !strings.Contains(text.String(), "saved again") {
		t.Errorf("after success: %+v\n%s", s, &text)
	}
}

// The directory of the counters is a file at first: nothing can be written. Then it is what it should be.
func TestCountersThatWereNotWrittenAreWrittenLater(t *testing.T) {
	dir := t.TempDir()
	h := &house{log: journal.Discard(), usage: usageFile(filepath.Join(dir, "nowhere", "x", "usage.json"))}
	blocked := usageFile(filepath.Join(dir, "nowhere"))
	if err := blocked.write(nil); err != nil {
		t.Fatal(err)
	}
	h.machine = policy.New(policy.Config{Links: []policy.LinkConfig{{Name: "lte", Role: policy.RoleOverflow, Quota: policy.Quota{Limit: 1e12}}}})
	step := func(now time.Time, used uint64) {
		h.plan = h.machine.Step(policy.Observation{Now: now, Links: []policy.LinkObs{{Usable: true, UsedBytes: used, UsedEpoch: 1}}})
		h.persist(now)
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	step(now, 0)
	step(now.Add(time.Second), 1e11)
	if h.saving.err == nil {
		t.Fatal("a file was written where none can be")
	}
	h.usage = usageFile(filepath.Join(dir, "usage.json"))
	step(h.saving.again.Add(-time.Millisecond), 1e11)
	if got, _ := h.usage.read(); len(got) != 0 {
		t.Fatal("tried again too early")
	}
	step(h.saving.again, 1e11)
	got, err := h.usage.read()
	if err != nil || len(got) != 1 || got[0].Bytes < 1e11 || h.saving.err != nil {
		t.Errorf("%+v, %v, %+v: want the octets of before in the file", got, err, h.saving)
	}
}
