// SPDX-License-Identifier: Apache-2.0

// Command luci shows Spillway's LuCI pages in a browser without a router: with a running daemon (-socket of an ubusd
// it publishes on), or with figures of its own.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"

	"spillway/testbed/fakeubusd"
	"spillway/testbed/luci"
	"spillway/ubus"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	listen := flag.String("listen", "127.0.0.1:8099", "`address` to serve the pages at")
	app := flag.String("app", "openwrt/luci/luci-app-spillway", "the LuCI app's `folder`")
	config := flag.String("config", "openwrt/uci/testdata/spillway", "UCI `file`; changes are written to it unless it is the example")
	socket := flag.String("socket", "", "`socket` of an ubusd where a daemon is; without it figures are made up")
	apply := flag.String("apply", "", "shell `command` that makes the daemon read the UCI file again")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	dir, err := os.MkdirTemp("", "luci")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	o := luci.Options{App: *app, Config: *config, Socket: *socket, Interfaces: luci.ExampleInterfaces(),
		Apply: func() error { return exec.Command("sh", "-c", *apply).Run() }}
	if *socket == "" {
		o.Socket = filepath.Join(dir, "ubus.sock")
		bus, err := fakeubusd.Listen(o.Socket)
		if err != nil {
			return err
		}
		defer bus.Close()
		raw, err := os.ReadFile(*config)
		if err != nil {
			return err
		}
		o.Config = filepath.Join(dir, "spillway")
		if err := os.WriteFile(o.Config, raw, 0o600); err != nil {
			return err
		}
		s := luci.NewScripted()
		o.Apply = func() error { return s.Reload(o.Config) }
		go ubus.Run(ctx, o.Socket, ubus.Options{Objects: []ubus.Object{s.Object()}})
	}
	server, err := luci.New(ctx, o)
	if err != nil {
		return err
	}
	fmt.Printf("http://%s/ (?theme=dark, ?lang=de, ?session=viewer)\n", *listen)
	h := &http.Server{Addr: *listen, Handler: server}
	context.AfterFunc(ctx, func() { h.Close() })
	if err := h.ListenAndServe(); err != http.ErrServerClosed {
		return err
	}
	return nil
}
