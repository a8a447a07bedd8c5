// SPDX-License-Identifier: Apache-2.0

// Command demo shows the main job on this machine: a LAN host downloads and uploads real files with curl while a router
// bonds an emulated DSL line with an emulated LTE line, DSL is cut in the middle and comes back, and nothing is lost. It
// ends with a table, and with the same figures in build/demo.json.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"spillway/testbed/usage"
	"spillway/testbed/world"
)

const about = `demo [OPTION]...

Plays the main job live, in network namespaces: a home, two lines, a concentrator and a server. It ends with a table: each line alone,
both together, the connect time with and without Spillway, and the pause when the fixed line is cut. Takes a minute and a half at most;
needs root, or user namespaces.
`

func main() {
	out := flag.String("json", "build/demo.json", "file for the figures")
	plain := flag.Bool("plain", false, "no live picture, a line a second instead")
	usage.Alone(flag.CommandLine, os.Args[1:], about)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, 88*time.Second, errors.New("the machine is too slow for the demo: it took over 88 s"))
	defer cancel()
	code, err := enter()
	if err == nil && code < 0 {
		code, err = 0, run(ctx, *out, *plain || !terminal(os.Stdout))
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		code = 1
	}
	os.Exit(code)
}

// run builds the world, tells the story in it and removes it.
func run(ctx context.Context, out string, plain bool) error {
	begin := time.Now()
	fmt.Println("building the programs and the network ...")
	bin, err := world.Build()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "spillway-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	w, err := world.Make(world.Config{Links: world.Two()}, dir, bin)
	if err != nil {
		return err
	}
	defer w.Close()
	d := &demo{world: w, view: newView(w, plain)}
	if err := d.story(ctx); err != nil {
		if ctx.Err() == nil {
			fmt.Fprint(os.Stderr, w.Logs(3000))
		}
		d.figures.print(os.Stdout) // what there is
		return err
	}
	d.figures.Seconds = round(time.Since(begin).Seconds())
	d.figures.print(os.Stdout)
	if err := d.figures.write(out); err != nil {
		return err
	}
	if !d.figures.SHA256OK {
		return errors.New("a file did not arrive as it was sent")
	}
	return nil
}
