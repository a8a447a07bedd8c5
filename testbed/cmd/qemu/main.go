// SPDX-License-Identifier: Apache-2.0

// Command qemu plays the testbed's scenarios in emulated routers: Debian's kernels for MIPS, ARM and x86.
//
//	qemu list                                       guests and scenarios
//	qemu fetch [-guest NAME,...]                    fetch and build what guests boot
//	qemu run [-guest NAME,...] [SCENARIO...]        boot, measure, play; no scenario named: all; "none": only measure
//
// It ends non-zero if a scenario fails or a guest lacks memory.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"spillway/testbed/qemu"
	"spillway/testbed/scenario"
	"spillway/testbed/world"
)

// options are the flags of all verbs.
type options struct {
	guests   string
	keep     string
	cache    string
	fraction float64
	verbose  bool
	transfer time.Duration
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	flags := flag.NewFlagSet("qemu", flag.ExitOnError)
	flags.StringVar(&o.guests, "guest", "", "guests, comma-separated; all that Debian has a kernel for if empty")
	flags.StringVar(&o.keep, "keep", "", "write logs and consoles to this directory and leave them there")
	flags.StringVar(&o.cache, "cache", "build/qemu", "directory of kernels and images")
	flags.Float64Var(&o.fraction, "fraction", 0, "part of the links' rates to play at; 0: what the guest's own limit allows")
	flags.BoolVar(&o.verbose, "v", false, "print the rates over time too")
	flags.DurationVar(&o.transfer, "transfer", 5*time.Second, "length of each measuring transfer")
	verb := "list"
	if len(os.Args) > 1 {
		verb = os.Args[1]
		flags.Parse(os.Args[2:])
	}
	if err := run(ctx, verb, flags.Args(), o); err != nil {
		fmt.Fprintln(os.Stderr, "qemu:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, verb string, args []string, o options) error {
	guests, err := o.selected()
	if err != nil {
		return err
	}
	switch verb {
	case "list":
		for _, g := range qemu.Guests() {
			fmt.Printf("%-14s %4d MB  %s\n", g.Name, g.Memory, g.About)
		}
		for _, s := range scenario.All() {
			fmt.Printf("%-26s %s\n", s.Name, s.About)
		}
		return nil
	case "fetch":
		for _, g := range guests {
			if _, err := o.store().Prepare(g); err != nil {
				return err
			}
		}
		return nil
	case "run":
		return runAll(ctx, guests, args, o)
	}
	return fmt.Errorf("verb %q: known are list, fetch, run", verb)
}

// selected is the guests named; all with a kernel of Debian if none is.
func (o options) selected() (all []qemu.Guest, err error) {
	for name := range strings.SplitSeq(o.guests, ",") {
		if name == "" {
			return slices.DeleteFunc(qemu.Guests(), func(g qemu.Guest) bool { return g.Kernel.Built != "" }), nil
		}
		g, err := qemu.Find(name)
		if err != nil {
			return nil, err
		}
		all = append(all, g)
	}
	return all, nil
}

func (o options) store() qemu.Debian {
	dir, err := filepath.Abs(o.cache)
	if err != nil {
		dir = o.cache
	}
	return qemu.Debian{Dir: dir, Log: func(f string, a ...any) { fmt.Printf("  "+f+"\n", a...) }}
}

func runAll(ctx context.Context, guests []qemu.Guest, names []string, o options) error {
	bin, err := world.Build()
	if err != nil {
		return err
	}
	var failed []string
	for _, g := range guests {
		if ctx.Err() != nil {
			break
		}
		bad, err := o.runGuest(ctx, g, bin, names)
		if err != nil {
			fmt.Printf("%s: %v\n", g.Name, err)
			bad = append(bad, g.Name)
		}
		failed = append(failed, bad...)
	}
	if len(failed) > 0 {
		return fmt.Errorf("failed: %s", strings.Join(failed, ", "))
	}
	return ctx.Err()
}

// runGuest measures a guest, plays scenarios in it and returns what failed.
func (o options) runGuest(ctx context.Context, g qemu.Guest, bin world.Binaries, names []string) (failed []string, err error) {
	if _, err := exec.LookPath(g.QEMU); err != nil {
		return nil, fmt.Errorf("install the Debian package %s: %w", g.Package, err)
	}
	fmt.Printf("== %s: %s\n", g.Name, g.About)
	image, err := o.store().Prepare(g)
	if err != nil {
		return nil, err
	}
	b := qemu.Bench{Guest: g, Image: image, Bin: bin, Log: func(f string, a ...any) { fmt.Printf("    "+f+"\n", a...) }}
	dir, remove, err := o.directory(g.Name + "-measure")
	if err != nil {
		return nil, err
	}
	if !image.Rules {
		defer remove()
		fmt.Println("  there is no nft for this guest: no scenarios")
		return nil, b.Bare(dir, os.Stdout)
	}
	f, err := b.Measure(dir, o.transfer)
	remove()
	if err != nil {
		return nil, err
	}
	f.Print(os.Stdout)
	if f.Failed > 0 || f.OOM > 0 {
		failed = append(failed, g.Name+"/connections")
	}
	for _, s := range scenario.All() {
		if len(names) > 0 && !slices.Contains(names, s.Name) || ctx.Err() != nil {
			continue
		}
		if s.Name == "thousands" {
			s = scenario.Thousands(f.Connections)
		}
		ok, err := o.play(ctx, b, s, min(f.Forward, f.Relayed.Mbit))
		if errors.Is(err, qemu.ErrNotHere) {
			fmt.Printf("%s: skipped: %v\n", s.Name, err)
			continue
		}
		if err != nil {
			fmt.Printf("%s: %v\n", s.Name, err)
		}
		if !ok {
			failed = append(failed, g.Name+"/"+s.Name)
		}
	}
	return failed, nil
}

func (o options) play(ctx context.Context, b qemu.Bench, s scenario.Scenario, limit float64) (ok bool, err error) {
	if err := qemu.Fits(s); err != nil {
		return true, err
	}
	fraction := o.fraction
	if fraction == 0 {
		fraction = qemu.Fraction(s.Links, limit)
	}
	dir, remove, err := o.directory(b.Guest.Name + "-" + s.Name)
	if err != nil {
		return false, err
	}
	defer remove()
	run, err := b.Play(ctx, s, fraction, dir)
	if err != nil {
		return false, err
	}
	findings := run.Findings()
	fmt.Printf("[%s, at %.0f %% of the rates] ", b.Guest.Name, 100*fraction)
	scenario.Print(os.Stdout, s, findings)
	for name, d := range run.Results {
		if d.Failed > 0 {
			fmt.Printf("  %s: %d failed: %q\n", name, d.Failed, d.Errors)
		}
	}
	if o.verbose {
		run.Timeline(os.Stdout, 250*time.Millisecond)
	}
	return len(qemu.Failing(findings)) == 0, nil
}

// directory is where logs go: one that is kept, or one that is removed.
func (o options) directory(name string) (dir string, remove func(), err error) {
	if o.keep != "" {
		dir = filepath.Join(o.keep, name)
		return dir, func() {}, os.MkdirAll(dir, 0o755)
	}
	dir, err = os.MkdirTemp("", "spillway-qemu-")
	return dir, func() { os.RemoveAll(dir) }, err
}
