// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Report is what was measured, in one run or in several that complement each other.
type Report struct {
	Machine    string            `json:"machine"`
	Kernel     string            `json:"kernel"`
	Processors int               `json:"processors"`
	Versions   map[string]string `json:"versions"`
	Runs       []*Played         `json:"runs"`
	Idle       int               `json:"most_idle_connections"` // measured for 10,000: as many as descriptors allow
	Entries    []*Entry          `json:"contestants"`
	Heap       string            `json:"heap,omitempty"` // profiles of the daemon, as text
}

// Played is one run of the command.
type Played struct {
	When    time.Time `json:"when"`
	Command string    `json:"command"`
	Rounds  int       `json:"rounds"`
	Load    []float64 `json:"load_before_round"` // what else ran
}

// Entry is one contestant's figures: all rounds' values by "work.metric".
type Entry struct {
	Name    string               `json:"name"`
	About   string               `json:"about"`
	Kind    string               `json:"kind"`
	Missing string               `json:"missing,omitempty"`
	Trouble []string             `json:"trouble,omitempty"`
	Figures map[string][]float64 `json:"figures"`
}

// NewReport describes the machine.
func NewReport(p Programs, rounds int) *Report {
	var u unix.Utsname
	unix.Uname(&u)
	r := &Report{Kernel: unix.ByteSliceToString(u.Release[:]), Machine: u2s(u.Machine[:]) + ", " + model(),
		Processors: runtime.NumCPU(), Versions: p.versions}
	r.Runs = []*Played{{When: time.Now().UTC(), Command: strings.Join(append([]string{"bench"}, os.Args[1:]...), " "), Rounds: rounds}}
	for _, c := range Contestants() {
		r.Entries = append(r.Entries, &Entry{Name: c.Name, About: c.About, Kind: c.Kind, Missing: c.Missing(p), Figures: map[string][]float64{}})
	}
	return r
}

func u2s(b []byte) string { return unix.ByteSliceToString(b) }

func model() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return "unknown processor"
}

// Entry finds a contestant.
func (r *Report) Entry(name string) *Entry {
	for _, e := range r.Entries {
		if e.Name == name {
			return e
		}
	}
	return &Entry{}
}

// Add notes a figure.
func (e *Entry) Add(key string, value float64) { e.Figures[key] = append(e.Figures[key], value) }

// Median is over the rounds; false without a figure.
func (e *Entry) Median(key string) (float64, bool) {
	v := slices.Sorted(slices.Values(e.Figures[key]))
	n := len(v)
	if n == 0 {
		return 0, false
	}
	return (v[(n-1)/2] + v[n/2]) / 2, true
}

// Write stores the report as JSON.
func (r *Report) Write(path string) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// Read loads one.
func Read(path string) (*Report, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &Report{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("report %s: %w", path, err)
	}
	r.name()
	return r, nil
}

// name calls those of an older report what they are called today, in today's order, with those who have come since.
func (r *Report) name() {
	var entries []*Entry
	for _, c := range Contestants() {
		e := r.Entry(c.Name)
		if e.Figures == nil {
			e = &Entry{Figures: map[string][]float64{}}
		}
		e.Name, e.About, e.Kind = c.Name, c.About, c.Kind
		entries = append(entries, e)
	}
	r.Entries = entries
}

// keep takes what belongs to no contestant.
func (r *Report) keep(old *Report) {
	r.Runs = append(old.Runs, r.Runs...)
	if r.Heap == "" {
		r.Heap = old.Heap
	}
	r.Idle = max(r.Idle, old.Idle)
}

// Continue takes the figures of an older report as those of earlier rounds.
func (r *Report) Continue(old *Report) {
	r.keep(old)
	for _, o := range old.Entries {
		e := r.Entry(o.Name)
		if e.Figures == nil {
			continue // nobody of that name any more
		}
		for k, v := range o.Figures {
			e.Figures[k] = append(slices.Clone(v), e.Figures[k]...)
		}
		e.Trouble = append(o.Trouble, e.Trouble...)
	}
}

// Complete takes from an older report what this one has not measured.
func (r *Report) Complete(old *Report) {
	r.keep(old)
	for _, o := range old.Entries {
		e := r.Entry(o.Name)
		if e.Figures == nil {
			continue // nobody of that name any more
		}
		again := map[string]bool{}
		for k := range e.Figures {
			work, _, _ := strings.Cut(k, ".")
			again[work] = true
		}
		for k, v := range o.Figures {
			if work, _, _ := strings.Cut(k, "."); !again[work] {
				e.Figures[k] = v
			}
		}
		for _, t := range o.Trouble {
			if work, _, ok := strings.Cut(t, ":"); !ok || !again[work] {
				e.Trouble = append(e.Trouble, t)
			}
		}
	}
}
