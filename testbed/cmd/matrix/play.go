// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"spillway/testbed/netns"
	"spillway/testbed/scenario"
	"spillway/testbed/traffic"
	"spillway/testbed/world"
)

// nominalShare of a line's rate is payload: of 1514 octets with their framing 1448, and a transfer takes a moment to begin.
const nominalShare = 15.0 / 16

// between two transfers what is still in a queue of the one before goes by.
const between = 3 * time.Second

// play measures a cell in a world of its own.
func (m matrix) play(c cell, bin world.Binaries) (f figures, err error) {
	f.Cell = c
	dir, err := os.MkdirTemp("", "spillway-matrix-")
	if err != nil {
		return f, err
	}
	defer os.RemoveAll(dir)
	w, err := m.world(c, dir, bin)
	if err != nil {
		return f, err
	}
	defer w.Close()
	back := "lte"
	if m.nominal { // the better one loses nothing in any cell
		f.LTE, f.DSL, back = nominalShare*c.LTE, nominalShare*c.DSL, ""
	} else if f.LTE, _, err = m.measure(w, "dsl", ""); err != nil {
		return f, err
	} else if f.DSL, _, err = m.measure(w, "lte", "dsl"); err != nil {
		return f, err
	}
	f.Both, f.Late, err = m.measure(w, "", back)
	f.Ratio = f.Both / max(f.DSL, f.LTE)
	return f, err
}

// world is a cell's, with everything started.
func (m matrix) world(c cell, dir string, bin world.Binaries) (*world.World, error) {
	config := world.Config{Links: c.links()}
	config.Settings.Policy = map[string]string{"mode": strconv.Quote(m.mode)}
	if m.unguarded {
		config.Settings.Policy["never_worse"] = "false"
	}
	w, err := world.Make(config, dir, bin)
	if err != nil {
		return nil, err
	}
	err = m.tune(w)
	if err == nil {
		err = (scenario.Scenario{}).Ready(w)
	}
	if err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// measure is the rate of a transfer, Mbit/s, with one link off and one used again, "" for neither, and for how long the machine did something
// else meanwhile.
func (m matrix) measure(w *world.World, off, back string) (mbit float64, late time.Duration, err error) {
	time.Sleep(between)
	for _, set := range [...]struct{ link, role string }{{off, "off"}, {back, "configured"}} {
		if set.link == "" {
			continue
		}
		if _, err := w.Router.Control("set", map[string]string{"link": set.link, "role": set.role}); err != nil {
			return 0, 0, err
		}
	}
	time.Sleep(time.Second)
	tell := m.verbose && off == ""
	stop, recorded, lateBy, watched := make(chan struct{}), make(chan []world.Sample, 1), make(chan time.Duration, 1), make(chan []string, 1)
	go func() { lateBy <- lateness(stop) }()
	go func() { recorded <- w.Record(20*time.Millisecond, stop) }()
	if tell {
		go func() { watched <- m.watch(w, stop) }()
	}
	begin := time.Now()
	r, mbit, err := m.transfer(w)
	close(stop)
	samples, late := <-recorded, <-lateBy
	if err == nil && tell {
		run := scenario.Run{Scenario: scenario.Scenario{Links: w.Links}, Start: begin, Samples: samples, Results: map[string]traffic.Result{"": r}}
		tellRun(w, run, <-watched)
	}
	return mbit, late, err
}

// tune sets the sysctls that were asked for, after those of the world.
func (m matrix) tune(w *world.World) error {
	for _, s := range strings.FieldsFunc(m.sysctl, func(r rune) bool { return r == ';' }) {
		where, setting, _ := strings.Cut(s, ":")
		ns := map[string]*netns.NS{"cpe": w.CPE, "hag": w.HAG}[where]
		if ns == nil {
			return fmt.Errorf("sysctl %q: want cpe:NAME=VALUE or hag:NAME=VALUE", s)
		}
		if out, err := ns.Output("sysctl", "-w", setting); err != nil {
			return fmt.Errorf("sysctl %s: %w: %s", s, err, out)
		}
	}
	return nil
}

// transfer is one connection's rate.
func (m matrix) transfer(w *world.World) (r traffic.Result, mbit float64, err error) {
	d := traffic.Demand{Kind: traffic.Get, For: m.length}
	if m.up {
		d.Kind = traffic.Put
	}
	if r, err = w.Demand(d); err != nil {
		return r, 0, err
	}
	if r.Bad > 0 || r.Failed > 0 {
		return r, 0, fmt.Errorf("%d connections failed, %d with a wrong octet: %q", r.Failed, r.Bad, r.Errors)
	}
	if m.up {
		// What is written when the time is over still waits in the router: only what has come counts.
		begin := time.UnixMilli(r.Start)
		return r, r.Series.Mbit(begin, begin.Add(m.length)), nil
	}
	return r, float64(r.Octets) * 8 / m.length.Seconds() / 1e6, nil
}
