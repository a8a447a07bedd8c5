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
	wanted := func(key string) bool { return len(o.Works) == 0 || slices.Contains(o.Works, key) }
	for _, n := range []int{100, 1000, 10_000} { // first, so that memory is that of a fresh process
		if round > 0 || o.Quick && n > 1000 || !wanted("memory") || !slices.Contains(remembered, c.Name) {
			continue
		}
		f, err := s.Memory(min(n, s.most), p)
		if err != nil {
			fmt.Fprintf(o.Log, "  %-18s %-10s %d connections: %v\n", c.Name, "memory", n, err)
			e.Trouble = append(e.Trouble, fmt.Sprintf("memory%d: %s", n, firstLine(err)))
			if p != nil && !p.running() {
				return fmt.Errorf("ended: %s", p.text())
			}
			continue
		}
		if p != nil {
			e.Add(fmt.Sprintf("memory%d.user", n), f.User)
		}
		e.Add(fmt.Sprintf("memory%d.kernel", n), f.Kernel)
		if f.Charged > 0 {
			e.Add(fmt.Sprintf("memory%d.charged", n), f.Charged)
		}
		fmt.Fprintf(o.Log, "  %-18s %-10s %d connections: user %.0f, kernel %.0f, of it charged to the relay %.0f octets each\n", c.Name, "memory", min(n, s.most), f.User, f.Kernel, f.Charged)
		time.Sleep(time.Second)
	}
	for _, w := range Works(o.Scale) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if o.Quick && !w.Quick || !wanted(w.Key) || !c.does(w) {
			continue
		}
		figures, err := s.Do(w, p)
		if err != nil {
			fmt.Fprintf(o.Log, "  %-18s %-10s %v\n", c.Name, w.Key, err)
			e.Trouble = append(e.Trouble, w.Key+": "+firstLine(err))
			if p != nil && !p.running() {
				return fmt.Errorf("ended: %s", p.text())
			}
			continue
		}
		fmt.Fprintf(o.Log, "  %-18s %-10s %s\n", c.Name, w.Key, inWords(figures))
		for k, v := range figures {
			e.Add(w.Key+"."+k, v)
		}
	}
	if wanted("queues") && (c.Name == Spillway || c.Name == NAT || c.Name == CRW) {
		add := func(key string, v float64) {
			fmt.Fprintf(o.Log, "  %-18s %-10s %s %.1f\n", c.Name, "queues", key, v)
			e.Add("queues."+key, v)
		}
		if err := s.queues(c, p, time.Duration(3*o.Scale*float64(time.Second)), add); err != nil {
			return err
		}
	}
	if c.Name != Spillway || round > 0 {
		return nil
	}
	p.Stop()
	if wanted("heap") {
		if r.Heap, err = s.heap(ctx); err != nil {
			return err
		}
	}
	if !wanted("own") {
		return nil
	}
	rest := o.Idle
	if o.Quick {
		rest = 5 * time.Second
	}
	return s.own(func(key string, v float64) {
		fmt.Fprintf(o.Log, "  %-18s %-10s %s %.2f\n", c.Name, "own", key, v)
		e.Add("own."+key, v)
	}, rest)
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
