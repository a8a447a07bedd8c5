// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"spillway/mptcp"
	"spillway/relay"
	"spillway/testbed/linkemu"
	"spillway/testbed/qemu/guest"
	"spillway/testbed/traffic"
	"spillway/testbed/world"
)

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
