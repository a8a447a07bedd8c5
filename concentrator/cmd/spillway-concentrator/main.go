// SPDX-License-Identifier: Apache-2.0

// Command spillway-concentrator is the far end of a bonded household line: an RFC 8803 Transport Converter over Multipath TCP.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"spillway/concentrator"
)

// version is set by the build.
var version = "dev"

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program with everything outside it injected.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parseArgs(args, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitDone
	case err != nil:
		fmt.Fprintf(stderr, "spillway-concentrator: %v\nTry spillway-concentrator -help\n", err)
		return exitUsage
	case o.version:
		fmt.Fprintln(stdout, version)
		return exitDone
	}
	log := newLog(stderr, o.level)
	if o.prepare {
		if !concentrator.Prepare(log) {
			return exitFailed
		}
		return exitDone
	}
	server, err := concentrator.New(o.config, log)
	if err != nil {
		fmt.Fprintf(stderr, "spillway-concentrator: %v\nTry spillway-concentrator -help\n", err)
		return exitUsage
	}
	if o.check {
		return exitDone
	}
	if err := serve(ctx, server, o, log); err != nil {
		log.Error("concentrator: stopped", "err", err)
		return exitFailed
	}
	return exitDone
}

// serve runs the converter until a signal or a failure.
func serve(ctx context.Context, server *concentrator.Server, o options, log *slog.Logger) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.NumCPU() + 1) // a busy loop keeps one of the runtime's processors (relay/engine), and each processor has a loop
	}
	concentrator.Prepare(log)
	raiseFiles(o.config.MaxSessions, log)
	if err := server.Open(ctx); err != nil {
		return err
	}
	if o.stats != "" {
		closeStats, err := serveStats(o.stats, server, log)
		if err != nil {
			return err
		}
		defer closeStats()
	}
	defer printOnSignal(server, log)()
	return server.Run(ctx)
}

// newLog is text without time: whoever collects standard error adds it.
func newLog(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

// raiseFiles says when the limit of open files is below what the sessions need: two each. The Go runtime has raised the
// soft limit to the hard one already.
func raiseFiles(sessions int, log *slog.Logger) {
	if sessions == 0 {
		sessions = concentrator.DefaultMaxSessions
	}
	need := uint64(2*sessions + 64)
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil || lim.Cur >= need {
		return
	}
	log.Info("concentrator: too few open files for the sessions allowed; connections will wait when they run out",
		"limit", lim.Cur, "needed", need, "remedy", "LimitNOFILE= in the systemd unit, or ulimit -n")
}
