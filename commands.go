// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"spillway/config"
	"spillway/json"
)

// Where things are, unless flags say otherwise.
const (
	defaultConfig  = "/etc/spillway/spillway.toml"
	defaultControl = "/var/run/spillway.sock"

	otherwiseUCI = "where there is none, OpenWrt's " + uciFile
)

// question asks the daemon: it calls a method with arguments and reads the answer into result.
type question func(method string, args, result any) error

// asking adds the flag of a command that asks the daemon and takes so many arguments, and returns what asks.
func asking(flags *flag.FlagSet, args []string, want int) (question, error) {
	control := flags.String("control", defaultControl, "the daemon's control `socket`")
	if err := parse(flags, args, want); err != nil {
		return nil, err
	}
	if flags.NArg() < want {
		return nil, usageError{fmt.Errorf("%s: too few arguments; see %s -help", flags.Name(), flags.Name())}
	}
	c, err := dialControl(*control)
	if err != nil {
		return nil, err
	}
	return c.call, nil
}

// jsonFlag adds the flag of a command whose answer is a value.
func jsonFlag(flags *flag.FlagSet) *bool {
	return flags.Bool("json", false, "print the answer as JSON")
}

// show is a command that asks a method, with these arguments, for a value, and writes it, or with -json as the daemon tells it.
func show(e env, flags *flag.FlagSet, args []string, method string, with, value any, write func()) error {
	asJSON := jsonFlag(flags)
	ask, err := asking(flags, args, 0)
	if err != nil {
		return err
	}
	return fetch(e, ask, *asJSON, method, with, value, write)
}

// fetch asks a method for a value, and writes it by write, or as the daemon tells it.
func fetch(e env, ask question, asJSON bool, method string, with, value any, write func()) error {
	var raw json.Raw
	if err := ask(method, with, &raw); err != nil {
		return err
	}
	err := json.Decode(raw, value)
	if asJSON {
		fmt.Fprintln(e.stdout, string(raw))
	} else if err == nil {
		write()
	}
	return err
}

func statusCommand(_ context.Context, e env, flags *flag.FlagSet, args []string) error {
	s := &Status{}
	return show(e, flags, args, "status", nil, s, func() { writeStatus(e.stdout, s) })
}

func linksCommand(_ context.Context, e env, flags *flag.FlagSet, args []string) error {
	l := &Links{}
	return show(e, flags, args, "links", nil, l, func() { writeLinks(e.stdout, l.Links) })
}

func flowsCommand(_ context.Context, e env, flags *flag.FlagSet, args []string) error {
	p, f := &page{}, &Flows{} // the page is known when show has parsed the flags
	flags.IntVar(&p.Offset, "offset", 0, "skip the first `N`")
	flags.IntVar(&p.Limit, "limit", 100, "show at most `N`, up to 1000")
	return show(e, flags, args, "flows", p, f, func() { writeFlows(e.stdout, f) })
}

func whyCommand(_ context.Context, e env, flags *flag.FlagSet, args []string) error {
	w := &Why{}
	return show(e, flags, args, "why", nil, w, func() { writeWhy(e.stdout, w) })
}

func metricsCommand(_ context.Context, e env, flags *flag.FlagSet, args []string) error {
	ask, err := asking(flags, args, 0)
	if err != nil {
		return err
	}
	s := &Status{}
	return fetch(e, ask, false, "status", nil, s, func() { writeMetrics(e.stdout, s) })
}

func watchCommand(ctx context.Context, e env, flags *flag.FlagSet, args []string) error {
	ask, err := asking(flags, args, 0)
	if err != nil {
		return err
	}
	return watch(ctx, e.stdout, e.terminal, func() (*Status, error) {
		var s Status
		err := ask("status", nil, &s)
		return &s, err
	})
}

func reloadCommand(_ context.Context, e env, flags *flag.FlagSet, args []string) error {
	ask, err := asking(flags, args, 0)
	if err != nil {
		return err
	}
	var done Reloaded
	if err := ask("reload", nil, &done); err != nil {
		return usageError{err}
	}
	for _, key := range done.NeedRestart {
		fmt.Fprintf(e.stdout, "%s applies at the next start of the daemon\n", key)
	}
	return nil
}

func setCommand(_ context.Context, e env, flags *flag.FlagSet, args []string) error {
	ask, err := asking(flags, args, 2)
	if err != nil {
		return err
	}
	return ask("set", linkRole{flags.Arg(0), flags.Arg(1)}, &struct{}{})
}

func checkCommand(_ context.Context, e env, flags *flag.FlagSet, args []string) error {
	file := flags.String("config", defaultConfig, "the configuration `file`; "+otherwiseUCI)
	reference := flags.Bool("reference", false, "print the reference configuration, every key with its meaning")
	if err := parse(flags, args, 0); err != nil {
		return err
	}
	if *reference {
		fmt.Fprint(e.stdout, config.Reference)
		return nil
	}
	c, found, err := findConfig(*file, defaultConfig, uciFile)
	if err != nil {
		return usageError{err}
	}
	if problems := checkWorld(found.file, c, time.Second); problems != nil {
		return usageError{found.explain(problems)}
	}
	fmt.Fprintf(e.stdout, "%s: good: %d links, %d concentrators, %d rules\n", found.file, len(c.Links), len(c.Concentrators), len(c.Rules))
	return nil
}

func versionCommand(_ context.Context, e env, flags *flag.FlagSet, args []string) error {
	if err := parse(flags, args, 0); err != nil {
		return err
	}
	fmt.Fprintln(e.stdout, version)
	return nil
}

// Links is the answer of the method links.
type Links struct {
	Links []LinkStatus `json:"links"`
}

// Reloaded is the answer of the method reload.
type Reloaded struct {
	NeedRestart []string `json:"need_restart"` // keys that changed but apply only at the next start
}

// page and linkRole are the arguments of the methods flows and set.
type page struct {
	Offset int `json:"offset"`
	Limit  int `json:"limit"`
}

type linkRole struct {
	Link string `json:"link"`
	Role string `json:"role"`
}

// readAll reads a file, or standard input for "" and "-".
func readAll(e env, name string) ([]byte, error) {
	if name == "" || name == "-" {
		return io.ReadAll(e.stdin)
	}
	return os.ReadFile(name)
}
