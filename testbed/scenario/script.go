// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"spillway/policy"
	"spillway/policy/sim"
	"spillway/testbed/linkemu"
	"spillway/testbed/traffic"
	"spillway/testbed/world"
)

// Goodput is the part of a line's octets that TCP over MPTCP can use as payload at most: 1428 of 1500. A script counts what the line carries.
const Goodput = 1428.0 / 1500

// FromScript reads a script of the simulation (policy/testdata) as a story for a real router.
func FromScript(file string) (Scenario, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return Scenario{}, err
	}
	sc, err := sim.Parse(string(text))
	if err != nil {
		return Scenario{}, fmt.Errorf("%s: %w", file, err)
	}
	s, err := Real(sc)
	s.Name = strings.TrimSuffix(filepath.Base(file), ".txt")
	s.About, _, _ = strings.Cut(strings.TrimPrefix(string(text), "# "), "\n")
	if err != nil {
		return s, fmt.Errorf("%s: %w", file, err)
	}
	return s, nil
}

// Real makes of a simulated scenario one that is played with real parts: the same links, demands, events and expectations. An error
// names what only the simulation has. What a real machine's figures miss by a little is told and no fault; a broken transfer is one,
// and so is a link that never came first as it should.
func Real(sc *sim.Scenario) (Scenario, error) {
	s := Scenario{Length: sc.End, Settings: world.Settings{Policy: map[string]string{
		"mode": strconv.Quote(sc.Config.Mode.String()), "never_worse": strconv.FormatBool(!sc.Config.NoGuard),
	}}}
	if sc.Window > 0 {
		return s, fmt.Errorf("window: only the simulation bounds what is in flight")
	}
	set := s.Settings.Policy
	switch sc.Config.Standby {
	case policy.StandbyOn:
		set["standby"] = `"on"`
	case policy.StandbyBusy:
		set["standby"] = `"busy"`
	}
	if d := sc.Config.HoldUp; d > 0 {
		set["hold_up"] = strconv.Quote(d.String())
	}
	if d := sc.Config.MaxRTTDiff; d > 0 {
		set["max_rtt_diff"] = strconv.Quote(d.String())
	}
	for i, l := range sc.Links {
		s.Links = append(s.Links, realLink(l, sc.Config.Links[i]))
	}
	if err := s.happens(sc); err != nil {
		return s, err
	}
	for _, e := range sc.Expects {
		x, err := expected(sc, e)
		if err != nil {
			return s, err
		}
		s.Expect = append(s.Expect, x)
	}
	return s, nil
}

func realLink(l sim.Link, c policy.LinkConfig) world.Link {
	w := world.Link{Name: l.Name, Role: c.Role.String(), Learn: l.Unknown, Down: shape(l, 0, 0), Up: shape(l, 1, 0)}
	var more strings.Builder
	size := func(key string, octets uint64) {
		if octets > 0 {
			fmt.Fprintf(&more, "%s = \"%d MB\"\n", key, octets/1e6)
		}
	}
	size("quota", c.Quota.Limit)
	size("quota_daily", c.Quota.Daily)
	if c.Quota.Soft > 0 && c.Quota.Limit > 0 {
		fmt.Fprintf(&more, "quota_soft = \"%d%%\"\n", 100*c.Quota.Soft/c.Quota.Limit)
	}
	if c.Weight > 0 {
		fmt.Fprintf(&more, "weight = %.0f\n", c.Weight)
	}
	w.More = more.String()
	return w
}

// shape is one direction of a simulated line.
func shape(l sim.Link, d int, loss float64) linkemu.Shape {
	return linkemu.Shape{Rate: l.Rate[d], Delay: l.RTT / 2, Queue: max(3000, int(l.Rate[d]/8*l.Queue.Seconds())), Loss: loss}
}

// happens takes demands and events over.
func (s *Scenario) happens(sc *sim.Scenario) error {
	links := slices.Clone(sc.Links)
	loss := make([]float64, len(links))
	for i, e := range sc.Events {
		if e.Verb == "demand" {
			if err := s.demand(e, until(sc, i)); err != nil {
				return err
			}
			continue
		}
		n := slices.IndexFunc(links, func(l sim.Link) bool { return l.Name == e.Link })
		if n < 0 {
			return fmt.Errorf("at %v: %s: no link of that name", e.At, e.Link)
		}
		x := Event{At: e.At, Link: e.Link}
		switch e.Verb {
		case "down":
			x.Do = Cut
		case "up":
			x.Do = Restore
		case "dead":
			x.Do = Blackhole
		case "alive":
			x.Do = Clear
		case "set":
			x.Do, x.Act = Action(e.Verb), setRole(e.Link, e.Role.String())
		case "clear":
			x.Do, x.Act = Action(e.Verb), setRole(e.Link, "")
		default:
			if !e.Reshape(&links[n], &loss[n]) {
				return fmt.Errorf("at %v: %s: only the simulation has that", e.At, e.Verb)
			}
			x.Do, x.Down, x.Up = Reshape, shape(links[n], 0, loss[n]), shape(links[n], 1, loss[n])
		}
		s.Events = append(s.Events, x)
	}
	return nil
}

