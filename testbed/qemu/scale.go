// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"slices"

	"spillway/testbed/linkemu"
	"spillway/testbed/scenario"
	"spillway/testbed/traffic"
	"spillway/testbed/world"
)

// An emulated processor carries a fraction of what a real one does. A scenario is therefore played at a fraction of its
// rates, with the same delays and events, and its figures are read as if nothing had been scaled: what carried 2 Mbit/s of
// a line of 4 counts as 8 of 16. The scenario's own expectations apply unchanged.

// scaled is a scenario at a fraction of its rates.
func scaled(s scenario.Scenario, by float64) scenario.Scenario {
	s.Links, s.Demands, s.Events = slices.Clone(s.Links), slices.Clone(s.Demands), slices.Clone(s.Events)
	for i := range s.Links {
		s.Links[i].Up, s.Links[i].Down = scaledShape(s.Links[i].Up, by), scaledShape(s.Links[i].Down, by)
	}
	for i := range s.Demands {
		d := &s.Demands[i]
		d.Mbit *= by
		if d.Octets > 10_000 { // a large one, not a request
			d.Octets = int64(float64(d.Octets) * by)
		}
	}
	for i := range s.Events {
		s.Events[i].Up, s.Events[i].Down = scaledShape(s.Events[i].Up, by), scaledShape(s.Events[i].Down, by)
	}
	return s
}

// scaledShape keeps what a queue is in time; at least six packets wait.
func scaledShape(s linkemu.Shape, by float64) linkemu.Shape {
	if s.Rate <= 0 {
		return s
	}
	queue := s.Queue
	if queue == 0 {
		queue = max(40_000, int(s.Rate/8*0.06))
	}
	s.Rate *= by
	s.Queue = max(9000, int(float64(queue)*by))
	return s
}

// unscaled reads the figures of a scaled run as those of the scenario itself.
func unscaled(r *scenario.Run, s scenario.Scenario, by float64) {
	r.Scenario = s
	octets := func(n *uint64) { *n = uint64(float64(*n) / by) }
	for _, sample := range r.Samples {
		for i := range sample.Links {
			c := &sample.Links[i]
			octets(&c.RxOctets)
			octets(&c.TxOctets)
			octets(&c.Payload)
		}
	}
	for name, d := range r.Results {
		d.Mbit /= by
		d.Octets = int64(float64(d.Octets) / by)
		d.Series = traffic.Series{First: d.Series.First, Octets: slices.Clone(d.Series.Octets)}
		for i := range d.Series.Octets {
			d.Series.Octets[i] = int64(float64(d.Series.Octets[i]) / by)
		}
		r.Results[name] = d
	}
}

// Fraction is the part of their rates at which links are played in a guest whose yardstick relay carries so many Mbit/s of
// plain TCP: all links together need at most a tenth of that. Spillway over MPTCP, with subflows of unlike delay, carries a third
// of the yardstick or less, and the emulator shares the machine with the links, the concentrator and the server. Below a
// twentieth nothing about a line would be like that line.
func Fraction(links []world.Link, limit float64) float64 {
	return min(1, max(0.05, limit/10/Sum(links)))
}

// Sum is the rate of all links together in Mbit/s, of the faster direction.
func Sum(links []world.Link) float64 {
	down, up := 0.0, 0.0
	for _, l := range links {
		down, up = down+l.Down.Rate, up+l.Up.Rate
	}
	return max(down, up) / 1e6
}
