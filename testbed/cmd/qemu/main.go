// SPDX-License-Identifier: Apache-2.0

// Command qemu plays the testbed's scenarios in emulated routers: Debian's kernels for MIPS, ARM and x86.
//
//	qemu [VERB] [OPTION]... [SCENARIO...]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"spillway/testbed/policybench"
	"spillway/testbed/qemu"
	"spillway/testbed/scenario"
	"spillway/testbed/usage"
	"spillway/testbed/world"
)

// options are the flags of all verbs.
type options struct {
	guests   string
	keep     string
	cache    string
	json     string
	fraction float64
	verbose  bool
	transfer time.Duration
	measure  bool
	cpus     int
	memory   int
	limit    time.Duration
	capture  bool
	book     *[]record // what this run has found
}

const about = `qemu [VERB] [OPTION]... [SCENARIO... | -- COMMAND [ARGUMENT]...]

Plays the testbed's scenarios in emulated routers: Debian's kernels for MIPS, ARM and x86. The verbs:

  list                      guests and scenarios (without a verb, too)
  fetch                     fetch and build what guests boot
  run [SCENARIO...]         boot, measure, play; none named: the matrix; "all": all stories; "none": only measure
  table FILE                tables of what runs with -json FILE have found, medians
  pc -- COMMAND             run a command on another kernel: in an emulated PC with this machine's files

The guest "namespaces" is the router in a network namespace, for figures to compare with. A run ends with a table of all guests, and
with 1 if a scenario fails or a guest lacks memory. Needs root. docs/ROUTERS.md has figures.

The PC needs no root here, and the command is root there, in this directory. Files are read-only, and what is written stays in memory, but
for what goes to /kept, which is the directory of -keep. It ends with what the command ended with; 125: it did not come to that.

  qemu run -guest mipsel-6.1,armhf-6.1 -keep /tmp/logs cut overflow
  qemu pc -guest amd64-6.1 -- go test ./mptcp
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o := options{book: new([]record)}
	flags := flag.NewFlagSet("qemu", flag.ExitOnError)
	flags.StringVar(&o.guests, "guest", "", "guests, comma-separated; all if empty, but one whose kernel of our own was never built")
	flags.StringVar(&o.keep, "keep", "", "write logs and consoles to this directory and leave them there")
	flags.StringVar(&o.cache, "cache", "build/qemu", "directory of kernels and images")
	flags.StringVar(&o.json, "json", "", "append what was found to this file, for table")
	flags.Float64Var(&o.fraction, "fraction", 0, "part of the links' rates to play at; 0: what the guest's own limit allows, and all in namespaces")
	flags.BoolVar(&o.verbose, "v", false, "print the rates over time too")
	flags.DurationVar(&o.transfer, "transfer", 5*time.Second, "length of each measuring transfer")
	flags.BoolVar(&o.capture, "capture", false, "with -keep: have the emulator write what passes the guest's devices, as net0.pcap (LAN) and so on")
	flags.BoolVar(&o.measure, "measure", true, "measure the guest before scenarios are played; without, its declared limit counts")
	flags.IntVar(&o.cpus, "cpus", 2, "processors of a PC")
	flags.IntVar(&o.memory, "memory", 4096, "memory of a PC, in MB")
	flags.DurationVar(&o.limit, "limit", time.Hour, "how long a PC may run")
	verb, args := "list", os.Args[1:]
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		verb, args = args[0], args[1:]
	}
	args = usage.Parse(flags, args, about)
	if err := usage.Known("verb", []string{verb}, []string{"list", "fetch", "run", "table", "pc"}); err != nil {
		usage.Wrong("qemu", err)
	}
	if verb == "pc" {
		os.Exit(runPC(ctx, args, o))
	}
	if err := run(ctx, verb, args, o); err != nil {
		fmt.Fprintln(os.Stderr, "qemu:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, verb string, args []string, o options) error {
	switch verb {
	case "table":
		if len(args) == 0 {
			usage.Wrong("qemu", errors.New("table: name a file that run -json has written"))
		}
		return tables(args)
	case "list":
		for _, g := range qemu.Guests() {
			fmt.Printf("%-14s %4d MB  %s\n", g.Name, g.Memory, g.About)
		}
		for _, s := range known() {
			fmt.Printf("%-26s %s\n", s.Name, s.About)
		}
		return nil
	}
	guests, err := o.selected()
	if err != nil {
		return err
	}
	if verb == "run" {
		return runAll(ctx, guests, args, o)
	}
	for _, g := range guests { // fetch
		if _, err := o.store().Prepare(g, true); err != nil {
			return err
		}
	}
	return nil
}

// known are all scenarios there are: the stories, faults and loads, what only a machine has, and what the policy promises,
// whose names begin with "policy/" here: some are those of stories.
func known() []scenario.Scenario {
	promises := policybench.All(20 * time.Second)
	for i := range promises {
		promises[i].Name = "policy/" + promises[i].Name
		for j := range promises[i].Expect {
			if e := &promises[i].Expect[j]; e.Key == "broken" {
				e.Bound = 0 // a benchmark only tells; here it fails
			}
		}
	}
	return append(append(scenario.Every(), scenario.ClockSet()), promises...)
}

// matrix is what every router must do: bonding both ways and over IPv6, overflow, failover by carrier and by blackhole, SIGKILL,
// reload, native MPTCP.
var matrix = []string{"policy/bond-down", "policy/bond-up", "bond-down-v6", "overflow", "cut", "blackhole", "router-killed", "reload", "native-mptcp"}

// named picks scenarios; without a name the matrix.
func named(names []string) (all []scenario.Scenario, err error) {
	switch {
	case len(names) == 0:
		names = matrix
	case names[0] == "all":
		return scenario.All(), nil
	case names[0] == "none":
		return nil, nil
	}
	for _, name := range names {
		found := slices.DeleteFunc(known(), func(s scenario.Scenario) bool { return s.Name != name })
		if len(found) == 0 {
			return nil, fmt.Errorf("scenario %q: there is none of that name; `qemu list` lists them", name)
		}
		all = append(all, found...)
	}
	return all, nil
}

// namespaces is the guest that is none.
const namespaces = "namespaces"

// selected is the guests named; if none is, all that Debian has a kernel for, and the one that was built if it was.
func (o options) selected() (all []qemu.Guest, err error) {
	for name := range strings.SplitSeq(o.guests, ",") {
		if name == "" {
			return slices.DeleteFunc(qemu.Guests(), func(g qemu.Guest) bool {
				if g.Kernel.Built == "" {
					return false
				}
				_, err := o.store().Kernel(g.Kernel)
				if err != nil {
					fmt.Printf("%s: left out: %v\n", g.Name, err)
				}
				return err != nil
			}), nil
		}
		if name == namespaces {
			all = append(all, qemu.Guest{Name: namespaces, About: "the router in a network namespace of this machine"})
			continue
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
	list, err := named(names)
	if err != nil {
		return err
	}
	bin, err := world.Build()
	if err != nil {
		return err
	}
	var failed []string
	for _, g := range guests {
		if ctx.Err() != nil {
			break
		}
		bad, err := o.runGuest(ctx, g, bin, list)
		if err != nil {
			fmt.Printf("%s: %v\n", g.Name, err)
			bad = append(bad, g.Name)
			o.note(record{Guest: g.Name, Scenario: "measure", Error: err.Error()})
		}
		failed = append(failed, bad...)
	}
	fmt.Println()
	summary(*o.book)
	if len(failed) > 0 {
		return fmt.Errorf("failed: %s", strings.Join(failed, ", "))
	}
	return ctx.Err()
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