// setRole is the command `spillway set`; without a role the configured one.
func setRole(link, role string) func(*world.World) error {
	return func(w *world.World) error {
		_, err := w.Router.Control("set", map[string]string{"link": link, "role": role})
		return err
	}
}

// until is when the demand of event i ends: with the next one in its direction.
func until(sc *sim.Scenario, i int) time.Duration {
	for _, e := range sc.Events[i+1:] {
		if e.Verb == "demand" && e.Demand.Up == sc.Events[i].Demand.Up {
			return e.At
		}
	}
	return sc.End
}

// demand is a transfer in place of a demand.
func (s *Scenario) demand(e sim.Event, end time.Duration) error {
	d := traffic.Demand{Kind: traffic.Get, For: end - e.At, Timeout: end - e.At + time.Minute}
	name := fmt.Sprintf("down at %v", e.At)
	if e.Demand.Up {
		d.Kind, name = traffic.Put, fmt.Sprintf("up at %v", e.At)
	}
	switch e.Demand.Kind {
	case "none":
		return nil
	case "greedy":
	case "paced":
		d.Mbit = e.Demand.Paced / 1e6 * Goodput
	default:
		return fmt.Errorf("at %v: demand %s: only the simulation has that", e.At, e.Demand.Kind)
	}
	s.Demands = append(s.Demands, Demand{Name: name, Start: e.At, Demand: d})
	s.Expect = append(s.Expect, whole(name))
	return nil
}

// expected is an expectation of a script, measured on a real machine.
func expected(sc *sim.Scenario, e sim.Expect) (Expectation, error) {
	x := Expectation{What: e.String(), Is: Comparison(e.Op), Aim: e.Value, Bound: none}
	switch e.Op {
	case "<", "<=":
		x.Is = AtMost
	case ">", ">=":
		x.Is = AtLeast
	case "==":
		x.Is = Equal
	default:
		return x, fmt.Errorf("expect %s: no such comparison", e)
	}
	link, figure, of := strings.Cut(e.Figure, ".")
	if !of {
		link, figure = "", e.Figure
	}
	switch figure {
	case "down", "up":
		x.Unit, x.Measure = "Mbit/s", func(r *Run) float64 { return r.mean(link, figure == "up", sc.From, sc.To) }
	case "changes":
		x.Measure = func(r *Run) float64 { return float64(len(r.Changes)) }
	case "bytes":
		x.Unit, x.Measure = "B", Payload(link, time.Nanosecond, 0)
	case "first":
		x.Unit, x.Measure = "s", func(r *Run) float64 { return Since(link, 0, carries)(r) / 1e3 }
	case "last":
		x.Unit, x.Measure = "s", func(r *Run) float64 { return Until(link, 0, carries)(r) / 1e3 }
	case "after":
		x.Unit, x.Measure = "s", func(r *Run) float64 { return (Since(link, 0, carries)(r) - r.saturated()) / 1e3 }
	case "firsts":
		x.Measure = func(r *Run) float64 { return r.times(link, "first") }
		if x.Is == Equal {
			// The bound says less than the aim: a busy machine may fail over once more, but not once less.
			x.Bound, x.AtBound = e.Value, AtLeast
		}
	case "entries":
		x.Measure = func(r *Run) float64 { return r.times(link, "first", "active") }
	default:
		return x, fmt.Errorf("expect %s: no such figure", e)
	}
	return x, nil
}

// carries is the least rate, Mbit/s, of a link that carries.
const carries = 0.1

// mean is the rate of a link, or of all, between two offsets, Mbit/s.
func (r *Run) mean(link string, up bool, from, to time.Duration) (mbit float64) {
	for _, l := range r.Links {
		if link != "" && l.Name != link {
			continue
		}
		a, b := r.counters(l.Name, max(from, 1)), r.counters(l.Name, to)
		octets := b.RxOctets - a.RxOctets
		if up {
			octets = b.TxOctets - a.TxOctets
		}
		mbit += float64(octets) * 8 / (to - from).Seconds() / 1e6
	}
	return mbit
}

// saturated is when a link was first used to its limit, ms.
func (r *Run) saturated() float64 {
	first := math.Inf(1)
	for _, l := range r.Links {
		first = min(first, Since(l.Name, 0, 0.95*l.Down.Rate/1e6)(r))
	}
	return first
}

// times counts how often a link began to be in one of these states.
func (r *Run) times(link string, states ...string) (n float64) {
	for _, c := range r.Changes {
		if c.Link == link && slices.Contains(states, c.To) && !slices.Contains(states, c.From) {
			n++
		}
	}
	return n
}
