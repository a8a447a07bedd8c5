// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"spillway/testbed/traffic"
	"spillway/testbed/world"
)

// Run is a scenario as it was played.
type Run struct {
	Scenario
	Start   time.Time
	Samples []world.Sample // of the router's counters, every 20 ms
	Results map[string]traffic.Result
	Fired   []time.Time // when each event was over
	Changes []Change    // of links, as the daemon tells them
	Tally   world.Tally // of the kernels' counters: what grew meanwhile
	log     func(string, ...any)
}

// Change is a link's change of state, as the daemon's method "why" tells it.
type Change struct {
	At             time.Time
	Link, From, To string
	Why            string
}

// World builds the world that a scenario plays in; its caller closes it.
func (s Scenario) World(dir string, bin world.Binaries) (*world.World, error) {
	w, err := world.Make(world.Config{Links: s.Links, Settings: s.Settings, ServerDelay: s.ServerDelay}, dir, bin)
	if err != nil || s.Before == nil {
		return w, err
	}
	if err := s.Before(w); err != nil {
		w.Close()
		return nil, fmt.Errorf("before scenario %s: %w", s.Name, err)
	}
	return w, nil
}

// Ready starts everything that a scenario needs in its world.
func (s Scenario) Ready(w *world.World) error {
	if err := w.StartServer(w.Dir); err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	if s.Native {
		return nil
	}
	if err := w.StartConcentrator(); err != nil {
		return fmt.Errorf("start the concentrator: %w", err)
	}
	if err := w.Router.Start(w.TOML()); err != nil {
		return fmt.Errorf("start the router: %w", err)
	}
	return nil
}

// Play plays a scenario in a world that is ready. log hears of events; nil: nobody.
func Play(ctx context.Context, w *world.World, s Scenario, log func(string, ...any)) (*Run, error) {
	if log == nil {
		log = func(string, ...any) {}
	}
	r := &Run{Scenario: s, Start: time.Now(), Results: map[string]traffic.Result{}, log: log}
	stop, recorded := make(chan struct{}), make(chan []world.Sample)
	go func() { recorded <- w.Record(20*time.Millisecond, stop) }()
	before := w.Tally()
	err := r.play(ctx, w)
	close(stop)
	r.Samples = <-recorded
	r.Tally = w.Tally().Since(before)
	if !s.Native {
		r.transitions(w)
	}
	return r, err
}

// transitions asks the daemon; one that is dead has nothing to say.
func (r *Run) transitions(w *world.World) {
	var answer struct{ Transitions []Change }
	if b, err := w.Router.Control("why", nil); err == nil && json.Unmarshal(b, &answer) == nil {
		r.Changes = answer.Transitions
	}
}

// play runs demands and events side by side and returns the first error.
func (r *Run) play(ctx context.Context, w *world.World) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	var all sync.WaitGroup
	over := make([]chan struct{}, len(r.Events))
	for i := range over {
		over[i] = make(chan struct{})
	}
	for _, d := range r.Demands {
		all.Go(func() {
			begin := r.Start
			if d.After > 0 {
				select {
				case <-ctx.Done():
					return
				case <-over[d.After-1]:
					begin = time.Now()
				}
			}
			if wait(ctx, begin.Add(d.Start)) != nil {
				return
			}
			if d.To == "" && d.Family == "6" {
				d.To = world.To("6")
			}
			result, err := w.Demand(d.Demand)
			if err != nil {
				cancel(fmt.Errorf("demand %s: %w", d.Name, err))
				return
			}
			mu.Lock()
			defer mu.Unlock()
			r.Results[d.Name] = result
		})
	}
	all.Go(func() {
		for i, e := range r.Events {
			if wait(ctx, r.Start.Add(e.At)) != nil {
				return
			}
			r.log("%5.1f s  %s %s", time.Since(r.Start).Seconds(), e.Do, e.Link)
			if err := e.do(w); err != nil {
				cancel(fmt.Errorf("event %s %s: %w", e.Do, e.Link, err))
				return
			}
			r.Fired = append(r.Fired, time.Now())
			close(over[i])
		}
		wait(ctx, r.Start.Add(r.Length))
	})
	all.Wait()
	return context.Cause(ctx)
}

// wait until an instant.
func wait(ctx context.Context, at time.Time) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Until(at)):
		return nil
	}
}

// do makes an event happen.
func (e Event) do(w *world.World) error {
	if e.Act != nil {
		return e.Act(w)
	}
	switch e.Do {
	case KillRouter:
		return w.Router.Kill()
	case StopRouter:
		return w.Router.Stop()
	case StartRouter:
		return w.Router.Start(w.TOML())
	case Reload:
		w.Settings = *e.Settings
		return w.Router.Reload(w.TOML())
	case KillConcentrator:
		w.KillConcentrator()
		return nil
	case StartConcentrator:
		return w.StartConcentrator()
	case FreezeConcentrator, ThawConcentrator:
		return w.FreezeConcentrator(e.Do == FreezeConcentrator)
	}
	i, err := w.Link(e.Link)
	if err != nil {
		return err
	}
	line := w.Lines[i]
	switch e.Do {
	case Cut:
		return line.Cut()
	case Restore:
		return line.Restore()
	case Blackhole, BlackholeUp, BlackholeDown, Clear:
		line.Blackhole(e.Do == Blackhole || e.Do == BlackholeUp, e.Do == Blackhole || e.Do == BlackholeDown)
	case Reshape:
		line.Shape(e.Up, e.Down)
	case Meddle:
		line.Middleboxes(e.Box, e.Box)
	case Readdress:
		return w.Readdress(i)
	default:
		return fmt.Errorf("action %q: there is none of that name", e.Do)
	}
	return nil
}

// Findings measures all expectations.
func (r *Run) Findings() (all []Finding) {
	for _, e := range r.Expect {
		f := Finding{Expectation: e, Figure: e.Measure(r)}
		f.Met, f.Within = e.Is.holds(f.Figure, e.Aim), cmp.Or(e.AtBound, e.Is).holds(f.Figure, e.Bound)
		all = append(all, f)
	}
	return all
}
