// SPDX-License-Identifier: Apache-2.0

// Command onpath is a concentrator that stands in the path and is spoken to by nobody (draft-peirens-mptcp-transparent):
// MPTCP connections to any server end here, and go on to that server as plain TCP. nft sends them to its listeners:
//
//	tcp option mptcp exists meta l4proto tcp tproxy ip to 127.0.0.1:PORT meta mark set 1 accept
//
// It is as small as a test needs.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"spillway/mptcp"
	"spillway/testbed/usage"
)

const about = `onpath [-listen ADDRESS:PORT,...]

A concentrator that stands in the path and is spoken to by nobody: MPTCP connections to any server end here, and go on to that server as
plain TCP. nft has to send them to its listeners:

  tcp option mptcp exists meta l4proto tcp tproxy ip to 127.0.0.1:6000 meta mark set 1 accept
`

func main() {
	listen := flag.String("listen", "127.0.0.1:6000,[::1]:6000", "addresses of the transparent listeners, joined by commas")
	usage.Alone(flag.CommandLine, os.Args[1:], about)
	var ends []chan error
	for text := range strings.SplitSeq(*listen, ",") {
		end := make(chan error, 1)
		ends = append(ends, end)
		go func() { end <- serve(text) }()
	}
	for _, end := range ends {
		if err := <-end; err != nil {
			fmt.Fprintln(os.Stderr, "onpath:", err)
			os.Exit(1)
		}
	}
}

func serve(text string) error {
	a, err := netip.ParseAddrPort(text)
	if err != nil {
		return err
	}
	l, err := mptcp.Listen(context.Background(), a, mptcp.ListenOptions{MPTCP: true, Transparent: true})
	if err != nil {
		return err
	}
	for {
		c, err := l.AcceptTCP()
		if err != nil {
			return err
		}
		go relay(c)
	}
}

// relay joins a connection with one to where it wanted to go.
func relay(c *net.TCPConn) {
	defer c.Close()
	to, ok := c.LocalAddr().(*net.TCPAddr)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s, err := mptcp.Dial(ctx, to.AddrPort(), mptcp.DialOptions{PlainTCP: true})
	if err != nil {
		c.SetLinger(0)
		return
	}
	defer s.Close()
	done := make(chan struct{})
	go func() {
		io.Copy(s, c)
		s.CloseWrite()
		close(done)
	}()
	io.Copy(c, s)
	c.CloseWrite()
	<-done
}
