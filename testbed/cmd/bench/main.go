// SPDX-License-Identifier: Apache-2.0

// Command bench measures the relay beside others and writes build/bench/relay.json, the tables of docs/BENCHMARKS.md and
// its plots.
//
//	bench [OPTION]...
//
// Two further commands are its own server and client.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"spillway/testbed/bench"
	"spillway/testbed/bench/load"
	"spillway/testbed/usage"
	"spillway/testbed/world"
)

const about = `bench [OPTION]...

Measures the relay beside others, side by side in one run and in turns, and writes the figures, the tables of docs/BENCHMARKS.md and its
plots. Needs root, a C compiler, and what make all builds.

  bench -quick                                                        the works that say most
  bench -works rr1,rr64 -only "Spillway,C read/write" -scale 0.35     some works, some contestants
  bench -tables                                                       tables and plots again, from the figures
`

func main() {
	runtime.LockOSThread() // processes end with the thread that started them
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case len(os.Args) == 3 && os.Args[1] == "serve":
		err = serve(ctx, os.Args[2])
	case len(os.Args) == 3 && os.Args[1] == "load":
		err = client(ctx, os.Args[2])
	default:
		err = measure(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, address string) error {
	lc := net.ListenConfig{KeepAlive: -1}
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(ctx, "tcp4", address)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { l.Close() })
	load.Serve(l)
	return nil
}

func client(ctx context.Context, text string) error {
	debug.SetGCPercent(800)
	var d load.Demand
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		return err
	}
	r := load.Run(ctx, d, func(mark string) { fmt.Println(mark) })
	out, err := json.Marshal(r)
	if err == nil {
		_, err = fmt.Println(string(out))
	}
	return err
}

func measure(ctx context.Context) error {
	o := bench.Options{Log: os.Stderr}
	flag.IntVar(&o.Rounds, "rounds", 5, "how often everybody does everything; medians are kept")
	flag.BoolVar(&o.Quick, "quick", false, "the works that say most, and short rests")
	flag.Float64Var(&o.Scale, "scale", 1, "stretches the time of each work")
	flag.DurationVar(&o.Idle, "idle", 30*time.Second, "how long the idle daemon is watched, in the work own")
	only := flag.String("only", "", "names of contestants, comma-separated; empty: all")
	works := flag.String("works", "", "keys of works, comma-separated, also memory, queues, own, heap; empty: all")
	out := flag.String("json", "build/bench/relay.json", "file for the figures; a relative name is below the source tree")
	docs := flag.Bool("docs", true, "write the tables and plots of docs/BENCHMARKS.md")
	tables := flag.Bool("tables", false, "measure nothing: write tables and plots from the file of figures")
	add := flag.Bool("add", false, "keep the file's figures of works that are not measured now")
	more := flag.Bool("more", false, "these are further rounds: keep all figures of the file")
	patience := flag.Duration("patience", 5*time.Minute, "how long building peers may take")
	usage.Alone(flag.CommandLine, os.Args[1:], about)
	o.Only, o.Works = split(*only), split(*works)
	contestants, keys := bench.Known()
	if err := errors.Join(usage.Known("contestant", o.Only, contestants), usage.Known("work", o.Works, keys)); err != nil {
		usage.Wrong("bench", err)
	}
	root, err := world.Root()
	if err != nil {
		return err
	}
	path := *out
	if !filepath.IsAbs(path) {
		path = filepath.Join(root, path)
	}
	var r *bench.Report
	if *tables {
		if r, err = bench.Read(path); err != nil {
			return err
		}
	} else {
		if os.Geteuid() != 0 {
			return errors.New("needs root for network namespaces")
		}
		p, err := bench.Build(ctx, root, *patience, os.Stderr)
		if err != nil {
			return err
		}
		r = bench.NewReport(p, o.Rounds)
		old, missing := bench.Read(path)
		if !*more && !*add {
			o.Save = func() error { return r.Write(path) }
		}
		failed := bench.Run(ctx, p, o, r)
		if missing == nil && *more {
			r.Continue(old)
		} else if missing == nil && *add {
			r.Complete(old)
		}
		if err := errors.Join(failed, r.Write(path)); err != nil {
			return err
		}
	}
	r.Print(os.Stdout)
	if *docs {
		return r.Document(filepath.Join(root, "docs"))
	}
	return nil
}

func split(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}
