// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
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
)

// asking adds the flags of a command that asks the daemon and returns what asks.
func asking(flags *flag.FlagSet, args []string, want int) (ask func(method string, args, result any) error, asJSON bool, err error) {
	control := flags.String("control", defaultControl, "the daemon's control `socket`")
	js := flags.Bool("json", false, "print the answer as JSON")
	if err := parse(flags, args, want); err != nil {
		return nil, false, err
	}
	c, err := dialControl(*control)
	if err != nil {
		return nil, false, err
	}
	return c.call, *js, nil
}

// show asks a method and writes the answer, as JSON or by write.
func show[T any](e env, ask func(string, any, any) error, asJSON bool, method string, args any, write func(io.Writer, *T)) error {
	if asJSON {
		var raw json.Raw
		if err := ask(method, args, &raw); err != nil {
			return err
		}
		fmt.Fprintln(e.stdout, string(raw))
		return nil
	}
	var value T
	if err := ask(method, args, &value); err != nil {
		return err
	}
	write(e.stdout, &value)
	return nil
}

func statusCommand(_ context.Context, e env, flags *flag.FlagSet, args []string) error {
	ask, js, err := asking(flags, args, 0)
	if err != nil {
		return err
	}
	return show(e, ask, js, "status", nil, writeStatus)
}

func linksCommand(_ context.Context, e env, flags *flag.FlagSet, args []string) error {
	ask, js, err := asking(flags, args, 0)
	if err != nil {
		return err
	}
	return show(e, ask, js, "links", nil, func(w io.Writer, l *Links) { writeLinks(w, l.Links) })
}

func flowsCommand(_ context.Context, e env, flags *flag.FlagSet, args []string) error {
	offset := flags.Int("offset", 0, "skip the first `N`")
	limit := flags.Int("limit", 100, "show at most `N`")
	ask, js, err := asking(flags, args, 0)
	if err != nil {
		return err
	}
	return show(e, ask, js, "flows", page{*offset, *limit}, writeFlows)
}

func whyCommand(_ context.Context, e env, flags *flag.FlagSet, args []string) error {
	ask, js, err := asking(flags, args, 0)
	if err != nil {
		return err
	}
	return show(e, ask, js, "why", nil, writeWhy)
}

func metricsCommand(_ context.Context, e env, flags *flag.FlagSet, args []string) error {
	ask, js, err := asking(flags, args, 0)
	if err != nil {
		return err
	}
	return show(e, ask, js, "status", nil, writeMetrics)
}

func watchCommand(ctx context.Context, e env, flags *flag.FlagSet, args []string) error {
	ask, _, err := asking(flags, args, 0)
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
	ask, _, err := asking(flags, args, 0)
	if err != nil {
		return err
	}
	var answer Reloaded
	if err := ask("reload", nil, &answer); err != nil {
		return usageError{err}
	}
	for _, key := range answer.NeedRestart {
		fmt.Fprintf(e.stdout, "%s applies at the next start of the daemon\n", key)
	}
	return nil
}

func setCommand(_ context.Context, e env, flags *flag.FlagSet, args []string) error {
	ask, _, err := asking(flags, args, 2)
	if err != nil {
		return err
	}
	if flags.NArg() != 2 {
		return usageError{errors.New("set: name a link and a role, e.g. spillway set lte off")}
	}
	return ask("set", linkRole{flags.Arg(0), flags.Arg(1)}, &struct{}{})
}

func checkCommand(_ context.Context, e env, flags *flag.FlagSet, args []string) error {
	file := flags.String("config", defaultConfig, "the configuration `file`")
	reference := flags.Bool("reference", false, "print the reference configuration, every key with its meaning")
	if err := parse(flags, args, 0); err != nil {
		return err
	}
	if *reference {
		fmt.Fprint(e.stdout, config.Reference)
		return nil
	}
	c, err := config.Load(*file)
	if err != nil {
		return usageError{err}
	}
	if problems := checkWorld(*file, c, time.Second); problems != nil {
		return usageError{problems}
	}
	fmt.Fprintf(e.stdout, "%s: good: %d links, %d concentrators, %d rules\n", *file, len(c.Links), len(c.Concentrators), len(c.Rules))
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
