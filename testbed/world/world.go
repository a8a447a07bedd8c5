// SPDX-License-Identifier: Apache-2.0

// Package world builds a small Internet of network namespaces around one router:
//
//	lan ── cpe ═╦═ dsl ══ hag ── srv
//	            ╚═ lte ═══╝
//
// lan is a host at home, cpe the router, dsl and lte the providers' routers (any number of links), hag the place of the
// concentrator and the Internet's core, srv an ordinary server. Each link between cpe and a provider is emulated (linkemu).
package world

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"spillway/testbed/linkemu"
	"spillway/testbed/netns"
)

// Link is one access line.
type Link struct {
	Name     string // also the provider's namespace
	Device   string // in the router; "": Name
	Kind     linkemu.Kind
	Role     string // in the configuration; "": first link primary, others overflow
	Up, Down linkemu.Shape
	NoV4     bool         // IPv6 only
	NoV6     bool         // IPv4 only
	Network  netip.Prefix // IPv4 /24; zero: one of its own. The gateway is .1. Two links may have the same
	Host     uint8        // last octet of the router's address; 0: 2
	NAT      bool         // the provider translates the router's address
	Learn    bool         // the configuration doesn't tell the capacity
	More     string       // further lines of TOML for [[link]]
}

// Config is what a world consists of. The zero value of a field is the common case.
type Config struct {
	Links    []Link
	Settings Settings
	// ServerDelay is the one-way delay between concentrator and server.
	ServerDelay linkemu.Shape
	// On makes the machine that the router runs on; nil: the namespace cpe.
	On func(*World) (Machine, error)
}

// Two is the common pair: DSL 16/2 Mbit/s with 15 ms, LTE 40/10 Mbit/s with 35 ms.
func Two() []Link { return []Link{DSL(16, 2), LTE(40, 10)} }

// DSL is a fixed line of so many Mbit/s, 15 ms one way.
func DSL(down, up float64) Link { return line("dsl", down, up, 15) }

// LTE is a mobile line of so many Mbit/s, 35 ms one way.
func LTE(down, up float64) Link { return line("lte", down, up, 35) }

func line(name string, down, up float64, delay int) Link {
	return Link{Name: name, Up: Shape(up, delay), Down: Shape(down, delay)}
}

// World is the built thing. Its namespaces are removed by Close.
type World struct {
	Config
	Dir                string // logs, configuration and control socket
	LAN, CPE, HAG, SRV *netns.NS
	Providers          []*netns.NS // in the order of Config.Links
	Lines              []*linkemu.Link
	Router             Router
	Bin                Binaries

	server, concentrator *Process
	internet             *linkemu.Link // concentrator to server, if delayed
	counters             *os.File      // /proc/net/dev of the router; nil: the lines know
	machine              *Machine      // nil: the namespace cpe
	path                 string        // before the router's PATH; "": nothing
	spawn                chan func()
	closers              []func()
}

// New builds a world for a test and removes it at its end. Logs of a failed test are printed.
func New(tb testing.TB, c Config) *World {
	tb.Helper()
	netns.Require(tb)
	bin, err := Build()
	if errors.Is(err, ErrNotYet) {
		netns.Missing(tb, err.Error())
	}
	if err != nil {
		tb.Fatal(err)
	}
	w, err := Make(c, tb.TempDir(), bin)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		w.Close()
		if tb.Failed() {
			tb.Log(w.Logs(4000))
		}
	})
	return w
}

// Make builds a world; the caller closes it. dir is for logs and sockets.
func Make(c Config, dir string, bin Binaries) (w *World, err error) {
	w = &World{Config: c, Dir: dir, Bin: bin, spawn: make(chan func())}
	go spawner(w.spawn)
	w.atClose(func() { close(w.spawn) })
	netns.Sweep()
	for i := range w.Links {
		l := &w.Links[i]
		if l.Device == "" {
			l.Device = l.Name
		}
		if l.Role == "" {
			l.Role = "overflow"
			if i == 0 {
				l.Role = "primary"
			}
		}
	}
	defer func() {
		if err != nil {
			w.Close()
			w = nil
		}
	}()
	if err := w.wire(); err != nil {
		return w, fmt.Errorf("build the namespaces: %w", err)
	}
	if w.machine != nil {
		w.Router = w.machine.Router
		return w, nil
	}
	w.Router = w.local()
	return w, w.openCounters()
}

// Close ends all processes and removes all namespaces.
func (w *World) Close() {
	for i := len(w.closers) - 1; i >= 0; i-- {
		w.closers[i]()
	}
	w.closers = nil
}

// AtClose has Close do something more, before what it did so far.
func (w *World) AtClose(fn func()) { w.atClose(fn) }

func (w *World) atClose(fn func()) { w.closers = append(w.closers, fn) }

// Logs returns the ends of all logs.
func (w *World) Logs(octets int) string {
	names, _ := filepath.Glob(filepath.Join(w.Dir, "*.log"))
	all := ""
	for _, name := range names {
		b, _ := os.ReadFile(name)
		if len(b) > octets {
			b = append([]byte("...\n"), b[len(b)-octets:]...)
		}
		all += fmt.Sprintf("--- %s\n%s", filepath.Base(name), b)
	}
	return all
}

// Link returns the index of a link by its name.
func (w *World) Link(name string) (int, error) {
	for i, l := range w.Links {
		if l.Name == name {
			return i, nil
		}
	}
	return 0, fmt.Errorf("link %q: there is none of that name", name)
}

// Gone waits until the router's kernel has noticed that a link lost its carrier: it tells changes of carrier up to a
// second late (net/core/link_watch.c).
func (w *World) Gone(i int) error {
	return WaitFor("routes of "+w.Links[i].Name+" gone", 10*time.Second, func() bool {
		out, err := w.CPE.Output("ip", "route", "show", "dev", w.Links[i].Device)
		return err == nil && (out == "" || strings.Contains(out, "linkdown"))
	})
}
