// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// Text for people. Every function here is pure: a value in, text out.

// rate writes a rate in bit/s with three figures.
func rate(bps float64) string {
	switch {
	case bps >= 999.5e6:
		return fmt.Sprintf("%.2f Gbit/s", bps/1e9)
	case bps >= 99.95e6:
		return fmt.Sprintf("%.0f Mbit/s", bps/1e6)
	case bps >= 99.95e3:
		return fmt.Sprintf("%.1f Mbit/s", bps/1e6)
	case bps >= 1:
		return fmt.Sprintf("%.0f kbit/s", bps/1e3)
	}
	return "0"
}

// size writes octets in decimal units, as quotas are counted.
func size(n uint64) string {
	value, unit := float64(n), 0
	units := []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}
	for value >= 999.5 && unit < len(units)-1 {
		value, unit = value/1000, unit+1
	}
	if unit == 0 || value >= 99.95 {
		return fmt.Sprintf("%.0f %s", value, units[unit])
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}

// age writes a duration by its two greatest units.
func age(d time.Duration) string {
	d = max(d, 0).Round(time.Second)
	switch {
	case d >= 24*time.Hour:
		return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%ds", d/time.Second)
}

// table writes rows under a heading; columns are as wide as their widest cell, the last is not padded. A heading that begins
// with '>' is a column of figures, set to the right.
func table(w io.Writer, heading []string, rows [][]string) {
	width := make([]int, len(heading))
	right := make([]bool, len(heading))
	head := make([]string, len(heading))
	for i, h := range heading {
		head[i], right[i] = strings.CutPrefix(h, ">")
	}
	all := append([][]string{head}, rows...)
	for _, row := range all {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range all {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			switch {
			case right[i]:
				line.WriteString(pad + cell)
			case i == len(row)-1:
				line.WriteString(cell)
			default:
				line.WriteString(cell + pad)
			}
			if i < len(row)-1 {
				line.WriteString("  ")
			}
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

// writeStatus is `spillway status`.
func writeStatus(w io.Writer, s *Status) {
	fmt.Fprintf(w, "spillway %s: %s\n", s.Version, s.Why)
	fmt.Fprintf(w, "state %s for %s, up %s, mode %s, %d connections\n", s.State, age(time.Since(s.Since)), age(time.Duration(s.Uptime)*time.Second), s.Mode, s.Sessions)
	if !s.Doors.Open {
		fmt.Fprintf(w, "door closed: %s\n", s.Doors.Why)
	}
	fmt.Fprintln(w)
	writeLinks(w, s.Links)
	fmt.Fprintln(w)
	rows := [][]string{}
	for _, c := range s.Concentrators {
		rows = append(rows, []string{c.Name, c.Address, c.Protocol, c.State, millis(c.RTTms), fmt.Sprint(c.Sessions), c.Why})
	}
	table(w, []string{"concentrator", "address", "protocol", "state", ">rtt", ">conns", "why"}, rows)
	if len(s.Rules) > 0 {
		fmt.Fprintln(w)
		rows = rows[:0]
		for _, r := range s.Rules {
			rows = append(rows, []string{r.Name, r.Action, fmt.Sprint(r.Hits), r.Where})
		}
		table(w, []string{"rule", "action", ">hits", "in"}, rows)
	}
	if len(s.NativeNewest) > 0 {
		fmt.Fprintf(w, "\nservers that speak MPTCP and are reached without a concentrator: %d, the newest: %s\n", s.NativeServers, strings.Join(s.NativeNewest, " "))
	}
	for _, warning := range s.Warnings {
		fmt.Fprintf(w, "\nwarning: %s\n", warning)
	}
}

func millis(ms float64) string {
	if ms <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f ms", ms)
}

// writeLinks is `spillway links`: a table within 79 columns, and below it in words what has no end to its width.
func writeLinks(w io.Writer, links []LinkStatus) {
	rows := [][]string{}
	for _, l := range links {
		state := l.State
		if l.Resting {
			state = "resting"
		}
		rows = append(rows, []string{l.Name, l.Role, state, load(l.Down, l.Capacity.Down), load(l.Up, l.Capacity.Up), millis(l.RTTms)})
	}
	table(w, []string{"link", "role", "state", ">down", ">up", ">rtt"}, rows)
	fmt.Fprintln(w)
	for _, l := range links {
		fmt.Fprintf(w, "%s: %s (%s; received %s, sent %s)\n", l.Name, l.Why, l.Device, size(l.Rx), size(l.Tx))
		if l.RoleWhy != "" {
			fmt.Fprintln(w, l.RoleWhy)
		}
		if q := l.Quota; q != nil {
			fmt.Fprintf(w, "%s: %s used since %s; %s expected by %s\n", l.Name, sizeOf(q.Used, q.Limit), q.PeriodStart.Format("2 Jan"), size(q.Forecast), q.PeriodEnd.Format("2 Jan"))
			if q.Daily > 0 {
				fmt.Fprintf(w, "%s: %s used today\n", l.Name, sizeOf(q.Today, q.Daily))
			}
		}
	}
}

// sizeOf writes octets and how many they may be; 0: any number.
func sizeOf(n, most uint64) string {
	if most == 0 {
		return size(n)
	}
	return size(n) + " of " + size(most)
}

// load writes a rate and, where it is known, what the link can carry, in bit/s, as the policy's sentences do.
func load(bps, capacity float64) string {
	if capacity == 0 {
		return rate(bps)
	}
	return fmt.Sprintf("%.1f of %.1f Mbit/s", bps/1e6, capacity/1e6)
}

// writeFlows is `spillway flows`.
func writeFlows(w io.Writer, f *Flows) {
	rows := [][]string{}
	for _, x := range f.Flows {
		var shares []string
		for _, s := range x.Subflows {
			share := fmt.Sprintf("%s %s/%s", s.Link, size(s.Rx), size(s.Tx))
			if s.Backup {
				share += " (standby)"
			}
			shares = append(shares, share)
		}
		if !x.MPTCP {
			shares = append(shares, "plain TCP on "+x.Link)
		}
		rows = append(rows, []string{x.Source, x.Destination, x.Class, or(x.Rule, "-"), age(time.Duration(x.Age * float64(time.Second))),
			age(time.Duration(x.Idle * float64(time.Second))), size(x.Rx), size(x.Tx), strings.Join(shares, ", ")})
	}
	if f.Total == 0 {
		fmt.Fprintln(w, "no connection is relayed now")
		return
	}
	table(w, []string{"from", "to", "class", "rule", ">age", ">idle", ">received", ">sent", "links (received/sent)"}, rows)
	if shown := f.Offset + len(f.Flows); shown < f.Total {
		fmt.Fprintf(w, "%d of %d; the next: spillway flows -offset %d\n", len(f.Flows), f.Total, shown)
	}
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

// writeWhy is `spillway why`.
func writeWhy(w io.Writer, y *Why) {
	if len(y.Transitions) == 0 {
		fmt.Fprintln(w, "nothing has changed since the start")
		return
	}
	rows := [][]string{}
	for _, t := range y.Transitions {
		rows = append(rows, []string{t.At.Local().Format("2006-01-02 15:04:05.000"), or(t.Link, "-"), t.From, t.To, t.Why})
	}
	table(w, []string{"when", "link", "from", "to", "why"}, rows)
}

// writeDoctor is `spillway doctor`.
func writeDoctor(w io.Writer, d *Doctor) {
	counts, failed := map[string]int{}, []string(nil)
	for _, c := range d.Checks {
		mark := map[string]string{"ok": "ok  ", "fail": "FAIL", "warn": "warn", "skip": "-   ", "blocked": "-   "}[c.Result]
		fmt.Fprintf(w, "%s  %s: %s\n", mark, c.Name, c.What)
		if c.Remedy != "" {
			fmt.Fprintf(w, "      %s\n", c.Remedy)
		}
		if c.Command != "" {
			fmt.Fprintf(w, "      $ %s\n", c.Command)
		}
		if counts[c.Result]++; c.Result == "fail" {
			failed = append(failed, c.Name)
		}
	}
	names := ""
	if len(failed) > 0 {
		names = ": " + strings.Join(failed, ", ")
	}
	fmt.Fprintf(w, "%d checks: %d ok, %d warnings, %d not made, %d failed%s\n", len(d.Checks), counts["ok"], counts["warn"], counts["skip"]+counts["blocked"], counts["fail"], names)
}
