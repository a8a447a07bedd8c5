// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"spillway/concentrator"
	"spillway/config"
	"spillway/doctor"
	"spillway/linkmon"
	"spillway/mptcp"
	"spillway/testbed/await"
	"spillway/testbed/fakeubusd"
	"spillway/testbed/netns"
	"spillway/ubus"
	"spillway/ubus/netifd"
)

// TestAConcentratorThatWantsACookieIsWell: what is configured, or what the concentrator hands out, is in the questions of an examination as it is
// in the relay's.
func TestAConcentratorThatWantsACookieIsWell(t *testing.T) {
	if !mptcp.Probe().MPTCP {
		netns.Missing(t, "needs Multipath TCP in the kernel")
	}
	home := netip.MustParseAddr("127.0.0.1")
	for name, c := range map[string]struct {
		far    concentrator.Config
		cookie string
		good   bool
	}{
		"none is asked for":        {good: true},
		"the configured one":       {far: concentrator.Config{Token: []byte("swordfish")}, cookie: "swordfish", good: true},
		"another":                  {far: concentrator.Config{Token: []byte("swordfish")}, cookie: "swordfisch"},
		"none, and one is awaited": {far: concentrator.Config{Token: []byte("swordfish")}},
		"the one that is told":     {far: concentrator.Config{CookieSecret: []byte("0123456789abcdef")}, good: true},
	} {
		t.Run(name, func(t *testing.T) {
			c.far.Listen, c.far.AllowClients = []netip.AddrPort{netip.AddrPortFrom(home, 0)}, []netip.Prefix{netip.PrefixFrom(home, 32)}
			c.far.StopTimeout = time.Second
			s, err := concentrator.New(c.far, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			if err := s.Open(ctx); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- s.Run(ctx) }()
			defer func() {
				cancel()
				await.Value(t, "the concentrator's end", ended)
			}()
			w := &doctor.World{}
			fillWorld(w, &config.Config{Concentrators: []config.Concentrator{{Name: "home", Protocol: "convert", Cookie: c.cookie}}}, netifd.State{},
				[]linkmon.Link{{Name: "lo", Device: "lo", Addr4: home}}, [][]netip.AddrPort{s.Addrs()}, mptcp.Features{})
			l, far := w.Links[0], w.Remotes[0]
			if what, err := w.Info(l, far); (err == nil) != c.good {
				t.Errorf("info: %q, %v", what, err)
			}
			if seen, err := w.SeenFrom(l, far); (err == nil && seen == home) != c.good {
				t.Errorf("seen from %v, %v", seen, err)
			}
			if kept, err := w.MPTCP(l, far); (err == nil && kept) != c.good {
				t.Errorf("MPTCP kept: %v, %v", kept, err)
			}
		})
	}
}

// TestWithoutADaemonNetifdIsAsked for the devices of links that have its names.
func TestWithoutADaemonNetifdIsAsked(t *testing.T) {
	dir := t.TempDir()
	socket, file := filepath.Join(dir, "u"), filepath.Join(dir, "spillway.toml")
	bus, err := fakeubusd.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	up := make(chan struct{}, 1)
	go ubus.Run(t.Context(), socket, ubus.Options{OnConnect: func(*ubus.Conn) { up <- struct{}{} }, Objects: []ubus.Object{{Name: netifd.Object, Methods: []ubus.Method{
		{Name: "dump", Handle: func(ubus.Msg) (any, ubus.Status) {
			return ubus.Msg{{Name: "interface", Value: []ubus.Msg{{{Name: "interface", Value: "wan"}, {Name: "up", Value: true}, {Name: "l3_device", Value: "lo"}}}}}, ubus.OK
		}},
	}}}})
	await.Value(t, "netifd on the bus", up)
	text := fmt.Sprintf("[daemon]\nubus = %q\n[lan]\ninterfaces = [\"lo\"]\n%s[[concentrator]]\naddress = \"192.0.2.1\"\nport = 5124\n", socket, twoByName)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, out, stderr := call(t, "doctor", "-control", filepath.Join(dir, "none"), "-config", file)
	for _, want := range []string{"FAIL  daemon: no daemon answers", "  link dsl/device: device lo is ", "FAIL  link lte/device: its device is not known"} {
		if !strings.Contains(out, want) {
			t.Errorf("lacks %q:\n%s%s", want, out, stderr)
		}
	}
}
