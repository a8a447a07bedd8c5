// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// column is one figure of every contestant.
type column struct {
	head   string
	key    string // of the median
	ratio  string // of a contestant: the figure is divided by that one's; "": as it is
	format string
}

// table is a family of figures.
type table struct {
	name, title string
	columns     []column
}

// share is a ratio to the C read/write relay.
func share(head, key string) column { return column{head: head, key: key, ratio: CRW, format: "%.2f"} }

func plain(head, key, format string) column { return column{head: head, key: key, format: format} }

// tables is all of them; ratios first, all to the C read/write relay of the same run.
func tables() []table {
	return []table{
		{"cpu", "Processor time of the relay for each GiB moved (user and system, all threads)", []column{
			share("shaped 50+30: ×C", "shaped80.cpu"), share("paced 80: ×C", "paced80.cpu"), share("paced 300: ×C", "paced300.cpu"),
			share("paced 1000: ×C", "paced1000.cpu"), share("unpaced 8: ×C", "unpaced8.cpu"),
			plain("shaped s/GiB", "shaped80.cpu", "%.2f"), plain("of it user", "shaped80.user", "%.2f"),
			plain("paced 80 s/GiB", "paced80.cpu", "%.2f"), plain("paced 300 s/GiB", "paced300.cpu", "%.2f"), plain("of it user", "paced300.user", "%.2f"),
			plain("paced 1000 s/GiB", "paced1000.cpu", "%.2f"), plain("unpaced s/GiB", "unpaced8.cpu", "%.2f")}},
		{"wakeups", "How often the relay's threads went to sleep for each MiB, and what the whole machine (all namespaces) used", []column{
			share("shaped 50+30: ×C", "shaped80.wakeups"), share("paced 300: ×C", "paced300.wakeups"),
			plain("shaped, per MiB", "shaped80.wakeups", "%.1f"), plain("paced 80, per MiB", "paced80.wakeups", "%.1f"), plain("paced 300, per MiB", "paced300.wakeups", "%.1f"),
			share("machine, shaped: ×C", "shaped80.machine"), share("machine, paced 300: ×C", "paced300.machine"), share("machine, unpaced 8: ×C", "unpaced8.machine"),
			plain("machine, shaped s/GiB", "shaped80.machine", "%.1f"), plain("machine, unpaced s/GiB", "unpaced8.machine", "%.2f")}},
		{"goodput", "Goodput", []column{
			share("unpaced 8: ×C", "unpaced8.mbit"), share("unpaced 1: ×C", "unpaced1.mbit"), share("shaped 50+30: ×C", "shaped80.mbit"),
			plain("unpaced 8 Mbit/s", "unpaced8.mbit", "%.0f"), plain("unpaced 1 Mbit/s", "unpaced1.mbit", "%.0f"),
			plain("shaped Mbit/s", "shaped80.mbit", "%.1f"), plain("paced 1000 Mbit/s", "paced1000.mbit", "%.0f")}},
		{"setup", "Connections for one request of 200 octets and its answer", []column{
			share("serial: ×C", "rr1.rate"), share("64 at once: ×C", "rr64.rate"), share("p99 serial: ×C", "rr1.p99"),
			plain("serial, 1/s", "rr1.rate", "%.0f"), plain("64 at once, 1/s", "rr64.rate", "%.0f"),
			plain("p50 ms", "rr1.p50", "%.2f"), plain("p99 ms", "rr1.p99", "%.2f"), plain("64: p50 ms", "rr64.p50", "%.1f"), plain("64: p99 ms", "rr64.p99", "%.1f"),
			plain("CPU ms each, serial", "rr1.cpu_ms", "%.3f"), plain("64 at once", "rr64.cpu_ms", "%.3f"),
			plain("its threads' sleeps each, serial", "rr1.sleeps", "%.1f"), plain("64 at once", "rr64.sleeps", "%.1f")}},
		{"small", "Request and answer of 200 octets on an open connection, ms, while 4 downloads run at 80 Mbit/s", []column{
			plain("p50", "small.ask50", "%.2f"), plain("p99", "small.ask99", "%.2f"),
			plain("same connection after 512 KiB of bulk: p50", "small.mixed50", "%.2f"), plain("p99", "small.mixed99", "%.2f")}},
		{"memory", "Octets for each idle connection (the kernel's: all sockets on the way, host's and server's too)", []column{
			plain("user, 100", "memory100.user", "%.0f"), plain("user, 1,000", "memory1000.user", "%.0f"), plain("user, 10,000", "memory10000.user", "%.0f"),
			plain("kernel, 1,000", "memory1000.kernel", "%.0f"), plain("kernel, 10,000", "memory10000.kernel", "%.0f"),
			plain("of it the relay's, 1,000", "memory1000.charged", "%.0f"), plain("of it the relay's, 10,000", "memory10000.charged", "%.0f")}},
		{"queues", "Links of 50+30 Mbit/s down and 10+5 up whose queues hold a second, 16 transfers: ms of a small request through the relay, and past it through the first link's queue", []column{
			plain("down: relayed p50", "queues.down_ask50", "%.0f"), plain("past it p50", "queues.down_other50", "%.0f"),
			plain("relayed p99", "queues.down_ask99", "%.0f"), plain("past it p99", "queues.down_other99", "%.0f"), plain("Mbit/s", "queues.down_mbit", "%.1f"),
			plain("up: relayed p50", "queues.up_ask50", "%.0f"), plain("past it p50", "queues.up_other50", "%.0f"),
			plain("relayed p99", "queues.up_ask99", "%.0f"), plain("past it p99", "queues.up_other99", "%.0f"), plain("Mbit/s the links sent", "queues.up_sent", "%.1f"), plain("Mbit/s the host wrote", "queues.up_mbit", "%.1f")}},
	}
}

