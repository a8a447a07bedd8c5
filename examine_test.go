// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"spillway/concentrator"
	"spillway/config"
	"spillway/doctor"
	"spillway/linkmon"
	"spillway/mptcp"
	"spillway/testbed/await"
	"spillway/testbed/netns"
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
			fillWorld(w, &config.Config{Concentrators: []config.Concentrator{{Name: "home", Protocol: "convert", Cookie: c.cookie}}},
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
