// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"spillway/testbed/ways"
	"spillway/testbed/world"
)

const (
	relayedPort = 9000
	directPort  = 9001
	warm        = 24
)

// bench is the world, its programs running, and what was measured.
type bench struct {
	ways.Home
	rounds, each int
	missing      []string
	canHold      bool
	results      []*result
}

// a way is a way to set up a connection.
type way struct {
	name   string
	up     ways.Upstream
	direct bool
	relay  map[string]string // keys of [relay]
	warm   int
	held   bool // with relay.faithful
}

// result is one way in one cell.
type result struct {
	cell
	Way         string `json:"way"`
	samples     []time.Duration
	Connections int     `json:"connections"`
	Failed      int     `json:"failed"`
	MPTCP       int     `json:"mptcp"` // of Connections, how many kept MPTCP
	MedianMs    float64 `json:"median_ms"`
	P95Ms       float64 `json:"p95_ms"`
	P99Ms       float64 `json:"p99_ms"`
}

// ways are all of them, but those whose server is missing here.
func (b *bench) ways() []way {
	convert := func(name, fastOpen string, relay map[string]string, n int) way {
		u := ways.Upstreams()[0]
		u.Name, u.Keys["fast_open"] = name, fmt.Sprintf("%q", fastOpen)
		return way{name: name, up: u, relay: relay, warm: n}
	}
	all := []way{
		{name: "direct", up: ways.Upstreams()[0], direct: true},
		convert("convert-in-syn", "always", nil, 0),
		convert("convert-after-handshake", "never", nil, 0),
		convert("convert-warm", "auto", map[string]string{"warm": fmt.Sprint(warm)}, warm),
	}
	if b.canHold {
		for _, w := range []way{
			convert("convert-faithful", "auto", map[string]string{"faithful": "true"}, 0),
			convert("convert-faithful-warm", "auto", map[string]string{"faithful": "true", "warm": fmt.Sprint(warm)}, warm),
		} {
			w.held = true
			all = append(all, w)
		}
	}
	for _, u := range ways.Upstreams()[1:] {
		if u.Missing() == "" && (u.Name == "socks5" || u.Name == "socks5-pipelined" || u.Name == "socks4a" || u.Name == "transparent") {
			all = append(all, way{name: u.Name, up: u})
		}
	}
	return all
}

// racing is convert with and without a race of two links.
func racing() []way {
	var all []way
	for _, race := range []string{"off", "always"} {
		u := ways.Upstreams()[0]
		u.Name = "race-" + race
		all = append(all, way{name: u.Name, up: u, relay: map[string]string{"race": fmt.Sprintf("%q", race)}})
	}
	return all
}

func (b *bench) prepare() error {
	if err := b.Answer(relayedPort, directPort); err != nil {
		return err
	}
	for _, u := range ways.Upstreams() {
		if m := u.Missing(); m != "" {
			b.missing = append(b.missing, u.Name+" needs "+m)
			continue
		}
		if err := u.Start(b.Home); err != nil {
			return err
		}
	}
	if err := b.Queue(); err == nil {
		b.canHold = true
	} else {
		b.missing = append(b.missing, "convert-faithful: "+err.Error())
	}
	b.Settings.Rules = []map[string]string{{"name": `"direct"`, "dst_port": fmt.Sprintf("[\"%d\"]", directPort), "action": `"bypass"`}}
	return b.Router.Start(b.TOML())
}

// measure takes one cell: the ways in turns, round by round.
func (b *bench) measure(ctx context.Context, c cell, all []way) error {
	for i, line := range b.Lines {
		s := world.Shape(100, c.PathMs/2)
		if i == 0 {
			s.Loss = c.Loss
		}
		line.Shape(s, s)
	}
	results := map[string]*result{}
	for _, w := range all {
		r := &result{cell: c, Way: w.name}
		results[w.name], b.results = r, append(b.results, r)
	}
	for round := range b.rounds {
		for _, w := range all {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := b.use(w, round); err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			b.visit(w, results[w.name])
		}
		fmt.Fprintf(os.Stderr, "%d ms, %.0f %% loss: round %d of %d\n", c.PathMs, c.Loss*100, round+1, b.rounds)
	}
	for _, r := range results {
		r.digest()
	}
	return nil
}

// use has the router go a way. Each visit has an upstream of a new name, so that nothing learnt before is kept.
func (b *bench) use(w way, round int) error {
	if err := world.WaitFor("the end of the round before", 30*time.Second, func() bool {
		s, err := b.Router.Status()
		return err == nil && s.Sessions == 0
	}); err != nil {
		return err
	}
	w.up.Name = fmt.Sprintf("%s-%d", w.up.Name, round)
	b.Settings.Relay = w.relay
	if err := b.Router.Reload(w.up.TOML(b.Home)); err != nil {
		return err
	}
	return world.WaitFor(w.up.Name+" in use", 30*time.Second, func() bool {
		states, err := b.Concentrators()
		if err != nil || states[w.up.Name] != "up" {
			return false
		}
		if _, err := b.CPE.Output("nft", "list", "chain", "inet", "spillway", "held"); (err == nil) != w.held {
			return false
		}
		if w.warm == 0 {
			return true
		}
		out, err := b.CPE.Output("ss", "-Htn", "state", "established", "dst", fmt.Sprintf("%s:%d", world.Concentrator4, world.Port))
		return err == nil && strings.Count(out, "\n") >= w.warm
	})
}

// visit makes the connections of one round, side by side, and looks which kept MPTCP.
func (b *bench) visit(w way, r *result) {
	port := relayedPort
	if w.direct {
		port = directPort
	}
	var mu sync.Mutex
	var group sync.WaitGroup
	talks := make([]*ways.Talk, b.each)
	for i := range talks {
		group.Go(func() {
			time.Sleep(time.Duration(i) * 5 * time.Millisecond) // not in one burst
			talk, took, err := b.First(ways.Server("4", port))
			mu.Lock()
			defer mu.Unlock()
			r.Connections++
			if err != nil {
				r.Failed++
				fmt.Fprintf(os.Stderr, "%s at %d ms, %.0f %% loss: %v\n", w.name, r.PathMs, r.Loss*100, err)
				return
			}
			talks[i] = talk
			r.samples = append(r.samples, took)
		})
	}
	group.Wait()
	flows, err := b.Flows()
	for _, talk := range talks {
		if talk == nil {
			continue
		}
		for _, f := range flows {
			if err == nil && f.MPTCP && f.Source == talk.LocalAddr().String() {
				r.MPTCP++
			}
		}
		talk.Close()
	}
}
