// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// digest makes figures of the samples.
func (r *result) digest() {
	slices.Sort(r.samples)
	at := func(q float64) float64 {
		if len(r.samples) == 0 {
			return 0
		}
		i := min(len(r.samples)-1, int(q*float64(len(r.samples))))
		return float64(r.samples[i].Round(100*time.Microsecond)) / float64(time.Millisecond)
	}
	r.MedianMs, r.P95Ms, r.P99Ms = at(0.5), at(0.95), at(0.99)
}

type report struct {
	Machine  string    `json:"machine"`
	Kernel   string    `json:"kernel"`
	Command  string    `json:"command"`
	ServerMs int       `json:"server_ms"`
	Rounds   int       `json:"rounds"`
	Missing  []string  `json:"missing,omitempty"`
	Results  []*result `json:"results"`
}

func (b *bench) report() report {
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return report{Machine: fmt.Sprintf("%d cores, %s", runtime.NumCPU(), runtime.GOARCH), Kernel: strings.TrimSpace(string(release)),
		Command: "make bench-setup", ServerMs: serverMs, Rounds: b.rounds, Missing: b.missing, Results: b.results}
}

// table prints the figures as Markdown: a row for each way, a column for each cell.
func (b *bench) table(out io.Writer) {
	var cells []cell
	var names []string
	by := map[cell]map[string]*result{}
	for _, r := range b.results {
		if by[r.cell] == nil {
			by[r.cell] = map[string]*result{}
			cells = append(cells, r.cell)
		}
		by[r.cell][r.Way] = r
		if !slices.Contains(names, r.Way) {
			names = append(names, r.Way)
		}
	}
	fmt.Fprint(out, "| way |")
	for _, c := range cells {
		fmt.Fprintf(out, " %d ms, %.0f %% loss |", c.PathMs, c.Loss*100)
	}
	fmt.Fprint(out, "\n|---|", strings.Repeat("---|", len(cells)), "\n")
	for _, name := range names {
		fmt.Fprintf(out, "| %s |", name)
		for _, c := range cells {
			r := by[c][name]
			if r == nil {
				fmt.Fprint(out, " |")
				continue
			}
			fmt.Fprintf(out, " %.0f / %.0f / %.0f ms", r.MedianMs, r.P95Ms, r.P99Ms)
			if name != "direct" {
				fmt.Fprintf(out, ", MPTCP %d of %d", r.MPTCP, r.Connections)
			}
			if r.Failed > 0 {
				fmt.Fprintf(out, ", %d failed", r.Failed)
			}
			fmt.Fprint(out, " |")
		}
		fmt.Fprintln(out)
	}
	for _, m := range b.missing {
		fmt.Fprintln(out, "missing:", m)
	}
}
