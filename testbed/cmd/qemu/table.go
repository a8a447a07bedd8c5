// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"

	"spillway/testbed/qemu"
	"spillway/testbed/scenario"
)

// record is a line of the file that -json names: what a guest is, or what a scenario came to in it.
type record struct {
	Guest    string        `json:"guest"`
	Figures  *qemu.Figures `json:"figures,omitempty"`
	Scenario string        `json:"scenario,omitempty"`
	Fraction float64       `json:"fraction,omitempty"` // of the rates
	Limit    float64       `json:"limit,omitempty"`    // Mbit/s of the yardstick relay
	Sum      float64       `json:"sum,omitempty"`      // Mbit/s of the links as played
	Busy     float64       `json:"busy,omitempty"`     // part of the time
	Error    string        `json:"error,omitempty"`
	Found    []finding     `json:"found,omitempty"`
}

// finding is a scenario.Finding for JSON, which knows no infinity.
type finding struct {
	What   string   `json:"what"`
	Unit   string   `json:"unit,omitempty"`
	Figure *float64 `json:"figure"` // nil: never
	Met    bool     `json:"met"`
	Within bool     `json:"within"`
}

func found(findings []scenario.Finding) (all []finding) {
	for _, f := range findings {
		one := finding{What: f.What, Unit: f.Unit, Met: f.Met, Within: f.Within}
		if !math.IsInf(f.Figure, 0) && !math.IsNaN(f.Figure) {
			one.Figure = &f.Figure
		}
		all = append(all, one)
	}
	return all
}

// note keeps a record for the summary, and appends it to the file, if one is named.
func (o options) note(r record) error {
	*o.book = append(*o.book, r)
	if o.json == "" {
		return nil
	}
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(o.json, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}

// tables prints what files of records say.
func tables(paths []string) error {
	var all []record
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var r record
			if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			all = append(all, r)
		}
		f.Close()
	}
	guests, scenarios := namesOf(all)
	summary(all)
	for _, s := range scenarios {
		outcome(all, guests, s)
	}
	return nil
}

// summary is what a run as a whole came to: the machines that were measured, then each scenario's verdict and its figure in each guest.
func summary(all []record) {
	guests, scenarios := namesOf(all)
	if slices.ContainsFunc(all, func(r record) bool { return r.Figures != nil }) {
		machines(all, guests)
	}
	if len(scenarios) == 0 {
		return
	}
	fmt.Printf("\n| scenario | %s |\n|%s\n", strings.Join(guests, " | "), strings.Repeat("---|", 1+len(guests)))
	for _, s := range scenarios {
		what := ""
		cells := make([]string, len(guests))
		for i, g := range guests {
			for _, r := range all {
				if r.Guest == g && r.Scenario == s {
					cells[i] = r.verdict()
					what = cmp.Or(what, r.figure().What)
				}
			}
		}
		fmt.Printf("| %s: %s | %s |\n", s, what, strings.Join(cells, " | "))
	}
}

// figure is a scenario's first figure but that of broken connections, which is nought wherever a scenario passes.
func (r record) figure() finding {
	for _, f := range r.Found {
		if !strings.Contains(f.What, "broken") {
			return f
		}
	}
	return finding{}
}

// verdict is "ok" or "FAILED" with a scenario's figure.
func (r record) verdict() string {
	if r.Error != "" {
		return "FAILED: did not end"
	}
	text := "ok"
	for _, f := range r.Found {
		if !f.Within {
			text = "FAILED"
		}
	}
	if f := r.figure(); f.What != "" {
		text += " " + strings.TrimSpace(median([]finding{f})+" "+f.Unit)
	}
	return text
}

// namesOf lists guests and scenarios in the order in which they come.
func namesOf(all []record) (guests, scenarios []string) {
	for _, r := range all {
		if !slices.Contains(guests, r.Guest) {
			guests = append(guests, r.Guest)
		}
		if r.Scenario != "" && !slices.Contains(scenarios, r.Scenario) {
			scenarios = append(scenarios, r.Scenario)
		}
	}
	return guests, scenarios
}