// value is a column's figure for an entry.
func (r *Report) value(c column, e *Entry) (float64, bool) {
	v, ok := e.Median(c.key)
	if !ok || c.ratio == "" {
		return v, ok
	}
	base, ok := r.Entry(c.ratio).Median(c.key)
	return v / base, ok && base > 0
}

// rows makes the cells of a table, with a head; contestants without any figure are left out.
func (r *Report) rows(t table) [][]string {
	head := []string{"relay"}
	for _, c := range t.columns {
		head = append(head, c.head)
	}
	rows := [][]string{head}
	for _, e := range r.Entries {
		row, any := []string{e.Name}, false
		for _, c := range t.columns {
			v, ok := r.value(c, e)
			cell := ""
			if ok {
				cell, any = fmt.Sprintf(c.format, v), true
			}
			row = append(row, cell)
		}
		if any {
			rows = append(rows, row)
		}
	}
	return rows
}

// markdown writes rows as a table.
func markdown(rows [][]string) string {
	var b strings.Builder
	for i, row := range rows {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(&b, "|%s\n", strings.Repeat("---|", len(row)))
		}
	}
	return b.String()
}

// heading says what a table is and how it came about.
func (r *Report) heading() string {
	names := make([]string, 0, len(r.Versions))
	for n, v := range r.Versions {
		names = append(names, n+" "+v)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(strings.ToLower(a), strings.ToLower(b)) })
	var b strings.Builder
	fmt.Fprintf(&b, "%d processors (%s), Linux %s; %s. Medians over the rounds.\n\n", r.Processors, r.Machine, r.Kernel, strings.Join(names, ", "))
	for _, run := range r.Runs {
		rounds := fmt.Sprintf("%d rounds; load average before each", run.Rounds)
		if run.Rounds == 1 {
			rounds = "1 round; load average before it"
		}
		fmt.Fprintf(&b, "- %s: `%s`, %s: %s\n", run.When.Format("2006-01-02 15:04"), run.Command, rounds, strings.Trim(fmt.Sprintf("%.1f", run.Load), "[]"))
	}
	b.WriteString("\n")
	if r.Idle > 0 && r.Idle < 10_000 {
		fmt.Fprintf(&b, "Where it says 10,000 connections they were %d: no more open files are allowed here.\n", r.Idle)
	}
	for _, e := range r.Entries {
		if e.Missing != "" {
			fmt.Fprintf(&b, "Missing: %s (%s).\n", e.Name, e.Missing)
		}
		for _, line := range e.trouble() {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

// contestants lists who is who.
func (r *Report) contestants() [][]string {
	rows := [][]string{{"relay", "kind", "what it is here"}}
	for _, e := range r.Entries {
		about := e.About
		if e.Missing != "" {
			about += " (missing: " + e.Missing + ")"
		}
		rows = append(rows, []string{e.Name, e.Kind, about})
	}
	return rows
}

// Print shows everything on a terminal.
func (r *Report) Print(w io.Writer) {
	fmt.Fprintln(w, r.heading())
	for _, t := range append(tables(), table{}) {
		rows, title := r.rows(t), t.title
		if t.name == "" {
			rows, title = r.targets(), "What was promised"
		}
		if len(rows) < 2 {
			continue
		}
		fmt.Fprintf(w, "%s\n", title)
		width := make([]int, len(rows[0]))
		for _, row := range rows {
			for i, c := range row {
				width[i] = max(width[i], len([]rune(c)))
			}
		}
		for _, row := range rows {
			for i, c := range row {
				if i == 0 {
					fmt.Fprintf(w, "  %-*s", width[i], c)
				} else {
					fmt.Fprintf(w, "  %*s", width[i], c)
				}
			}
			fmt.Fprintln(w)
		}
		fmt.Fprintln(w)
	}
}

// Document writes the tables of dir/BENCHMARKS.md between their markers, and the plots beside it.
func (r *Report) Document(dir string) error {
	path := filepath.Join(dir, "BENCHMARKS.md")
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text := string(b)
	parts := map[string]string{
		"heading":     wrap(r.heading()),
		"contestants": markdown(r.contestants()),
		"targets":     wrap(aboutTargets) + markdown(r.targets()),
		"own":         markdown(r.ownRows()),
		"heap":        r.Heap,
	}
	for _, t := range tables() {
		if rows := r.rows(t); len(rows) > 1 {
			parts[t.name] = wrap(t.title+".\n\n") + markdown(rows)
		}
	}
	for name, part := range parts {
		if text, err = between(text, name, part); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return err
	}
	return r.Plots(filepath.Join(dir, "bench"))
}

// between replaces what stands between the markers of a name.
func between(text, name, part string) (string, error) {
	open, end := "<!-- bench:"+name+" -->\n", "<!-- end -->"
	before, rest, ok := strings.Cut(text, open)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return text, fmt.Errorf("markers of %q are missing: %s...%s", name, open, end)
	}
	return before + open + part + end + after, nil
}
