// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"fmt"
	"io"

	"spillway/testbed/qemu/guest"
)

// Print writes what was measured for people.
func (f Figures) Print(w io.Writer) {
	mb := func(n int64) float64 { return float64(n) / (1 << 20) }
	row := func(what, format string, a ...any) { fmt.Fprintf(w, "  %-34s %s\n", what, fmt.Sprintf(format, a...)) }
	order := "little-endian"
	if f.About.Big {
		order = "big-endian"
	}
	row("kernel, machine", "%s, %s, %s, %d MB (%.0f for the kernel's use)", f.About.Kernel, f.About.Machine, order, f.Memory, mb(f.About.Total))
	row("boot, s", "%.1f by the guest's clock, %.1f by the host's, until the first answer", f.About.Boot, f.Booted.Seconds())
	row("plain forwarding, Mbit/s", "%.0f", f.Forward)
	cost := func(what string, c Cost) {
		row(what, "%.1f Mbit/s, %.1f s of CPU per GiB by the process, %.1f by the machine", c.Mbit, c.Process, c.Machine)
	}
	cost("splice relay (the yardstick)", f.Spliced)
	cost("spillway", f.Relayed)
	process, machine := f.Relative()
	row("spillway relative to the yardstick", "%s by the process, %s by the machine", process, machine)
	row("RSS idle, MB", "%s", memory(f.Idle))
	aim := ""
	if f.Memory <= small {
		aim = fmt.Sprintf(" (limit %.0f)", mb(most))
	}
	row(fmt.Sprintf("RSS with %d connections, MB", f.Connections), "%s%s; %.1f left to others; %d connections failed, %d processes killed",
		memory(f.Connected), aim, mb(f.Available), f.Failed, f.OOM)
	row("first relayed connection, ms", "%d from the daemon's start, %d from SIGTERM of the one before", f.Start.Milliseconds(), f.Restart.Milliseconds())
}

// A router of so many MB, and the octets that the daemon may have there with all connections.
const (
	small = 64
	most  = 10 << 20
)

// Over tells whether the daemon has more memory than a small router can spare.
func (f Figures) Over() bool { return f.Memory <= small && f.Connected.RSS >= most }

// Relative is what relaying costs as a multiple of the yardstick's cost. A guest counts by the ticks of its timer, and a short transfer may
// fall between them: then there is no telling.
func (f Figures) Relative() (process, machine string) {
	ratio := func(a, b float64) string {
		if b == 0 {
			return "?"
		}
		return fmt.Sprintf("%.1f", a/b)
	}
	return ratio(f.Relayed.Process, f.Spliced.Process), ratio(f.Relayed.Machine, f.Spliced.Machine)
}

// memory is a daemon's: what it has, and of that its own and the program's pages.
func memory(u guest.Usage) string {
	mb := func(n int64) float64 { return float64(n) / (1 << 20) }
	return fmt.Sprintf("%.1f (%.1f its own, %.1f of the program)", mb(u.RSS), mb(u.Anon), mb(u.File))
}
