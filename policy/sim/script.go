// SPDX-License-Identifier: Apache-2.0

// Package sim closes the loop around the policy without a kernel: links with queues, traffic that behaves like TCP, and the way the
// kernel's default scheduler spreads it over the active links, as measured. A scenario is a readable script; playing it gives a
// timeline of what the policy decided and what each link carried.
package sim

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"spillway/policy"
)

// Scenario is a world to be played.
type Scenario struct {
	Config  policy.Config
	Links   []Link
	Events  []Event // in the order of time
	End     time.Duration
	Report  time.Duration // between two lines on what the links carry; 0: none
	From    time.Duration // what is measured: From ...
	To      time.Duration // ... To; 0: End
	Window  float64       // bits that may be in flight over all links together; 0: any
	Expects []Expect
}

// Link is one line as it really is, which is not always as the policy knows it.
type Link struct {
	Name    string
	Rate    [2]float64    // bit/s towards, from the home
	RTT     time.Duration // at rest
	Queue   time.Duration // the longest queue, in time
	Unknown bool          // the policy is not told the rate
}

// Expect is a demand on the outcome: a figure, how it compares, and with what.
type Expect struct {
	Figure, Op string
	Value      float64
}

// String returns the expectation as it is written.
func (e Expect) String() string { return fmt.Sprintf("%s %s %v", e.Figure, e.Op, e.Value) }

// Parse reads a script up to a line "----". An error names the line.
func Parse(text string) (*Scenario, error) {
	sc := &Scenario{}
	for n, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "----") {
			break
		}
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if err := sc.line(f); err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
	}
	if sc.To == 0 {
		sc.To = sc.End
	}
	return sc, sc.Config.Validate()
}

// line reads one line, split into fields.
func (sc *Scenario) line(f []string) (err error) {
	if len(f) < 2 {
		return fmt.Errorf("%s: no value", f[0])
	}
	c := &sc.Config
	switch f[0] {
	case "mode":
		c.Mode, err = policy.ParseMode(f[1])
	case "standby":
		c.Standby = map[string]policy.StandbyMode{"on": policy.StandbyOn, "busy": policy.StandbyBusy}[f[1]]
	case "guard":
		c.NoGuard = f[1] == "off"
	case "hold_up":
		c.HoldUp, err = time.ParseDuration(f[1])
	case "max_rtt_diff":
		c.MaxRTTDiff, err = time.ParseDuration(f[1])
	case "report":
		sc.Report, err = time.ParseDuration(f[1])
	case "end":
		sc.End, err = time.ParseDuration(f[1])
	case "window":
		sc.Window, err = strconv.ParseFloat(f[1], 64)
		sc.Window *= 8e6
	case "measure":
		if sc.From, err = time.ParseDuration(f[1]); err == nil && len(f) > 2 {
			sc.To, err = time.ParseDuration(f[2])
		}
	case "link":
		err = sc.link(f[1:])
	case "at":
		err = sc.event(f[1:])
	case "expect":
		if len(f) != 4 {
			return fmt.Errorf("expect: want FIGURE OP VALUE")
		}
		e := Expect{Figure: f[1], Op: f[2]}
		e.Value, err = strconv.ParseFloat(f[3], 64)
		sc.Expects = append(sc.Expects, e)
	default:
		return fmt.Errorf("%q: no such word", f[0])
	}
	return err
}

// link reads "NAME ROLE DOWN/UP RTT QUEUE [unknown] [configured] [quota MB] [soft MB] [daily MB] [weight N]", rates in Mbit/s.
func (sc *Scenario) link(f []string) (err error) {
	if len(f) < 5 {
		return fmt.Errorf("link: want NAME ROLE DOWN/UP RTT QUEUE")
	}
	c, l := policy.LinkConfig{Name: f[0]}, Link{Name: f[0]}
	if c.Role, err = policy.ParseRole(f[1]); err != nil {
		return err
	}
	if l.Rate, err = rates(f[2]); err != nil {
		return err
	}
	if l.RTT, err = time.ParseDuration(f[3]); err != nil {
		return err
	}
	if l.Queue, err = time.ParseDuration(f[4]); err != nil {
		return err
	}
	for f = f[5:]; len(f) > 0; f = f[1:] {
		if f[0] == "unknown" {
			l.Unknown = true
			continue
		}
		if f[0] == "configured" {
			c.DownBit, c.UpBit = l.Rate[0], l.Rate[1]
			continue
		}
		if len(f) < 2 {
			return fmt.Errorf("%s: no value", f[0])
		}
		v, err := strconv.ParseFloat(f[1], 64)
		if err != nil {
			return err
		}
		switch f[0] {
		case "quota":
			c.Quota.Limit = uint64(v * 1e6)
		case "soft":
			c.Quota.Soft = uint64(v * 1e6)
		case "daily":
			c.Quota.Daily = uint64(v * 1e6)
		case "weight":
			c.Weight = v
		default:
			return fmt.Errorf("link %s: %q: no such word", l.Name, f[0])
		}
		f = f[1:]
	}
	sc.Config.Links = append(sc.Config.Links, c)
	sc.Links = append(sc.Links, l)
	return nil
}

// event adds an event, which must not be earlier than the one before.
func (sc *Scenario) event(f []string) error {
	e, err := event(f)
	if err != nil {
		return err
	}
	if n := len(sc.Events); n > 0 && sc.Events[n-1].At > e.At {
		return fmt.Errorf("at %v: earlier than the event before", e.At)
	}
	sc.Events = append(sc.Events, e)
	return nil
}
