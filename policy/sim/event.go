// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"spillway/policy"
)

// Event changes the world at an instant. Which of the values it has depends on the verb.
type Event struct {
	At     time.Duration
	Verb   string
	Text   string        // verb and values as they are written
	Link   string        // whose event it is; "" with "demand"
	Demand Demand        // demand
	Reason string        // down
	Role   policy.Role   // set
	Rate   [2]float64    // rate: bit/s towards, from the home
	Time   time.Duration // rtt, queue
	Share  float64       // loss, drag: 0 to 1
}

// Reshape changes a link and its loss (0 to 1) as an event of the verbs rate, rtt, queue and loss says; false: it is of none of them.
func (e Event) Reshape(l *Link, loss *float64) bool {
	switch e.Verb {
	case "rate":
		l.Rate = e.Rate
	case "rtt":
		l.RTT = e.Time
	case "queue":
		l.Queue = e.Time
	case "loss":
		*loss = e.Share
	default:
		return false
	}
	return true
}

// Demand is what wants to go in one direction from an event on.
type Demand struct {
	Up    bool
	Kind  string  // "greedy", "paced", "video", "film", "none"
	Paced float64 // bit/s
}

// verb is one kind of event: the values that it wants, and how they are read.
type verb struct {
	want string
	read func(e *Event, args []string) error
}

// verbs are the events of a script.
var verbs = map[string]verb{
	"demand": {"down|up paced MBIT|greedy|video|film|none", (*Event).demand}, // a video takes up to 25 Mbit/s, a film 16
	"down":   {"LINK [REASON]", func(e *Event, args []string) error { e.Reason = strings.Join(args, " "); return nil }},
	"up":     {"LINK", bare},
	"dead":   {"LINK", bare}, // a blackhole; seen by the health of the link after 400 ms
	"alive":  {"LINK", bare},
	"rate":   {"LINK MBIT[/MBIT]", one(func(e *Event, s string) (err error) { e.Rate, err = rates(s); return err })},
	"rtt":    {"LINK DURATION", one((*Event).time)},
	"queue":  {"LINK DURATION", one((*Event).time)},
	"loss":   {"LINK PERCENT", one(func(e *Event, s string) error { return e.share(s, 100) })},
	// Whatever the reason, all links keep but this share of their rate while LINK carries beside others.
	"drag":  {"LINK SHARE", one(func(e *Event, s string) error { return e.share(s, 1) })},
	"set":   {"LINK ROLE", one(func(e *Event, s string) (err error) { e.Role, err = policy.ParseRole(s); return err })},
	"clear": {"LINK", bare},
}

// event reads "TIME VERB VALUES". An error says what the verb wants.
func event(f []string) (e Event, err error) {
	if len(f) < 2 {
		return e, fmt.Errorf("at: want TIME VERB")
	}
	if e.At, err = time.ParseDuration(f[0]); err != nil {
		return e, err
	}
	e.Verb, e.Text = f[1], strings.Join(f[1:], " ")
	v, ok := verbs[e.Verb]
	if !ok {
		return e, fmt.Errorf("at %v: %q: no such event", e.At, e.Verb)
	}
	args := f[2:]
	if e.Verb != "demand" && len(args) > 0 {
		e.Link, args = args[0], args[1:]
	}
	if e.Verb != "demand" && e.Link == "" {
		err = fmt.Errorf("no link")
	} else {
		err = v.read(&e, args)
	}
	if err != nil {
		err = fmt.Errorf("at %v: %s: %w; want %s %s", e.At, e.Text, err, e.Verb, v.want)
	}
	return e, err
}

// bare is for verbs without a value.
func bare(_ *Event, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%q: too much", args[0])
	}
	return nil
}

// one is for verbs with one value.
func one(read func(*Event, string) error) func(*Event, []string) error {
	return func(e *Event, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("%d values", len(args))
		}
		return read(e, args[0])
	}
}

func (e *Event) time(s string) (err error) {
	e.Time, err = time.ParseDuration(s)
	return err
}

func (e *Event) share(s string, of float64) (err error) {
	e.Share, err = strconv.ParseFloat(s, 64)
	if e.Share /= of; err == nil && !(e.Share >= 0 && e.Share <= 1) {
		err = fmt.Errorf("%s: not from 0 to %g", s, of)
	}
	return err
}

func (e *Event) demand(args []string) (err error) {
	if len(args) < 2 || args[0] != "down" && args[0] != "up" {
		return fmt.Errorf("no direction, or nothing demanded")
	}
	d := Demand{Up: args[0] == "up", Kind: args[1]}
	values := args[2:]
	switch d.Kind {
	case "greedy", "video", "film", "none":
	case "paced":
		if len(values) == 0 {
			return fmt.Errorf("no rate")
		}
		d.Paced, err = strconv.ParseFloat(values[0], 64)
		d.Paced, values = d.Paced*1e6, values[1:]
	default:
		return fmt.Errorf("%q: no such demand", d.Kind)
	}
	if err == nil {
		err = bare(nil, values)
	}
	e.Demand = d
	return err
}

// rates reads "DOWN/UP", or one for both, in Mbit/s.
func rates(s string) (r [2]float64, err error) {
	down, up, both := strings.Cut(s, "/")
	if r[0], err = strconv.ParseFloat(down, 64); err != nil {
		return r, err
	}
	if r[1] = r[0]; both {
		r[1], err = strconv.ParseFloat(up, 64)
	}
	r[0], r[1] = r[0]*1e6, r[1]*1e6
	return r, err
}
