// SPDX-License-Identifier: Apache-2.0

// A router's number of processors does not change while it runs: the runtime's monitor need not ask each second.
//go:debug updatemaxprocs=0

// Spillway bonds a fixed and a mobile line: LAN TCP is relayed over Multipath TCP to a concentrator (RFC 8803), the primary line
// first, the others for what it can't carry. docs/ARCHITECTURE.md is the map of the house.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// version is set by the build (-X main.version).
var version = "dev"

// env is all of the outside world that a command touches, so that tests run commands in-process.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	terminal       bool // stdout is one
}

// usageError is a wrong call or a wrong configuration: exit code 2.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	useZone("/etc/localtime", "/etc/TZ")
	info, err := os.Stdout.Stat()
	e := env{os.Stdin, os.Stdout, os.Stderr, err == nil && info.Mode()&os.ModeCharDevice != 0}
	code := spillway(ctx, e, os.Args[1:])
	stop()
	os.Exit(code)
}

// command is a verb of the command line. The nouns read, the verbs write.
type command struct {
	name, args, help string
	run              func(ctx context.Context, e env, flags *flag.FlagSet, args []string) error
}

func commands() []command {
	return []command{
		{"run", "[-config FILE] [-takeover]", "be the daemon", runCommand},
		{"check", "[-config FILE] [-reference]", "check a configuration without touching anything", checkCommand},
		{"status", "[-json]", "what is going on, and why", statusCommand},
		{"links", "[-json]", "each link: role, state, rates, capacity, quota", linksCommand},
		{"flows", "[-json] [-offset N] [-limit N]", "relayed connections and their share on each link", flowsCommand},
		{"why", "[-json]", "the last changes, with what caused them", whyCommand},
		{"watch", "", "live view of the links", watchCommand},
		{"doctor", "[-json] [-config FILE]", "find what is wrong, and what to do about it", doctorCommand},
		{"metrics", "", "Prometheus text, for a textfile collector", metricsCommand},
		{"reload", "", "apply a changed configuration; connections go on", reloadCommand},
		{"set", "LINK ROLE", "give a link another role; `configured` ends it", setCommand},
		{"uci-import", "[FILE]", "print OpenWrt's /etc/config/spillway as TOML", uciCommand},
		{"version", "", "print the version", versionCommand},
	}
}

// spillway runs one command line and returns its exit code: 0 done, 1 failed, 2 wrong usage or configuration.
func spillway(ctx context.Context, e env, args []string) int {
	err := dispatch(ctx, e, args)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return 0
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintln(e.stderr, "spillway:", line)
	}
	if errors.As(err, &usageError{}) {
		return 2
	}
	return 1
}

func dispatch(ctx context.Context, e env, args []string) error {
	if len(args) == 0 {
		usage(e.stderr)
		return usageError{errors.New("name a command")}
	}
	name := strings.TrimLeft(args[0], "-")
	if name == "help" || name == "h" {
		usage(e.stdout)
		return nil
	}
	for _, c := range commands() {
		if c.name != name {
			continue
		}
		flags := flag.NewFlagSet("spillway "+c.name, flag.ContinueOnError)
		flags.SetOutput(io.Discard) // parse errors are returned, and printed once
		flags.Usage = func() {
			fmt.Fprintf(e.stdout, "usage: %s\n\n%s\n", strings.TrimSpace("spillway "+c.name+" "+c.args), c.help)
			flags.SetOutput(e.stdout)
			flags.PrintDefaults()
			flags.SetOutput(io.Discard)
		}
		return c.run(ctx, e, flags, args[1:])
	}
	return usageError{fmt.Errorf("no command %q; spillway help lists them", args[0])}
}

// usage is `spillway help`, within 79 columns.
func usage(w io.Writer) {
	fmt.Fprint(w, "Spillway bonds a fixed line and a mobile line: the fixed line first, the mobile\none for what overflows.\n\n")
	var rows [][]string
	for _, c := range commands() {
		arguments := c.args
		if strings.HasPrefix(arguments, "[-") {
			arguments = "" // flags are told by the command itself
		}
		rows = append(rows, []string{"  spillway " + c.name + " " + arguments, c.help})
	}
	table(w, []string{"commands:", ""}, rows)
	fmt.Fprint(w, "\nspillway COMMAND -help tells the flags.\nExit codes: 0 done, 1 failed, 2 wrong usage or configuration.\n")
}

// parse parses flags and holds the number of arguments.
func parse(flags *flag.FlagSet, args []string, want int) error {
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return usageError{fmt.Errorf("%s: %w; see %s -help", flags.Name(), err, flags.Name())}
	}
	if flags.NArg() > want {
		return usageError{fmt.Errorf("%s: unexpected argument %q; see %s -help", flags.Name(), flags.Arg(want), flags.Name())}
	}
	return nil
}
