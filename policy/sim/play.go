// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"spillway/policy"
)

// Outcome is what came of a scenario.
type Outcome struct {
	Timeline []string           // transitions, plan sentences and reports, each with its time
	Figures  map[string]float64 // by name: see figures
	Changes  []policy.Transition
}

// world is a scenario in the course of time.
type world struct {
	sc      *Scenario
	m       *policy.Machine
	now     time.Duration
	lines   []line
	demands [2]demand
	out     Outcome
	why     string
	report  [][2]float64 // bits at the last report
	entries map[string]int
	firsts  map[string]int

	saturated time.Duration // when a link was first used to its limit; negative: never
}

// epoch is when every scenario begins: a Monday noon.
var epoch = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// Play runs the scenario from its beginning. The same scenario has the same outcome.
func (sc *Scenario) Play() Outcome {
	w := &world{
		sc: sc, m: policy.New(sc.Config),
		report: make([][2]float64, len(sc.Links)), entries: map[string]int{}, firsts: map[string]int{}, saturated: -1,
	}
	for _, l := range sc.Links {
		w.lines = append(w.lines, line{Link: l, up: true, wanted: -1})
	}
	events := sc.Events
	for w.now = 0; w.now < sc.End; w.now += tick {
		for len(events) > 0 && events[0].At <= w.now {
			w.do(events[0])
			events = events[1:]
		}
		w.obey(w.m.Step(w.observe()))
		w.move(0)
		w.move(1)
		if sc.Report > 0 && (w.now+tick)%sc.Report == 0 {
			w.tellRates()
		}
	}
	w.figures()
	return w.out
}

// observe is what linkmon would tell the policy.
func (w *world) observe() policy.Observation {
	o := policy.Observation{Now: epoch.Add(w.now), Links: make([]policy.LinkObs, len(w.lines))}
	for i := range w.lines {
		l := &w.lines[i]
		rtt := l.delay()
		lo := policy.LinkObs{
			Usable: l.up, Reason: l.reason, Dead: l.dead && w.now-l.deadAt >= deadAfter,
			DownRate: l.rate[0], UpRate: l.rate[1], RTT: rtt, MinRTT: l.RTT, Loss: l.loss,
			DownQueue: w.stands(l, 0), UpQueue: w.stands(l, 1), UsedBytes: uint64(l.used), UsedEpoch: 1,
		}
		if !l.Unknown {
			lo.DownCap, lo.UpCap = l.Rate[0], l.Rate[1]
		}
		if lo.Dead {
			lo.Reason = "data is out for 400 ms and nothing comes back"
		}
		o.Links[i] = lo
	}
	return o
}

// stands reports whether a queue stands in direction d, as seen from outside.
func (w *world) stands(l *line, d int) bool {
	delay := time.Duration(l.queue[d] / l.Rate[d] * float64(time.Second))
	return l.active && delay > 20*time.Millisecond && delay > l.RTT/4
}

// obey does what the plan says, and tells what changed.
func (w *world) obey(p policy.Plan) {
	for _, t := range p.Changed {
		w.tell("%s", t)
		if t.To >= policy.Active && t.From < policy.Active {
			w.entries[t.Link]++
		}
		if t.To == policy.First {
			w.firsts[t.Link]++
		}
	}
	w.out.Changes = append(w.out.Changes, p.Changed...)
	if p.Why != w.why {
		w.why = p.Why
		w.tell("= %s", p.Why)
	}
	for i := range w.lines {
		l := &w.lines[i]
		if p.Links[i].Role < policy.Active || p.Links[i].Resting {
			l.active, l.wanted = false, -1
			l.tcp = [2]float64{}
		} else if !l.active {
			if l.wanted < 0 || w.now == 0 {
				l.wanted = w.now
			}
			l.active = w.now == 0 || w.now-l.wanted >= actAfter
		}
	}
}