// machines is a row for each guest that was measured: its last figures.
func machines(all []record, guests []string) {
	fmt.Println("| guest | kernel, machine | memory | boot, s | forward, Mbit/s | yardstick | Spillway | ratio: process, machine | RSS idle, MB | RSS with N connections | failed | start, restart to the first relayed connection, ms |")
	fmt.Println("|" + strings.Repeat("---|", 12))
	mb := func(n int64) float64 { return float64(n) / (1 << 20) }
	for _, g := range guests {
		var f *qemu.Figures
		for _, r := range all {
			if r.Guest == g && r.Figures != nil {
				f = r.Figures
			}
		}
		if f == nil {
			continue
		}
		process, machine := f.Relative()
		fmt.Printf("| %s | %s, %s | %d MB | %.1f | %.0f | %.0f Mbit/s, %.0f s/GiB | %.0f Mbit/s, %.0f s/GiB | %s, %s | %.1f | %.1f, %d | %d | %s |\n", g, f.About.Kernel, f.About.Machine, f.Memory,
			f.About.Boot, f.Forward, f.Spliced.Mbit, f.Spliced.Process, f.Relayed.Mbit, f.Relayed.Process, process, machine,
			mb(f.Idle.RSS), mb(f.Connected.RSS), f.Connections, f.Failed, began(f))
	}
}

// began is how long a daemon takes to relay its first connection, and one after another.
func began(f *qemu.Figures) string {
	if f.Start == 0 {
		return "?"
	}
	return fmt.Sprintf("%d, %d", f.Start.Milliseconds(), f.Restart.Milliseconds())
}

// outcome is a scenario's table: a row for each guest, a column for each expectation, medians of all runs.
func outcome(all []record, guests []string, name string) {
	var heads []string
	cells := map[string]map[string][]finding{} // by guest and expectation
	about, runs, failed := map[string]record{}, map[string]int{}, map[string]int{}
	for _, r := range all {
		if r.Scenario != name {
			continue
		}
		runs[r.Guest]++
		about[r.Guest] = r
		if r.Error != "" || slices.ContainsFunc(r.Found, func(f finding) bool { return !f.Within }) {
			failed[r.Guest]++
		}
		for _, f := range r.Found {
			head := strings.TrimSpace(f.What + " " + f.Unit)
			if !slices.Contains(heads, head) {
				heads = append(heads, head)
			}
			if cells[r.Guest] == nil {
				cells[r.Guest] = map[string][]finding{}
			}
			cells[r.Guest][head] = append(cells[r.Guest][head], f)
		}
	}
	fmt.Printf("\n%s\n\n| guest | links, Mbit/s, of a yardstick's | runs, failed | %s |\n|%s\n", name, strings.Join(heads, " | "), strings.Repeat("---|", 3+len(heads)))
	for _, g := range guests {
		if runs[g] == 0 {
			continue
		}
		fmt.Printf("| %s | %.1f of %.0f | %d, %d |", g, about[g].Sum, about[g].Limit, runs[g], failed[g])
		for _, head := range heads {
			fmt.Printf(" %s |", median(cells[g][head]))
		}
		fmt.Println()
	}
}

// median is that of the figures; never is beyond all.
func median(all []finding) string {
	if len(all) == 0 {
		return ""
	}
	slices.SortFunc(all, func(a, b finding) int {
		value := func(f finding) float64 {
			if f.Figure == nil {
				return math.Inf(1)
			}
			return *f.Figure
		}
		return cmp.Compare(value(a), value(b))
	})
	f := all[len(all)/2]
	switch {
	case f.Figure == nil:
		return "never"
	case math.Abs(*f.Figure) >= 1000 || *f.Figure == math.Trunc(*f.Figure):
		return fmt.Sprintf("%.0f", *f.Figure)
	}
	return fmt.Sprintf("%.1f", *f.Figure)
}
