// SPDX-License-Identifier: Apache-2.0

// Command traffic is the testbed's ordinary server and client.
//
//	traffic serve [OPTION]... | traffic run
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"spillway/testbed/traffic"
	"spillway/testbed/usage"
)

const about = `traffic serve [OPTION]... | traffic run <DEMAND >RESULT

The testbed's ordinary server and client. "serve" serves until it is ended; "run" does what a traffic.Demand in JSON says and answers
with a traffic.Result. The options are serve's:

  traffic serve -listen :7000,[::]:7000 -http :8080 -files DIR
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	args := os.Args[1:]
	switch {
	case len(args) > 0 && args[0] == "run":
		err = run(ctx)
	case len(args) > 0 && args[0] == "serve":
		err = serve(ctx, args[1:])
	case len(args) > 0 && strings.HasPrefix(args[0], "-"): // -help
		err = serve(ctx, args)
	default:
		usage.Wrong("traffic", errors.New("want serve or run"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "traffic:", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("traffic", flag.ExitOnError)
	listen := flags.String("listen", ":7000", "addresses of the server with checked octets, comma-separated")
	web := flags.String("http", "", "addresses of the file server, comma-separated")
	files := flags.String("files", ".", "directory of the file server")
	mptcp := flags.Bool("mptcp", false, "take MPTCP connections too")
	usage.Alone(flags, args, about)
	failed := make(chan error, 1)
	lc := net.ListenConfig{}
	lc.SetMultipathTCP(*mptcp)
	for _, address := range split(*listen) {
		l, err := lc.Listen(ctx, "tcp", address)
		if err != nil {
			return err
		}
		go traffic.Serve(ctx, l)
	}
	for _, address := range split(*web) {
		l, err := lc.Listen(ctx, "tcp", address)
		if err != nil {
			return err
		}
		go func() { failed <- http.Serve(l, traffic.Files(*files)) }()
	}
	fmt.Println("ready")
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

func run(ctx context.Context) error {
	var d traffic.Demand
	if err := json.NewDecoder(os.Stdin).Decode(&d); err != nil {
		return fmt.Errorf("read the demand: %w", err)
	}
	return json.NewEncoder(os.Stdout).Encode(traffic.Run(ctx, d))
}

func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}
