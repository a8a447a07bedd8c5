// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// Options of a run.
type Options struct {
	Rounds int
	Quick  bool          // fewer works, no thousands of idle connections, shorter rests
	Scale  float64       // of the times of works
	Only   []string      // contestants; empty: all
	Works  []string      // keys; empty: all
	Idle   time.Duration // how long a daemon with nothing to do is watched
	Log    io.Writer
	Save   func() error // called after each round, so that little is lost when a run is broken off
}

// Known are the names of contestants and the keys of works that Options may name.
func Known() (contestants, works []string) {
	for _, c := range Contestants() {
		contestants = append(contestants, c.Name)
	}
	for _, w := range Works(1) {
		works = append(works, w.Key)
	}
	return contestants, append(works, "memory", "queues", "own", "heap")
}

// Run plays all rounds. A contestant that fails is noted and the others go on.
func Run(ctx context.Context, p Programs, o Options, r *Report) error {
	dir, err := os.MkdirTemp("", "spillway-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := NewStage(dir, p)
	if err != nil {
		return err
	}
	defer s.Close()
	r.Idle = s.most
	began := time.Now()
	for round := range o.Rounds {
		var one, five, fifteen float64
		load, _ := os.ReadFile("/proc/loadavg")
		fmt.Sscan(string(load), &one, &five, &fifteen)
		run := r.Runs[len(r.Runs)-1]
		run.Load = append(run.Load, one)
		fmt.Fprintf(o.Log, "round %d of %d, load average %.1f\n", round+1, o.Rounds, one)
		list := Contestants()
		if round%2 == 1 { // who comes first changes
			slices.Reverse(list)
		}
		for _, c := range list {
			e := r.Entry(c.Name)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if e.Missing != "" || len(o.Only) > 0 && !slices.Contains(o.Only, c.Name) {
				continue
			}
			if err := s.turn(ctx, c, e, r, round, o); err != nil {
				fmt.Fprintf(o.Log, "  %s: %v\n", c.Name, err)
				e.Trouble = append(e.Trouble, firstLine(err))
			}
		}
		if o.Save != nil {
			if err := o.Save(); err != nil {
				return err
			}
		}
		fmt.Fprintf(o.Log, "%v since the start\n", time.Since(began).Round(time.Second))
	}
	return nil
}

// remembered are those whose idle connections are counted: the others need minutes for the same ten thousand.
var remembered = []string{Spillway, CRW, HAPair, HAOne, "sing-box"}

// turn is one contestant's part of a round.
func (s *Stage) turn(ctx context.Context, c Contestant, e *Entry, r *Report, round int, o Options) error {
	if err := s.shape(Lines{}); err != nil {
		return err
	}
	p, err := s.Enter(c)
	if err != nil {
		fmt.Fprintf(o.Log, "  %s, once more after: %v\n", c.Name, err)
		time.Sleep(2 * time.Second)
		if p, err = s.Enter(c); err != nil {
			return err
		}
	}
	defer s.bond(false)
	if p != nil {
		defer p.Stop()
	}
	t := act{s, c, e, p, o}
	if round == 0 && t.wanted("memory") && slices.Contains(remembered, c.Name) { // first, so that memory is that of a fresh process
		if err := t.memory(); err != nil {
			return err
		}
	}
	if err := t.works(ctx); err != nil {
		return err
	}
	if t.wanted("queues") && (c.Name == Spillway || c.Name == NAT || c.Name == CRW) {
		if err := s.queues(c, p, time.Duration(3*o.Scale*float64(time.Second)), t.add("queues", "%.1f")); err != nil {
			return err
		}
	}
	if c.Name != Spillway || round > 0 {
		return nil
	}
	p.Stop()
	if t.wanted("heap") {
		if r.Heap, err = s.heap(ctx); err != nil {
			return err
		}
	}
	if !t.wanted("own") {
		return nil
	}
	rest := o.Idle
	if o.Quick {
		rest = 5 * time.Second
	}
	return s.own(t.add("own", "%.2f"), rest)
}

// act is who is on the stage, and where his figures go. The process is nil for who has none.
type act struct {
	s *Stage
	c Contestant
	e *Entry
	p *Proc
	o Options
}

func (t act) wanted(key string) bool { return len(t.o.Works) == 0 || slices.Contains(t.o.Works, key) }

// tell logs a line of a work.
func (t act) tell(work, format string, args ...any) {
	fmt.Fprintf(t.o.Log, "  %-18s %-10s %s\n", t.c.Name, work, fmt.Sprintf(format, args...))
}

// add notes figures of a work as they come, and logs each.
func (t act) add(work, format string) func(key string, v float64) {
	return func(key string, v float64) {
		t.tell(work, "%s "+format, key, v)
		t.e.Add(work+"."+key, v)
	}
}

// trouble notes that a work failed. It is an error, and the end of the turn, where the process has ended.
func (t act) trouble(work string, err error) error {
	t.e.Trouble = append(t.e.Trouble, work+": "+firstLine(err))
	if t.p != nil && !t.p.running() {
		return fmt.Errorf("ended: %s", t.p.text())
	}
	return nil
}

// memory counts the octets of each of many idle connections.
func (t act) memory() error {
	for _, n := range []int{100, 1000, 10_000} {
		if t.o.Quick && n > 1000 {
			continue
		}
		key := fmt.Sprintf("memory%d", n)
		f, err := t.s.Memory(min(n, t.s.most), t.p)
		if err != nil {
			t.tell("memory", "%d connections: %v", n, err)
			if err := t.trouble(key, err); err != nil {
				return err
			}
			continue
		}
		if t.p != nil {
			t.e.Add(key+".user", f.User)
		}
		t.e.Add(key+".kernel", f.Kernel)
		if f.Charged > 0 {
			t.e.Add(key+".charged", f.Charged)
		}
		t.tell("memory", "%d connections: user %.0f, kernel %.0f, of it charged to the relay %.0f octets each", min(n, t.s.most), f.User, f.Kernel, f.Charged)
		time.Sleep(time.Second)
	}
	return nil
}

// works does what everybody does in each round.
func (t act) works(ctx context.Context) error {
	for _, w := range Works(t.o.Scale) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if t.o.Quick && !w.Quick || !t.wanted(w.Key) || !t.c.does(w) {
			continue
		}
		figures, err := t.s.Do(w, t.p)
		if err != nil {
			t.tell(w.Key, "%v", err)
			if err := t.trouble(w.Key, err); err != nil {
				return err
			}
			continue
		}
		t.tell(w.Key, "%s", inWords(figures))
		for k, v := range figures {
			t.e.Add(w.Key+"."+k, v)
		}
	}
	return nil
}

func inWords(f map[string]float64) string {
	var words []string
	for _, k := range []string{"mbit", "cpu", "user", "system", "wakeups", "machine", "rate", "p50", "p99", "cpu_ms", "sleeps", "ask50", "ask99", "mixed50", "mixed99", "joins"} {
		if v, ok := f[k]; ok {
			words = append(words, fmt.Sprintf("%s %.4g", k, v))
		}
	}
	return strings.Join(words, "  ")
}
