// SPDX-License-Identifier: Apache-2.0

// Command matrix looks for pairs of links on which bonding is worse than the better link alone.
//
//	matrix [OPTION]... [CELL]...
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"spillway/testbed/linkemu"
	"spillway/testbed/usage"
	"spillway/testbed/world"
)

const about = `matrix [OPTION]... [CELL]...

Looks for pairs of links on which bonding is worse than the better link alone. In each cell (none named: in all) one connection
transfers as fast as it can: by LTE alone, by DSL alone, by both, in one world one after the other. It ends with 1 when both are less
than -least of the better one. "late" is for how long the machine did something else while both carried: a figure with much of it
says little. Needs root. docs/FAULTS.md has figures.

  matrix -nominal -for 12s                both links only: a third of the time
  matrix -up -v far-lossy                 one cell, uploads, with the router's log and the subflows
`

func main() {
	m := matrix{}
	flag.DurationVar(&m.length, "for", 8*time.Second, "how long a transfer takes")
	flag.BoolVar(&m.up, "up", false, "upload instead of download")
	flag.Float64Var(&m.least, "least", 0.95, "the least ratio of both links to the better one")
	flag.BoolVar(&m.verbose, "v", false, "print the router's log and the links' rates while both carry")
	flag.BoolVar(&m.unguarded, "unguarded", false, "without the guard (never_worse = false): what the kernel alone makes of it")
	flag.BoolVar(&m.nominal, "nominal", false, "play both links only, and take 15/16 of the better one's rate for what it carries alone")
	flag.StringVar(&m.mode, "mode", "overflow", "the router's policy.mode")
	flag.StringVar(&m.sysctl, "sysctl", "", "set in the namespaces: cpe:NAME=VALUE;hag:NAME=VALUE")
	out := flag.String("json", "", "write the figures to this file")
	names := usage.Parse(flag.CommandLine, os.Args[1:], about)
	var known []string
	for _, c := range cells() {
		known = append(known, c.Name)
	}
	if err := usage.Known("cell", names, known); err != nil {
		usage.Wrong("matrix", err)
	}
	world.Main("matrix", func(ctx context.Context) error { return m.run(ctx, names, *out) })
}

// cell is a pair of links. DSL has 15 ms one way and the usual queue.
type cell struct {
	Name     string
	DSL, LTE float64       // Mbit/s, both ways
	Delay    time.Duration // LTE's, one way
	Loss     float64       // LTE's, both ways
	Buffer   time.Duration // LTE's queue at its rate; 0: the usual
}

// cells vary one property from a pair of equals, then several at once.
func cells() (all []cell) {
	base := cell{DSL: 20, LTE: 20, Delay: 15 * time.Millisecond}
	add := func(name string, change func(*cell)) {
		c := base
		c.Name = name
		change(&c)
		all = append(all, c)
	}
	for _, lte := range []float64{20, 10, 5, 2, 1} {
		add(fmt.Sprintf("rate-%.0f:1", 20/lte), func(c *cell) { c.LTE = lte })
	}
	for _, dsl := range []float64{10, 2, 1} {
		add(fmt.Sprintf("rate-1:%.0f", 20/dsl), func(c *cell) { c.DSL = dsl })
	}
	for _, n := range []int{3, 10} {
		add(fmt.Sprintf("rtt-1:%d", n), func(c *cell) { c.Delay = time.Duration(15*n) * time.Millisecond })
	}
	for _, percent := range []float64{0.5, 1, 2, 5} {
		add(fmt.Sprintf("loss-%g%%", percent), func(c *cell) { c.Loss = percent / 100 })
	}
	for _, ms := range []int{50, 250, 1000, 2000} {
		add(fmt.Sprintf("buffer-%dms", ms), func(c *cell) { c.Buffer = time.Duration(ms) * time.Millisecond })
	}
	add("slow-far", func(c *cell) { c.LTE, c.Delay = 2, 150*time.Millisecond })
	add("slow-lossy", func(c *cell) { c.LTE, c.Loss = 2, 0.05 })
	add("slow-bloated", func(c *cell) { c.LTE, c.Buffer = 2, 2*time.Second })
	add("far-lossy", func(c *cell) { c.Delay, c.Loss = 150*time.Millisecond, 0.02 })
	add("far-bloated", func(c *cell) { c.Delay, c.Buffer = 150*time.Millisecond, 2*time.Second })
	add("worst", func(c *cell) { c.LTE, c.Delay, c.Loss, c.Buffer = 1, 150*time.Millisecond, 0.05, 2*time.Second })
	return all
}

func (c cell) links() []world.Link {
	dsl, lte := world.DSL(c.DSL, c.DSL), world.LTE(c.LTE, c.LTE)
	s := linkemu.Shape{Rate: c.LTE * 1e6, Delay: c.Delay, Loss: c.Loss, Queue: int(c.LTE * 1e6 / 8 * c.Buffer.Seconds())}
	lte.Up, lte.Down = s, s
	return []world.Link{dsl, lte}
}

// figures of a cell, Mbit/s of payload.
type figures struct {
	Cell           cell
	DSL, LTE, Both float64
	Ratio          float64       // of both to the better one
	Late           time.Duration // the machine had other things to do, while both carried
}

type matrix struct {
	length time.Duration
	up     bool
	least  float64

	verbose, unguarded, nominal bool

	sysctl, mode string
}

func (m matrix) run(ctx context.Context, names []string, out string) error {
	bin, err := world.Build()
	if err != nil {
		return err
	}
	var all []figures
	var under []string
	fmt.Printf("%-14s %6s %6s %7s %6s %7s   %8s %8s %8s %7s %6s\n", "cell", "dsl", "lte", "delay", "loss", "buffer", "dsl", "lte", "both", "ratio", "late")
	for _, c := range cells() {
		if len(names) > 0 && !slices.Contains(names, c.Name) {
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		f, err := m.play(c, bin)
		if err != nil {
			return fmt.Errorf("cell %s: %w", c.Name, err)
		}
		fmt.Printf("%-14s %6g %6g %7v %5.1f%% %7v   %8.2f %8.2f %8.2f %7.2f %4.0fms%s\n", c.Name, c.DSL, c.LTE, c.Delay, 100*c.Loss, c.Buffer, f.DSL, f.LTE, f.Both, f.Ratio, f.Late.Seconds()*1e3,
			map[bool]string{true: "  under"}[f.Ratio < m.least])
		all = append(all, f)
		if f.Ratio < m.least {
			under = append(under, c.Name)
		}
	}
	if out != "" {
		text, err := json.MarshalIndent(all, "", " ")
		if err == nil {
			err = os.WriteFile(out, append(text, '\n'), 0o644)
		}
		if err != nil {
			return err
		}
	}
	if len(under) > 0 {
		return fmt.Errorf("bonding is worse than one link in %d of %d cells: %s", len(under), len(all), strings.Join(under, " "))
	}
	return nil
}
