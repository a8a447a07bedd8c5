// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"spillway/mptcp"
	"spillway/relay"
	"spillway/testbed/linkemu"
	"spillway/testbed/qemu/guest"
	"spillway/testbed/scenario"
	"spillway/testbed/traffic"
	"spillway/testbed/world"
)

// Bench is one guest with all that it needs to stand in a world.
type Bench struct {
	Guest   Guest
	Image   Image
	Memory  int  // MB; 0: the guest's usual
	Capture bool // see Slot
	Bin     world.Binaries
	Log     func(format string, a ...any)
}

// ErrNotHere: a scenario has something that an emulated machine has not.
var ErrNotHere = errors.New("not in an emulated machine")

// Fits says whether a scenario can be played in an emulated machine.
func Fits(s scenario.Scenario) error {
	switch s.Name {
	case "link-replaced", "lte-replaced":
		return fmt.Errorf("%w: its devices stay", ErrNotHere)
	case "conntrack-full", "memory-short", "memory-out", "ubusd-killed":
		return fmt.Errorf("%w: it takes hold of this machine's kernel, not of the guest's", ErrNotHere)
	}
	if slices.Contains([]string{"each-its-own-user", "crowd"}, s.Name) {
		return fmt.Errorf("%w: the router's sockets are looked at from within its namespace", ErrNotHere)
	}
	for _, l := range s.Links {
		if l.Kind != linkemu.Ethernet {
			return fmt.Errorf("%w: link %s is no Ethernet device", ErrNotHere, l.Name)
		}
	}
	return nil
}

// Play plays a scenario at a fraction of its rates in a freshly booted guest. dir is for logs, the console's among them. busy is
// the part of the time in which the guest's processor had work.
func (b Bench) Play(ctx context.Context, s scenario.Scenario, fraction float64, dir string) (run *scenario.Run, busy float64, err error) {
	if err := Fits(s); err != nil {
		return nil, 0, err
	}
	small := scaled(s, fraction)
	slot := &Slot{Guest: b.Guest, Image: b.Image, Memory: b.Memory, Capture: b.Capture, Limit: 20 * time.Minute}
	w, err := world.Make(world.Config{Links: small.Links, Settings: small.Settings, ServerDelay: small.ServerDelay, On: slot.On}, dir, b.Bin)
	if err != nil {
		return nil, 0, err
	}
	defer w.Close()
	if s.Before != nil {
		if err := s.Before(w); err != nil {
			return nil, 0, fmt.Errorf("before scenario %s: %w", s.Name, err)
		}
	}
	if err := s.Ready(w); err != nil {
		return nil, 0, err
	}
	var before, after guest.Usage
	brief := guest.Request{Do: guest.Measure, Text: guest.Brief}
	slot.Machine.Ask(brief, &before)
	begin := time.Now()
	run, err = scenario.Play(ctx, w, small, b.Log)
	if run != nil {
		unscaled(run, s, fraction)
		slot.Machine.toHostClock(run.Changes)
	}
	if err == nil {
		err = slot.Machine.Ask(brief, &after)
	}
	if err != nil {
		return run, 0, fmt.Errorf("%w\nthe console's end:\n%s", err, slot.Machine.Console(3000))
	}
	length := time.Since(begin)
	if pace := float64(after.Now-before.Now) / float64(length); math.Abs(pace-1) > 0.01 {
		b.log("the guest's clock ran at %.3f of this machine's: rates and times that the daemon sees are as wrong", pace)
	}
	return run, (after.Busy - before.Busy).Seconds() / length.Seconds(), nil
}

// Beside plays a scenario at a fraction of its rates with the router in a namespace, for figures to compare a guest's with.
func Beside(ctx context.Context, s scenario.Scenario, fraction float64, bin world.Binaries, dir string) (*scenario.Run, error) {
	small := scaled(s, fraction)
	w, err := small.World(dir, bin)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	if err := small.Ready(w); err != nil {
		return nil, err
	}
	run, err := scenario.Play(ctx, w, small, nil)
	if run != nil {
		unscaled(run, s, fraction)
	}
	return run, err
}

// toHostClock shifts what the daemon dated by the guest's clock, which begins at a whole second of the host's or so. Of several
// answers the one that came soonest tells the difference best.
func (m *Machine) toHostClock(changes []scenario.Change) {
	soonest, ahead := time.Hour, time.Duration(0)
	for range 5 {
		var u guest.Usage
		asked := time.Now()
		if m.Ask(guest.Request{Do: guest.Measure, Text: guest.Brief}, &u) != nil {
			return
		}
		if took := time.Since(asked); took < soonest {
			soonest, ahead = took, time.Unix(0, u.Now).Sub(asked.Add(took/2))
		}
	}
	for i := range changes {
		changes[i].At = changes[i].At.Add(-ahead)
	}
}

