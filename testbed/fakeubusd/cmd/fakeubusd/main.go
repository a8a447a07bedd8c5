// SPDX-License-Identifier: Apache-2.0

// Command fakeubusd runs the tests' small bus at a socket, until it is interrupted.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"

	"spillway/testbed/fakeubusd"
)

func main() {
	path := flag.String("socket", "/tmp/fakeubusd.sock", "where to listen")
	flag.Parse()
	s, err := fakeubusd.Listen(*path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, os.Interrupt)
	<-end
	s.Close()
}
