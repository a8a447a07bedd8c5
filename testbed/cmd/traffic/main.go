// SPDX-License-Identifier: Apache-2.0

// Command traffic is the testbed's ordinary server and client.
//
//	traffic serve -listen :7000,[::]:7000 -http :8080 -files DIR    until it is ended
//	traffic run < demand.json > result.json                         one traffic.Demand, one traffic.Result
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"spillway/testbed/traffic"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case len(os.Args) > 1 && os.Args[1] == "serve":
		err = serve(ctx, os.Args[2:])
	case len(os.Args) > 1 && os.Args[1] == "run":
		err = run(ctx)
	default:
		err = fmt.Errorf("usage: traffic serve [flags] | traffic run < demand.json")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "traffic:", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	listen := flags.String("listen", ":7000", "addresses of the server with checked octets, comma-separated")
	web := flags.String("http", "", "addresses of the file server, comma-separated")
	files := flags.String("files", ".", "directory of the file server")
	mptcp := flags.Bool("mptcp", false, "take MPTCP connections too")
	flags.Parse(args)
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