// do lets an event happen.
func (w *world) do(e Event) {
	w.tell("! %s", e.Text)
	if e.Verb == "demand" {
		w.demand(e.Demand)
		return
	}
	for i := range w.lines {
		if w.lines[i].Name == e.Link {
			w.change(&w.lines[i], e)
		}
	}
}

// demand sets what wants to go in one direction.
func (w *world) demand(want Demand) {
	d := &w.demands[0]
	if want.Up {
		d = &w.demands[1]
	}
	*d = demand{paced: want.Paced, greedy: want.Kind == "greedy"}
	switch want.Kind {
	case "video":
		d.video = &video{quality: ladder[1], most: ladder[len(ladder)-1]}
	case "film":
		d.video = &video{quality: ladder[1], most: 16e6}
	}
}

// change lets an event happen to a line.
func (w *world) change(l *line, e Event) {
	if e.Reshape(&l.Link, &l.loss) {
		return
	}
	switch e.Verb {
	case "down":
		l.up, l.reason = false, cmp.Or(e.Reason, "no carrier")
	case "up":
		l.up, l.reason = true, ""
	case "dead":
		l.dead, l.deadAt = true, w.now
	case "alive":
		l.dead = false
	case "drag":
		l.drag = e.Share
	case "set":
		_ = w.m.Set(l.Name, e.Role) // the link exists
	case "clear":
		_ = w.m.Clear(l.Name)
	}
}

// tell adds a line to the timeline.
func (w *world) tell(format string, a ...any) {
	w.out.Timeline = append(w.out.Timeline, fmt.Sprintf("%7.2f  ", w.now.Seconds())+fmt.Sprintf(format, a...))
}

// tellRates reports what each line carried since the last report.
func (w *world) tellRates() {
	var b strings.Builder
	for i := range w.lines {
		l := &w.lines[i]
		s := w.sc.Report.Seconds()
		fmt.Fprintf(&b, "  %s %.1f/%.1f", l.Name, (l.bits[0]-w.report[i][0])/s/1e6, (l.bits[1]-w.report[i][1])/s/1e6)
		w.report[i] = l.bits
	}
	w.out.Timeline = append(w.out.Timeline, fmt.Sprintf("%7.2f  ~%s Mbit/s", (w.now+tick).Seconds(), b.String()))
}

// figures sums up. Per link: bytes (in all), down and up (mean Mbit/s in the time measured), first and last (s, when it carried; -1
// never), after (s, first after any link was used to its limit), entries (times it began to carry), firsts (times it became first). In all: down, up, changes.
func (w *world) figures() {
	f := map[string]float64{"changes": float64(len(w.out.Changes))}
	s := (w.sc.To - w.sc.From).Seconds() * 1e6
	for i := range w.lines {
		l := &w.lines[i]
		f[l.Name+".bytes"] = l.used
		f[l.Name+".down"], f[l.Name+".up"] = l.bitsAt[0]/s, l.bitsAt[1]/s
		f["down"] += l.bitsAt[0] / s
		f["up"] += l.bitsAt[1] / s
		f[l.Name+".first"], f[l.Name+".last"] = -1, -1
		if l.touched {
			f[l.Name+".first"], f[l.Name+".last"] = l.firstAt.Seconds(), l.lastAt.Seconds()
			f[l.Name+".after"] = (l.firstAt - w.saturated).Seconds()
		}
		f[l.Name+".entries"] = float64(w.entries[l.Name])
		f[l.Name+".firsts"] = float64(w.firsts[l.Name])
	}
	w.out.Figures = f
}

// Missed lists the expectations that the outcome does not meet.
func (sc *Scenario) Missed(out Outcome) []string {
	var missed []string
	for _, e := range sc.Expects {
		v, ok := out.Figures[e.Figure]
		met := map[string]bool{"==": v == e.Value, "<": v < e.Value, "<=": v <= e.Value, ">": v > e.Value, ">=": v >= e.Value}[e.Op]
		if !ok || !met {
			missed = append(missed, fmt.Sprintf("expected %s, found %.3f", e, v))
		}
	}
	return missed
}
