// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"spillway/testbed/scenario"
	"spillway/testbed/world"
)

// A sleep that ends so late tells of a machine that is busy with something else. The links' emulation sleeps likewise.
const lateFrom = 20 * time.Millisecond

// lateness is the sum of what sleeps took too long, of those that took lateFrom too long, until stop is closed.
func lateness(stop <-chan struct{}) (sum time.Duration) {
	const nap = 5 * time.Millisecond
	for {
		select {
		case <-stop:
			return sum
		default:
		}
		begin := time.Now()
		time.Sleep(nap)
		if late := time.Since(begin) - nap; late >= lateFrom {
			sum += late
		}
	}
}

// watchEvery is how often the subflows are looked at for -v.
const watchEvery = 200 * time.Millisecond

// watch writes down, a few times a second, what the kernel of the end that sends tells of the subflows (ss, TCP_INFO).
func (m matrix) watch(w *world.World, stop <-chan struct{}) (lines []string) {
	begin := time.Now()
	for {
		select {
		case <-stop:
			return lines
		case <-time.After(watchEvery):
		}
		from, side := w.HAG, "sport"
		if m.up {
			from, side = w.CPE, "dport"
		}
		out, err := from.Output("ss", "-tinOH", side, "=", fmt.Sprint(world.Port))
		if err != nil {
			return append(lines, err.Error())
		}
		for _, l := range strings.Split(strings.TrimSpace(out), "\n") {
			lines = append(lines, fmt.Sprintf("  %5.2f s   %s", time.Since(begin).Seconds(), subflow(l)))
		}
	}
}

// subflow is what matters of a line of ss.
func subflow(line string) string {
	words := strings.Fields(line)
	if len(words) < 5 {
		return line
	}
	out := fmt.Sprintf("to %-20s waiting %7s", words[4], words[2])
	for _, w := range words[5:] {
		key, _, _ := strings.Cut(w, ":")
		if slices.Contains([]string{"cwnd", "ssthresh", "rtt", "minrtt", "unacked", "retrans", "lost", "notsent", "snd_wnd", "flags"}, key) {
			out += " " + w
		}
	}
	return out
}

// tellRun prints the links' rates over time, the subflows, and what the router says of it.
func tellRun(w *world.World, run scenario.Run, subflows []string) {
	run.Timeline(os.Stdout, 250*time.Millisecond)
	for _, line := range subflows {
		fmt.Println(line)
	}
	fmt.Println("  began", run.Start.Format("15:04:05.000"))
	fmt.Print(w.Router.Log())
	if why, err := w.Router.Control("why", nil); err == nil {
		fmt.Println(string(why))
	}
}
