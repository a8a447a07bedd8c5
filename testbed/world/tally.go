// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"spillway/testbed/netns"
)

// Tally is the kernels' counters of TCP and MPTCP (/proc/net/netstat, its groups TcpExt and MPTcpExt) by the place in the world and by
// their name, those of MPTcpExt with "MP." before it: what was dropped, repeated, or fell back to TCP.
type Tally map[string]map[string]uint64

// netstat is read in each place. thread-self: /proc/net is that of the process's first thread, which lives in another namespace.
const netstat = "/proc/thread-self/net/netstat"

// Tally reads the counters. A place that can't be read has none: they are never worth failing for.
func (w *World) Tally() Tally {
	t := Tally{}
	for place, ns := range map[string]*netns.NS{"lan": w.LAN, "router": w.CPE, "concentrator": w.HAG, "server": w.SRV} {
		var text string
		if place == "router" && w.machine != nil {
			text, _ = w.machine.Read(netstat)
		} else {
			ns.Do(func() error {
				b, err := os.ReadFile(netstat)
				text = string(b)
				return err
			})
		}
		t[place] = netstats(text)
	}
	return t
}

// netstats reads pairs of lines, "Group: names..." and "Group: values...".
func netstats(text string) map[string]uint64 {
	all := map[string]uint64{}
	var names []string
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || words[0] == "IpExt:":
			names = nil
		case len(names) == len(words) && names[0] == words[0]:
			for i, word := range words[1:] {
				name := names[i+1]
				if names[0] == "MPTcpExt:" {
					name = "MP." + name // both groups have a RcvPruned
				}
				all[name], _ = strconv.ParseUint(word, 10, 64)
			}
			names = nil
		default:
			names = words
		}
	}
	return all
}

// Since is what has grown since an earlier look, and by how much.
func (t Tally) Since(before Tally) Tally {
	grown := Tally{}
	for place, counters := range t {
		grown[place] = map[string]uint64{}
		for name, n := range counters {
			if was := before[place][name]; n > was {
				grown[place][name] = n - was
			}
		}
	}
	return grown
}

// Print writes a line for each place.
func (t Tally) Print(to io.Writer) {
	for _, place := range slices.Sorted(maps.Keys(t)) {
		fmt.Fprintf(to, "  counted at %s:", place)
		for _, name := range slices.Sorted(maps.Keys(t[place])) {
			fmt.Fprintf(to, " %s %d", name, t[place][name])
		}
		fmt.Fprintln(to)
	}
}
