// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// watchEvery is how often the live view asks.
const watchEvery = 250 * time.Millisecond

// watch is `spillway watch`: a picture that is drawn over itself on a terminal, a line a second when piped.
func watch(ctx context.Context, w io.Writer, terminal bool, ask func() (*Status, error)) error {
	every := watchEvery
	if !terminal {
		every = time.Second
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	if terminal {
		fmt.Fprint(w, "\x1b[?25l") // hide the cursor
		defer fmt.Fprint(w, "\x1b[?25h")
	}
	for first := true; ; first = false {
		s, err := ask()
		if err != nil {
			return err
		}
		if terminal {
			frame := watchFrame(s)
			if !first {
				fmt.Fprintf(w, "\x1b[%dA", strings.Count(frame, "\n"))
			}
			fmt.Fprint(w, strings.ReplaceAll(frame, "\n", "\x1b[K\n"))
		} else {
			fmt.Fprintln(w, watchLine(s))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// watchFrame draws the links as pipes that fill.
func watchFrame(s *Status) string {
	var b strings.Builder
	fmt.Fprintf(&b, "spillway  %s\n\n", s.Why)
	for _, l := range s.Links {
		fmt.Fprintf(&b, "%-10.10s %-8s down %s %12s   up %s %12s\n", l.Name, l.State,
			pipe(l.Down, l.Capacity.Down, l.DownPeak), rate(l.Down), pipe(l.Up, l.Capacity.Up, l.UpPeak), rate(l.Up))
	}
	down, up := 0.0, 0.0
	for _, l := range s.Links {
		down, up = down+l.Down, up+l.Up
	}
	fmt.Fprintf(&b, "\n%d connections, %s down, %s up\n", s.Sessions, rate(down), rate(up))
	return b.String()
}

// pipe draws a bar of 20 cells, filled by the share of the capacity, or of the peak where no capacity is known.
func pipe(value, capacity, peak float64) string {
	const cells = 20
	if capacity <= 0 {
		capacity = max(peak, value, 1)
	}
	eighths := int(min(value/capacity, 1)*cells*8 + 0.5)
	bar := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		bar += string([]rune(" ▏▎▍▌▋▊▉")[rest])
	}
	return "│" + bar + strings.Repeat(" ", cells-len([]rune(bar))) + "│"
}

// watchLine is one line of the piped view.
func watchLine(s *Status) string {
	var parts []string
	for _, l := range s.Links {
		parts = append(parts, fmt.Sprintf("%s %s down %s up %s", l.Name, l.State, rate(l.Down), rate(l.Up)))
	}
	return fmt.Sprintf("%s | %s | %s", time.Now().Format("15:04:05"), strings.Join(parts, " | "), s.Why)
}
