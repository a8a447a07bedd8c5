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
		fmt.Fprint(w, "\x1b[?25l\x1b[?7l") // no cursor, and no second line for what is wider than the terminal: the next picture would miss its place
		defer fmt.Fprint(w, "\x1b[?7h\x1b[?25h")
	}
	drawn := 0 // lines of the last picture
	for {
		s, err := ask()
		if err != nil {
			return err
		}
		if terminal {
			if drawn > 0 {
				fmt.Fprintf(w, "\x1b[%dA", drawn)
			}
			frame := watchFrame(s)
			drawn = strings.Count(frame, "\n")
			fmt.Fprint(w, strings.ReplaceAll(frame, "\n", "\x1b[K\n"), "\x1b[J") // what was longer before goes
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

// watchFrame draws the links as pipes that fill, within 79 columns.
func watchFrame(s *Status) string {
	var b strings.Builder
	fmt.Fprintf(&b, "spillway  %s\n\n", s.Why)
	for _, l := range s.Links {
		fmt.Fprintf(&b, "%-9.9s %-8s ↓%s %11s ↑%s %11s\n", l.Name, l.State,
			pipe(l.Down, l.Capacity.Down, l.DownPeak), rate(l.Down), pipe(l.Up, l.Capacity.Up, l.UpPeak), rate(l.Up))
	}
	down, up := 0.0, 0.0
	for _, l := range s.Links {
		down, up = down+l.Down, up+l.Up
	}
	fmt.Fprintf(&b, "\n%d connections, ↓ %s, ↑ %s\n", s.Sessions, rate(down), rate(up))
	return b.String()
}

// pipe draws a bar of 14 cells, filled by the share of the capacity, or of the peak where no capacity is known.
func pipe(value, capacity, peak float64) string {
	const cells = 14
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
