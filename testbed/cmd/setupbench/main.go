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
	"time"

	"spillway/testbed/linkemu"
	"spillway/testbed/ways"
	"spillway/testbed/world"
)

func main() {
	out := flag.String("json", "build/bench/setup.json", "file for the figures")
	rounds := flag.Int("rounds", 5, "rounds; the ways take turns in each")
	each := flag.Int("each", 12, "connections of a way in a round, all at once")
	path := flag.Int("path", 0, "ms; only cells with this round trip")
	flag.Parse()
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
	for _, c := range []cell{{20, 0}, {20, 0.02}, {100, 0}, {100, 0.02}} {
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
