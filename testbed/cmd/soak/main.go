// SPDX-License-Identifier: Apache-2.0

// Command soak lets a router live through much in little time and looks for what grows.
//
//	soak [OPTION]...
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"spillway/testbed/scenario"
	"spillway/testbed/traffic"
	"spillway/testbed/usage"
	"spillway/testbed/world"
)

const about = `soak [OPTION]...

Lets a router live through much in little time and looks for what grows. All the while a LAN host makes short and long connections,
links lose carrier, addresses change, the configuration is reloaded, the concentrator restarts. At start, middle and end all rests for a
moment and what the daemon holds is counted. It ends with 1 when something has grown, an octet was wrong, or more connections stood
still for 30 s than the concentrator was killed. Needs root. docs/FAULTS.md has figures.

  soak -for 30m -pause 2s
`

func main() {
	length := flag.Duration("for", 2*time.Minute, "how long")
	pause := flag.Duration("pause", 0, "how long a LAN host rests after each of its demands: a busy machine has less to do")
	keep := flag.String("keep", "", "write logs to this directory and leave them there")
	usage.Alone(flag.CommandLine, os.Args[1:], about)
	world.Main("soak", func(ctx context.Context) error { return run(ctx, *length, *pause, *keep) })
}

func run(ctx context.Context, length, pause time.Duration, dir string) error {
	bin, err := world.Build()
	if err != nil {
		return err
	}
	if dir == "" {
		if dir, err = os.MkdirTemp("", "spillway-soak-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	} else if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	w, err := world.Make(world.Config{Links: world.Two(), Settings: settings(0)}, dir, bin)
	if err != nil {
		return err
	}
	defer w.Close()
	if err := (scenario.Scenario{}).Ready(w); err != nil {
		return err
	}
	s := soak{w: w, pause: pause}
	s.live(ctx, min(20*time.Second, length/6)) // pools and caches fill
	var counts [3]world.Usage
	for i := range counts {
		if i > 0 {
			s.live(ctx, length/2)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if counts[i], err = w.AtRest(); err != nil {
			return fmt.Errorf("%w\n%s", err, w.Logs(3000))
		}
	}
	s.report(counts)
	faults := world.Grown(counts[0], counts[2])
	if s.wrong > 0 {
		faults = append(faults, fmt.Sprintf("%d connections with a wrong octet", s.wrong))
	}
	// A concentrator that dies while a line is cut is heard by nobody who waits there for an answer: TCP has no way to know.
	if s.still > s.restarts {
		faults = append(faults, fmt.Sprintf("%d connections stood still for 30 s, with %d restarts of the concentrator", s.still, s.restarts))
	}
	if len(faults) > 0 {
		return fmt.Errorf("%s", strings.Join(faults, "; "))
	}
	return nil
}

// settings differ with each reload, and come back.
func settings(n int) world.Settings {
	s := world.Settings{Policy: map[string]string{"hold_up": `"1s"`, "overflow_leave_for": fmt.Sprintf("%q", fmt.Sprintf("%ds", 3+n%3))}}
	if n%2 == 1 {
		s.Rules = []map[string]string{{"name": `"voice"`, "dst": `["192.0.2.0/24"]`, "action": `"bypass"`}}
	}
	return s
}

// soak is a router's life and what was counted of it.
type soak struct {
	w     *world.World
	pause time.Duration

	mu                                sync.Mutex
	requests, failed, wrong, still    int
	octets                            int64
	flaps, reloads, restarts, changes int
	errors                            []string
	lately                            []string // the last few events
}

// live makes life happen for a while.
func (s *soak) live(ctx context.Context, length time.Duration) {
	end := time.Now().Add(length)
	var all sync.WaitGroup
	again := func(fn func()) {
		all.Go(func() {
			for time.Now().Before(end) && ctx.Err() == nil {
				fn()
				time.Sleep(s.pause)
			}
		})
	}
	again(func() {
		s.demand(traffic.Demand{Kind: traffic.Web, Connections: 100, Parallel: 8, Timeout: 30 * time.Second})
	})
	again(func() {
		s.demand(traffic.Demand{Kind: traffic.Web, To: world.To("6"), Connections: 30, Parallel: 4, Timeout: 30 * time.Second})
	})
	again(func() {
		s.demand(traffic.Demand{Kind: traffic.Get, Octets: 6_000_000, Connections: 2, Timeout: 60 * time.Second})
	})
	again(func() {
		s.demand(traffic.Demand{Kind: traffic.Put, Octets: 300_000, Connections: 3, Timeout: 60 * time.Second})
	})
	all.Go(func() {
		for n := 0; time.Now().Before(end) && ctx.Err() == nil; n++ {
			s.happen(n)
		}
	})
	all.Wait()
}

func (s *soak) demand(d traffic.Demand) {
	r, err := s.w.Demand(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.failed++
		s.note(err.Error())
		return
	}
	s.requests, s.failed, s.wrong, s.octets = s.requests+r.Connections, s.failed+r.Failed, s.wrong+r.Bad, s.octets+r.Octets
	for _, e := range r.Wrong {
		fmt.Printf("%s: %v to %s: %s; the last events: %s\n", time.Now().Format("15:04:05"), d.Kind, d.To, e, strings.Join(s.lately, ", "))
	}
	for _, e := range r.Errors {
		if strings.Contains(e, "timeout") {
			s.still++
			fmt.Printf("%s: %v to %s: %s; the last events: %s\n", time.Now().Format("15:04:05"), d.Kind, d.To, e, strings.Join(s.lately, ", "))
		}
	}
}

// note keeps the first few.
func (s *soak) note(e string) {
	if len(s.errors) < 10 {
		s.errors = append(s.errors, e)
	}
}

// happen is one event and the pause after it.
func (s *soak) happen(n int) {
	w, err := s.w, error(nil)
	switch n % 8 {
	case 0, 2, 4, 6: // one link or the other, for a short while or long enough to be given up
		line := w.Lines[n/2%2]
		err = line.Cut()
		time.Sleep(time.Duration(100+200*(n%5)) * time.Millisecond)
		if e := line.Restore(); err == nil {
			err = e
		}
		s.flaps++
	case 1, 5:
		w.Settings = settings(s.reloads)
		err = w.Router.Reload(w.TOML())
		s.reloads++
	case 3:
		err = w.Readdress(n / 8 % 2)
		s.changes++
	case 7:
		if n/8%4 == 3 {
			w.KillConcentrator()
			time.Sleep(500 * time.Millisecond)
			err = w.StartConcentrator()
			s.restarts++
		}
	}
	s.mu.Lock()
	if err != nil {
		s.note(err.Error())
	}
	s.lately = append(s.lately, fmt.Sprintf("%d at %s", n%32, time.Now().Format("04:05.0")))
	if len(s.lately) > 60 {
		s.lately = s.lately[1:]
	}
	s.mu.Unlock()
	time.Sleep(400 * time.Millisecond)
}

func (s *soak) report(counts [3]world.Usage) {
	world.PrintUsage(os.Stdout, "start", "middle", "end", counts)
	fmt.Printf("\n%d connections, %d MB; %d failed, %d with a wrong octet, %d stood still\n", s.requests, s.octets/1e6, s.failed, s.wrong, s.still)
	fmt.Printf("%d flaps, %d reloads, %d addresses changed, %d restarts of the concentrator\n", s.flaps, s.reloads, s.changes, s.restarts)
	for _, e := range s.errors {
		fmt.Println(" ", e)
	}
}
