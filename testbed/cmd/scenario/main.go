// SPDX-License-Identifier: Apache-2.0

// Command scenario lists and plays scenarios against a router in namespaces: those of the tests, and those of policybench by name.
//
//	scenario [OPTION]... [NAME...]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"spillway/testbed/policybench"
	"spillway/testbed/scenario"
	"spillway/testbed/usage"
	"spillway/testbed/world"
)

const about = `scenario [OPTION]... [NAME...]

Plays scenarios against a router in namespaces, with the aims beside the figures; it ends with 1 when one is missed. A NAME is a
scenario's; without one they are listed.

  scenario list                           what there is
  scenario all                            every one of the tests'
  scenario -v cut blackhole               these, with all logs and the rates over time
  scenario policy/testdata/cut.txt        with real parts, what the simulation of the policy plays
  scenario -keep DIR stand                the world stands until Ctrl-C, to be looked at

Needs root. docs/FAULTS.md and docs/POLICY.md have figures.
`

func main() {
	verbose := flag.Bool("v", false, "print all logs and the rates over time too")
	debug := flag.Bool("debug", false, "have the daemon log every connection that fails")
	keep := flag.String("keep", "", "write logs to this directory and leave them there")
	picture := flag.String("picture", "", "draw NAME.svg in this directory: what the links carried, and what was decided")
	names := usage.Parse(flag.CommandLine, os.Args[1:], about)
	world.Main("scenario", func(ctx context.Context) error {
		return run(ctx, names, shown{*verbose, *debug, *keep, *picture})
	})
}

// shown is what is to be seen of a run: everything on the terminal, logs and pictures in directories, "" for none.
type shown struct {
	verbose       bool
	debug         bool // the daemon tells of each connection that fails
	keep, picture string
}

func run(ctx context.Context, names []string, show shown) error {
	if len(names) == 0 || names[0] == "list" {
		for _, s := range known() {
			fmt.Printf("%-26s %s\n", s.Name, s.About)
		}
		return nil
	}
	var list []scenario.Scenario
	var err error
	if names[0] != "stand" {
		if list, err = named(names); err != nil {
			return err
		}
	}
	bin, err := world.Build()
	if err != nil {
		return err
	}
	if names[0] == "stand" {
		return stand(ctx, bin, show.keep)
	}
	failed := 0
	for _, s := range list {
		if ctx.Err() != nil {
			break
		}
		if show.debug {
			s.Settings.LogLevel = "debug"
		}
		ok, err := one(ctx, s, bin, show)
		if errors.Is(err, world.ErrLacks) {
			fmt.Printf("%s: skipped: %v\n", s.Name, err)
			continue
		}
		if err != nil {
			fmt.Printf("%s: %v\n", s.Name, err)
		}
		if !ok {
			failed++
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d scenarios failed", failed)
	}
	return ctx.Err()
}

// named are the scenarios of these names, in their order; of several of one name all. A name that ends in .txt is a script's.
func named(names []string) (list []scenario.Scenario, err error) {
	for _, name := range names {
		before := len(list)
		switch {
		case name == "all":
			list = append(list, scenario.Every()...)
		case strings.HasSuffix(name, ".txt"):
			s, err := scenario.FromScript(name)
			if err != nil {
				return nil, err
			}
			list = append(list, s)
		default:
			list = append(list, slices.DeleteFunc(known(), func(s scenario.Scenario) bool { return s.Name != name })...)
		}
		if len(list) == before {
			return nil, fmt.Errorf("scenario %q: there is none of that name; `scenario list` lists them", name)
		}
	}
	return list, nil
}

// known are all scenarios there are.
func known() []scenario.Scenario {
	return append(scenario.Every(), policybench.All(20*time.Second)...)
}

func one(ctx context.Context, s scenario.Scenario, bin world.Binaries, show shown) (ok bool, err error) {
	dir, remove, err := directory(show.keep)
	if err != nil {
		return false, err
	}
	defer remove()
	var broken []string
	var drawn error
	findings, err := s.InWorld(ctx, dir, bin, func(f string, args ...any) { fmt.Printf("  "+f+"\n", args...) }, func(w *world.World, run *scenario.Run) {
		broken = run.Complaints()
		if show.picture != "" {
			drawn = draw(run, show.picture)
		}
		if show.verbose {
			fmt.Print(w.Logs(20_000))
			counters(w)
			run.Timeline(os.Stdout, 250*time.Millisecond)
			run.Tally.Print(os.Stdout)
			fmt.Println("--- the slowest")
			for _, line := range run.Laggards() {
				fmt.Println("  " + line)
			}
		}
	})
	if err != nil {
		return false, err
	}
	scenario.Print(os.Stdout, s, findings)
	for _, line := range broken {
		fmt.Println("  " + line)
	}
	if drawn != nil {
		return false, drawn
	}
	return !slices.ContainsFunc(findings, func(f scenario.Finding) bool { return !f.Within }), nil
}

// draw writes the picture of a run.
func draw(run *scenario.Run, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, run.Name+".svg"))
	if err != nil {
		return err
	}
	return errors.Join(run.Picture(f), f.Close())
}

// directory is where logs go: one that is kept, or one that is removed.
func directory(keep string) (dir string, remove func(), err error) {
	if keep != "" {
		return keep, func() {}, os.MkdirAll(keep, 0o755)
	}
	dir, err = os.MkdirTemp("", "spillway-scenario-")
	return dir, func() { os.RemoveAll(dir) }, err
}

// stand leaves a world standing until ctx ends.
func stand(ctx context.Context, bin world.Binaries, keep string) error {
	dir, remove, err := directory(keep)
	if err != nil {
		return err
	}
	defer remove()
	w, err := world.Make(world.Config{Links: world.Two()}, dir, bin)
	if err != nil {
		return err
	}
	defer w.Close()
	if err := (scenario.Scenario{}).Ready(w); err != nil {
		fmt.Println(err)
	}
	fmt.Printf("logs and control socket in %s; Ctrl-C ends it\n", dir)
	for _, ns := range []string{w.LAN.Name, w.CPE.Name, w.HAG.Name, w.SRV.Name} {
		fmt.Printf("  ip netns exec %s sh\n", ns)
	}
	<-ctx.Done()
	return nil
}

// counters prints what the daemon and its kernel counted, as far as it isn't zero.
func counters(w *world.World) {
	status, err := w.Router.Status()
	if err != nil {
		return
	}
	fmt.Println("--- counters")
	for _, name := range slices.Sorted(maps.Keys(status.Counters)) {
		if n := status.Counters[name]; n > 0 {
			fmt.Printf("%s %d\n", name, n)
		}
	}
	out, _ := w.CPE.Output("cat", "/proc/net/netstat")
	var names []string
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] != "MPTcpExt:" {
			continue
		}
		for i := range f { // a line of names, then one of values
			if names != nil && i > 0 && f[i] != "0" {
				fmt.Println(names[i], f[i])
			}
		}
		names = f
	}
}
