// SPDX-License-Identifier: Apache-2.0

// Command setupbench measures what a connection's set-up costs by each upstream protocol: the time from a LAN host's
// connect to the first octet of the server's answer to its request. It writes build/bench/setup.json and a table.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"spillway/testbed/linkemu"
	"spillway/testbed/usage"
	"spillway/testbed/ways"
	"spillway/testbed/world"
)

const about = `setupbench [OPTION]...

Measures what a connection's set-up costs by each upstream protocol: the time from a LAN host's connect to the first octet of the
server's answer to its request. The cells are round trips of 20 and 100 ms between router and concentrator, without loss and with 2 %.
Needs root. docs/bench-setup.md has figures.
`

// cells are what each way is measured on.
func cells() []cell { return []cell{{20, 0}, {20, 0.02}, {100, 0}, {100, 0.02}} }

func main() {
	out := flag.String("json", "build/bench/setup.json", "file for the figures")
	rounds := flag.Int("rounds", 5, "rounds; the ways take turns in each")
	each := flag.Int("each", 12, "connections of a way in a round, all at once")
	path := flag.Int("path", 0, "only cells with this round trip, 20 or 100 `ms`; 0: all")
	usage.Alone(flag.CommandLine, os.Args[1:], about)
	if *path != 0 && !slices.ContainsFunc(cells(), func(c cell) bool { return c.PathMs == *path }) {
		usage.Wrong("setupbench", fmt.Errorf("-path %d: there is no cell with this round trip; 20 or 100", *path))
	}
	world.Main("setupbench", func(ctx context.Context) error { return run(ctx, *out, *rounds, *each, *path) })
}

// cell is one kind of line between router and concentrator.
type cell struct {
	PathMs int     `json:"path_ms"` // round trip
	Loss   float64 `json:"loss"`    // of packets, each direction
}

// serverMs is the round trip between concentrator and server.
const serverMs = 10

func run(ctx context.Context, out string, rounds, each, path int) error {
	bin, err := world.Build()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "spillway-setup-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	links := []world.Link{world.DSL(100, 40), world.LTE(100, 40)}
	half := linkemu.Shape{Delay: serverMs / 2 * time.Millisecond}
	w, err := world.Make(world.Config{Links: links, ServerDelay: half}, dir, bin)
	if err != nil {
		return err
	}
	defer w.Close()
	b := &bench{Home: ways.Home{World: w}, rounds: rounds, each: each}
	if err := b.prepare(); err != nil {
		return fmt.Errorf("%w\n%s", err, w.Logs(2000))
	}
	for _, c := range cells() {
		if path != 0 && c.PathMs != path {
			continue
		}
		if err := b.measure(ctx, c, b.ways()); err != nil {
			return fmt.Errorf("%w\n%s", err, w.Logs(2000))
		}
	}
	if err := b.measure(ctx, cell{20, 0.05}, racing()); err != nil {
		return err
	}
	b.table(os.Stdout)
	return write(out, b.report())
}

func write(name string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, append(text, '\n'), 0o644)
}