// Figures is what a guest is and what Spillway costs it.
type Figures struct {
	Guest       string        `json:"guest"`
	About       guest.About   `json:"about"`
	Memory      int           `json:"memory_mb"`
	Booted      time.Duration `json:"boot_wall_ns"`
	Forward     float64       `json:"forward_mbps"` // plain, by the kernel, with address translation
	Spliced     Cost          `json:"splice"`
	Relayed     Cost          `json:"relay"`
	Idle        guest.Usage   `json:"idle"`
	Connected   guest.Usage   `json:"connected"` // when it was largest
	Connections int           `json:"connections"`
	Failed      int           `json:"failed"`
	OOM         int64         `json:"oom"`
	Available   int64         `json:"available"`  // octets that programs could still have had, with all connections
	Start       time.Duration `json:"start_ns"`   // from the daemon's start to the first connection that it relays; 0: not measured
	Restart     time.Duration `json:"restart_ns"` // the same from SIGTERM of its predecessor, which puts everything back
}

// Cost is what carrying octets took: seconds of processor time per GiB.
type Cost struct {
	Mbit    float64 `json:"mbps"`
	Process float64 `json:"process_s_per_gib"` // of the relay itself, user and system
	Machine float64 `json:"machine_s_per_gib"` // everything: interrupts and forwarding too
}

// Connections is how many a guest must carry: 300 on MIPS, where routers have 64 MB, 1,000 elsewhere.
func (g Guest) Connections() int {
	if strings.HasPrefix(g.QEMU, "qemu-system-mips") {
		return 300
	}
	return 1000
}

// Measure finds out what a guest can forward, what relaying costs there compared with the yardstick, and how much memory
// many connections take. Each transfer takes so long.
func (b Bench) Measure(dir string, transfer time.Duration) (f Figures, err error) {
	slot := &Slot{Guest: b.Guest, Image: b.Image}
	wire := linkemu.Shape{Delay: time.Millisecond}
	link := world.Link{Name: "dsl", Up: wire, Down: wire, Learn: true}
	// The one LAN host stands for a household: it may have all the connections that the daemon chooses by the machine's memory.
	household := world.Settings{Relay: map[string]string{"max_per_host": fmt.Sprint(relay.DefaultMaxSessions)}}
	w, err := world.Make(world.Config{Links: []world.Link{link}, Settings: household, On: slot.On}, dir, b.Bin)
	if err != nil {
		return f, err
	}
	defer w.Close()
	m := slot.Machine
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\nthe console's end:\n%s", err, m.Console(3000))
		}
	}()
	f = Figures{Guest: b.Guest.Name, About: m.About, Memory: b.Guest.Memory, Booted: m.Took}
	if err := errors.Join(w.StartServer(w.Dir), w.StartConcentrator()); err != nil {
		return f, err
	}
	forward, err := b.cost(w, m, traffic.Demand{Kind: traffic.Get, For: transfer})
	if err != nil {
		return f, err
	}
	f.Forward = forward.Mbit
	if err := m.Ask(guest.Request{Do: guest.Splice, Text: "0.0.0.0:7777 " + world.To("4")}, nil); err != nil {
		return f, err
	}
	if f.Spliced, err = b.cost(w, m, traffic.Demand{Kind: traffic.Get, For: transfer, To: world.Router4 + ":7777"}); err != nil {
		return f, err
	}
	if err := m.Ask(guest.Request{Do: guest.Signal, Signal: 9}, nil); err != nil {
		return f, err
	}
	if err := w.Router.Start(w.TOML()); err != nil {
		return f, err
	}
	time.Sleep(2 * time.Second) // what the start left behind is collected
	var idle guest.Usage
	if err := m.Ask(guest.Request{Do: guest.Measure}, &idle); err != nil {
		return f, err
	}
	f.Idle = idle
	if f.Relayed, err = b.cost(w, m, traffic.Demand{Kind: traffic.Get, For: transfer}); err != nil {
		return f, err
	}
	if err := b.crowd(w, m, &f); err != nil {
		return f, err
	}
	f.Start, f.Restart, err = starts(w, m)
	return f, err
}

// starts restarts the daemon three times while a LAN host makes one small request after the other, and returns the medians of Figures.Start
// and Restart. The first relayed connection is seen where it arrives, so that the guest has nothing else to do.
func starts(w *world.World, m *Machine) (start, restart time.Duration, err error) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			w.Demand(traffic.Demand{Kind: traffic.Web, Octets: 200, For: time.Second, Timeout: 5 * time.Second}) // some fail while the rules change
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	defer func() {
		close(stop)
		<-stopped
	}()
	arrived := func() (n uint64) {
		w.HAG.Do(func() error {
			var c mptcp.Counters
			err := c.Read()
			n = c.Get("MPCapableSYNRX")
			return err
		})
		return n
	}
	var starts, restarts []time.Duration
	for range 3 {
		ended := ""
		signalled := time.Now()
		if err := m.Ask(guest.Request{Do: guest.Signal, Signal: 15}, nil); err != nil {
			return 0, 0, err
		}
		for ended == "" {
			if time.Since(signalled) > 2*time.Minute {
				return 0, 0, errors.New("the daemon does not end")
			}
			if err := m.Ask(guest.Request{Do: guest.Ended}, &ended); err != nil {
				return 0, 0, err
			}
		}
		before, begun := arrived(), time.Now()
		if err := m.Ask(guest.Request{Do: guest.Start, Path: filepath.Join(w.Dir, "spillway.toml"), Text: w.TOML()}, nil); err != nil {
			return 0, 0, err
		}
		if err := world.WaitFor("the first connection that a new daemon relays", time.Minute, func() bool { return arrived() > before }); err != nil {
			return 0, 0, err
		}
		starts, restarts = append(starts, time.Since(begun)), append(restarts, time.Since(signalled))
		time.Sleep(time.Second) // the next one is to find a daemon that has settled
	}
	slices.Sort(starts)
	slices.Sort(restarts)
	return starts[1], restarts[1], nil
}

