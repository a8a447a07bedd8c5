// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"spillway/json"
	"spillway/policy"
)

// historyLength is how many transitions `spillway why` shows.
const historyLength = 100

// history is the last transitions, oldest first.
type history struct{ list []Transition }

func (h *history) add(t Transition) {
	if len(h.list) == historyLength {
		copy(h.list, h.list[1:])
		h.list = h.list[:historyLength-1]
	}
	h.list = append(h.list, t)
}

// last is when the last one was; zero without any.
func (h *history) last() time.Time {
	if len(h.list) == 0 {
		return time.Time{}
	}
	return h.list[len(h.list)-1].At
}

// all are they as they are told now.
func (h *history) all(now time.Time) []Transition {
	out := append([]Transition{}, h.list...)
	for i := range out {
		out[i].At = byClock(now, out[i].At)
	}
	return out
}

// usageFile is where quota counters survive. It is written whole, under another name, flushed, and renamed: after a
// power cut there is the old content or the new one.
type usageFile string

// read returns no counters when there is no file yet.
func (u usageFile) read() ([]policy.Usage, error) {
	text, err := os.ReadFile(string(u))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("quota counters: %w", err)
	}
	var usages []policy.Usage
	if err := json.Decode(text, &usages); err != nil {
		return nil, fmt.Errorf("quota counters in %s: %w", u, err)
	}
	return usages, nil
}

func (u usageFile) write(usages []policy.Usage) (err error) {
	text, err := json.Encode(usages)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(string(u)), 0o755); err != nil {
		return err
	}
	fresh := string(u) + ".new"
	f, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, 0o600) // nobody's link leads us elsewhere
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		os.Remove(fresh)
		return err
	}
	return os.Rename(fresh, string(u))
}

// bootID tells one run of the machine from another.
func bootID() uint64 {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return 0
	}
	sum := fnv.New64a()
	sum.Write(text)
	return sum.Sum64()
}
