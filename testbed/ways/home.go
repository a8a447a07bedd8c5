// SPDX-License-Identifier: Apache-2.0

// Package ways plays which traffic goes which way: rules, upstream protocols, concentrators that fail, each against the
// real daemon, in a few worlds that serve many cases each.
package ways

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"spillway/testbed/accept"
	"spillway/testbed/world"
)

// Home is a world with a server that tells who speaks to it.
type Home struct{ *world.World }

// Flow is what the tests read of a relayed connection.
type Flow struct {
	Source, Destination, Rule, Link, Upstream string
	MPTCP                                     bool
}

// Flows lists the relayed connections.
func (h Home) Flows() ([]Flow, error) {
	b, err := h.Router.Control("flows", nil)
	if err != nil {
		return nil, err
	}
	var page struct{ Flows []Flow }
	return page.Flows, json.Unmarshal(b, &page)
}

// Serve listens at the server on ports and tells each connection the peer's address in a line, then echoes.
func (h Home) Serve(ports ...int) error {
	return h.listen(ports, func(c net.Conn) {
		peer, _ := netip.ParseAddrPort(c.RemoteAddr().String())
		fmt.Fprintln(c, peer.Addr().Unmap())
		io.Copy(c, c)
	})
}

func (h Home) listen(ports []int, serve func(net.Conn)) error {
	for _, port := range ports {
		var l net.Listener
		if err := h.SRV.Do(func() (err error) {
			l, err = net.Listen("tcp", fmt.Sprintf(":%d", port))
			return err
		}); err != nil {
			return err
		}
		accept.Each(l, func(c *net.TCPConn) { serve(c) })
	}
	return nil
}

// Server is the server's address in a family, with a port.
func Server(family string, port int) string {
	host := world.Server4
	if family == "6" {
		host = world.Server6
	}
	return net.JoinHostPort(host, fmt.Sprint(port))
}

// Talk is a LAN host's connection to the server of Serve.
type Talk struct {
	net.Conn
	Peer string // whom the server sees
	in   *bufio.Reader
}

// Dial connects from the LAN host and hears whom the server sees. dscp is of the host's packets.
func (h Home) Dial(to string, dscp int) (*Talk, error) {
	var c net.Conn
	err := h.LAN.Do(func() (err error) {
		d := net.Dialer{Timeout: 10 * time.Second, Control: func(_, _ string, rc syscall.RawConn) error {
			return rc.Control(func(fd uintptr) {
				unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_TOS, dscp<<2)
				unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_TCLASS, dscp<<2)
			})
		}}
		d.SetMultipathTCP(false)
		c, err = d.DialContext(context.Background(), "tcp", to)
		return err
	})
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	t := &Talk{Conn: c, in: bufio.NewReader(c)}
	line, err := t.in.ReadString('\n')
	if err != nil {
		c.Close()
		return nil, err
	}
	t.Peer = strings.TrimSpace(line)
	return t, nil
}

// Echo sends octets and wants the same back.
func (t *Talk) Echo(n int) error {
	want := strings.Repeat("spillway", (n+7)/8)[:n]
	failed := make(chan error, 1)
	go func() {
		_, err := io.WriteString(t, want)
		failed <- err
	}()
	got := make([]byte, n)
	if _, err := io.ReadFull(t.in, got); err != nil {
		return fmt.Errorf("echo of %d octets: %w", n, err)
	}
	if string(got) != want {
		return errors.New("the echo differs")
	}
	return <-failed
}

// FlowOf finds the relayed connection of a talk; nil when it is native.
func (h Home) FlowOf(t *Talk) (*Flow, error) {
	flows, err := h.Flows()
	for i := range flows {
		if flows[i].Source == t.LocalAddr().String() {
			return &flows[i], err
		}
	}
	return nil, err
}

// Hosts gives the router's resolver names, which `ip netns exec` puts before it as /etc/hosts. remove undoes it.
func (h Home) Hosts(text string) (remove func(), err error) {
	dir := filepath.Join("/etc/netns", h.CPE.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return func() { os.RemoveAll(dir) }, writeFile(filepath.Join(dir, "hosts"), text)
}

// status is what the tests read of the daemon's status.
type status struct {
	Concentrators []struct{ Name, State, Why string }
	Doors         struct{ Open bool }
}

func (h Home) status() (s status, err error) {
	b, err := h.Router.Control("status", nil)
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(b, &s)
}

func writeFile(name, text string) error { return os.WriteFile(name, []byte(text), 0o644) }

// Answer listens at the server on ports and answers each octet by one.
func (h Home) Answer(ports ...int) error {
	return h.listen(ports, func(c net.Conn) { io.Copy(c, c) })
}

// First connects from the LAN host, asks for something at once, and tells how long the first octet of the answer took.
func (h Home) First(to string) (t *Talk, took time.Duration, err error) {
	err = h.LAN.Do(func() error {
		began := time.Now()
		d := net.Dialer{Timeout: 20 * time.Second}
		d.SetMultipathTCP(false)
		c, err := d.Dial("tcp", to)
		if err != nil {
			return err
		}
		c.SetDeadline(began.Add(20 * time.Second))
		if _, err = c.Write([]byte{'?'}); err == nil {
			_, err = io.ReadFull(c, make([]byte, 1))
		}
		if err != nil {
			c.Close()
			return err
		}
		took, t = time.Since(began), &Talk{Conn: c}
		return nil
	})
	return t, took, err
}