// cost does a transfer and measures what it took. The yardstick's first transfer waits until it listens.
func (b Bench) cost(w *world.World, m *Machine, d traffic.Demand) (c Cost, err error) {
	var before, after guest.Usage
	var r traffic.Result
	for range 20 {
		if err := m.Ask(guest.Request{Do: guest.Measure}, &before); err != nil {
			return c, err
		}
		if r, err = w.Demand(d); err != nil {
			return c, err
		}
		if r.Octets > 0 {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	if err := m.Ask(guest.Request{Do: guest.Measure}, &after); err != nil {
		return c, err
	}
	if r.Octets == 0 || r.Bad != 0 {
		return c, fmt.Errorf("transfer to %s: %d octets, %d wrong: %q", d.To, r.Octets, r.Bad, r.Errors)
	}
	gib := float64(r.Octets) / (1 << 30)
	return Cost{r.Mbit, (after.CPU - before.CPU).Seconds() / gib, (after.Busy - before.Busy).Seconds() / gib}, nil
}

// crowd holds many connections at once and then uses each.
func (b Bench) crowd(w *world.World, m *Machine, f *Figures) error {
	f.Connections = b.Guest.Connections()
	sockets, most := "", 0
	done := make(chan error, 1)
	var r traffic.Result
	go func() (err error) {
		defer func() { done <- err }()
		r, err = w.Demand(traffic.Demand{Kind: traffic.Get, Octets: 5000, Connections: f.Connections, Parallel: 4, Hold: 20 * time.Second, Timeout: 180 * time.Second})
		return err
	}()
	for {
		select {
		case err := <-done:
			f.Failed = r.Failed + r.Bad
			if f.Failed > 0 {
				b.log("of %d connections %d failed: %s", f.Connections, f.Failed, strings.Join(r.Errors, "; "))
				b.log("TCP when it held most memory, in pages: %s", sockets)
				b.log("the daemon counts: %s", counted(w))
				b.log("the console's end:\n%s", m.Console(3000))
			}
			return err
		case <-time.After(500 * time.Millisecond):
		}
		var u guest.Usage
		if err := m.Ask(guest.Request{Do: guest.Measure}, &u); err != nil {
			return errors.Join(err, <-done)
		}
		if now, pages := m.sockets(); pages > most {
			sockets, most = now, pages
		}
		if f.OOM = u.OOM; u.RSS > f.Connected.RSS {
			f.Connected = u
		}
		if f.Available == 0 || u.Available < f.Available {
			f.Available = u.Available
		}
	}
}

// counted is what the daemon has counted so far, for people: all that is not nought.
func counted(w *world.World) string {
	status, err := w.Router.Status()
	if err != nil {
		return err.Error()
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(status.Counters)) {
		if n := status.Counters[name]; n != 0 {
			all = append(all, fmt.Sprintf("%s %d", name, n))
		}
	}
	return strings.Join(all, ", ")
}

// sockets is what the guest's TCP holds and how much memory it may, for people, and the pages that it holds.
func (m *Machine) sockets() (text string, pages int) {
	stat, limits := "", ""
	m.Ask(guest.Request{Do: guest.Read, Path: "/proc/net/sockstat"}, &stat)
	m.Ask(guest.Request{Do: guest.Read, Path: "/proc/sys/net/ipv4/tcp_mem"}, &limits)
	for line := range strings.Lines(stat) {
		if _, mem, ok := strings.Cut(line, " mem "); ok && strings.HasPrefix(line, "TCP:") {
			fmt.Sscan(mem, &pages)
			text = strings.TrimSpace(line) + "; tcp_mem " + strings.Join(strings.Fields(limits), " ")
		}
	}
	return text, pages
}

func (b Bench) log(format string, a ...any) {
	if b.Log != nil {
		b.Log(format, a...)
	}
}

// Failing returns the expectations whose bound a run did not keep.
func Failing(findings []scenario.Finding) []scenario.Finding {
	return slices.DeleteFunc(slices.Clone(findings), func(f scenario.Finding) bool { return f.Within })
}
