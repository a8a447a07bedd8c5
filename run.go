// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"spillway/config"
	"spillway/journal"
	"spillway/kernel"
	"spillway/linkmon"
	"spillway/mptcp"
	"spillway/policy"
	"spillway/relay"
)

func runCommand(ctx context.Context, e env, flags *flag.FlagSet, args []string) error {
	file := flags.String("config", defaultConfig, "the configuration `file`")
	takeover := flags.Bool("takeover", false, "take the listening sockets of a running daemon, which then lets its connections finish and ends")
	if err := parse(flags, args, 0); err != nil {
		return err
	}
	c, err := config.Load(*file)
	if err != nil {
		return usageError{err}
	}
	tuneRuntime()
	if err := dropPrivileges(); err != nil {
		return err
	}
	h, err := build(*file, c, journal.New(bySeverity{e.stdout, e.stderr}, logLevel(c.LogLevel)))
	if err != nil {
		return err
	}
	if *takeover {
		if h.inherited, err = takeOver(c.Daemon.Control); err != nil {
			return err
		}
		h.restoreUsage() // the predecessor has just saved it
	}
	return h.run(ctx)
}

func logLevel(name string) journal.Level {
	l, _ := journal.ParseLevel(name) // config allows no other names
	return l
}

// bySeverity parts a log: procd gives to the system log as an error what comes by stderr, and as information what comes by stdout.
type bySeverity struct{ info, err io.Writer }

// Write takes one line of a journal, which begins with its level.
func (w bySeverity) Write(line []byte) (int, error) {
	if bytes.HasPrefix(line, []byte("level=WARN")) || bytes.HasPrefix(line, []byte("level=ERROR")) {
		return w.err.Write(line)
	}
	return w.info.Write(line)
}

// build makes the rooms; nothing is changed in the kernel yet.
func build(file string, c *config.Config, log *journal.Logger) (*house, error) {
	h := &house{
		file: file, log: log, cfg: c, started: time.Now(), boot: bootID(), memory: memory(), stateSince: time.Now(),
		snapshots: make(chan linkmon.Snapshot, 1), joins: make(chan mptcp.Event, 64), poked: make(chan struct{}, 1),
		resolved: make(chan resolved), probes: make(chan probeResult), calls: make(chan func()), rename: make(chan struct{}, 1), rehold: make(chan struct{}, 1), notHeld: errNotRead,
		hup: hangups(), usage: usageFile(c.Daemon.State), features: mptcp.Probe(), tell: func(event) {},
	}
	h.shared.Store(c)
	for _, l := range c.Links {
		h.names = append(h.names, l.Device)
	}
	h.transparent = transparent(c)
	h.addrs, h.numbers = literal(c.Concentrators), numberRules(c.Rules, nil)
	n := len(c.Links)
	h.senses, h.paths, h.joined, h.repeats = make([]sense, n), make([]pathState, n), make([]bool, n), make([]repeat, n)
	if steersApart(c.Policy.PathManager, h.features) {
		h.steering, h.reached = newSteering(kernelNumbers(c)), make([]bool, n)
	} else if c.Policy.PathManager == "user" {
		log.Warn("this kernel can't treat connections apart (Linux 6.12 can), so the kernel's path manager is used (policy.path_manager)")
	}
	err := h.ear.Hear(mptcp.EventSubClosed) // of joins when they are news: listen
	if h.deaf = true; err != nil {
		return nil, err
	}
	if !h.features.MPTCP {
		log.Error(noMPTCP)
	}
	if h.kernel, err = kernel.New(kernel.Options{
		Saved: filepath.Join(filepath.Dir(c.Daemon.Control), "spillway.sysctl"), Numbers: kernelNumbers(c),
	}, log.With("room", "kernel")); err != nil {
		return nil, err
	}
	h.v6 = h.kernel.HasIPv6()
	if h.monitor, err = linkmon.New(linkmonConfig(c, h.names), log.With("room", "linkmon")); err != nil {
		return nil, err
	}
	if h.relay, err = relay.New(h.relayConfig(), log.With("room", "relay")); err != nil {
		return nil, err
	}
	if h.diag, err = mptcp.OpenDiag(); err != nil {
		log.Warn("sock_diag can't be used; blackholes are found later, and flows show no share of the links", "error", err)
	}
	h.machine = policy.New(policyConfig(c, h.network))
	h.restoreUsage()
	h.setCapacities()
	h.apply = newApplier(h.kernel, log.With("room", "kernel"))
	h.relay.OnState(h.poke)
	h.relay.OnBulk(h.monitor.Poke)
	h.relay.Spare(spareMemory)
	return h, nil
}

// noMPTCP is why nothing is bonded on some machines. The daemon runs there all the same: to say so, and to be examined.
const noMPTCP = "this kernel has no MPTCP, or it is switched off (net.mptcp.enabled), so nothing is intercepted; OpenWrt has it from 24.10 on, but for small-flash targets"

// task is a part that runs until the context ends. The first that fails ends the house.
type task struct {
	name string
	run  func(ctx context.Context) error
}

// run starts the tasks and waits. At the end everything that was changed in the kernel is put back.
func (h *house) run(ctx context.Context) error {
	l, err := h.openControl()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	tasks := []task{
		{"relay", h.relay.Run},
		{"links", func(ctx context.Context) error { return h.monitor.Run(ctx, h.newest) }},
		{"kernel", h.apply.run},
		{"kernel's changes", func(ctx context.Context) error { return h.kernel.Watch(ctx, h.poke) }},
		{"path events", h.watchJoins},
		{"names", h.resolveNames},
		{"held SYNs", h.holdSYNs},
		{"control socket", func(ctx context.Context) error {
			return serveControl(ctx, l, h.handle, func(c *net.UnixConn) {
				if h.succeed(ctx, c) {
					h.succeeded.Store(true)
					cancel(context.Canceled)
				}
			}, h.log)
		}},
		{"signals", h.signals},
		{"bus", h.bus},
		{"control", h.control},
	}
	h.log.Info("running", "version", version, "links", len(h.cfg.Links), "concentrators", len(h.cfg.Concentrators))
	var group sync.WaitGroup
	for _, t := range tasks {
		group.Go(func() {
			if err := t.run(ctx); err != nil {
				cancel(fmt.Errorf("%s: %w", t.name, err))
			}
		})
	}
	group.Wait()
	h.end()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// openControl opens the control socket, after a predecessor has closed it.
func (h *house) openControl() (*net.UnixListener, error) {
	if len(h.inherited) > 0 {
		if err := awaitSilence(h.cfg.Daemon.Control); err != nil {
			return nil, err
		}
	}
	return listenControl(h.cfg.Daemon.Control)
}

// openDoor opens the door, or takes that of a predecessor, once there is a plan: a connection that is accepted without one could only
// be reset, and those that come to a predecessor's door meanwhile wait in its queue.
func (h *house) openDoor() error {
	if h.opened {
		return nil
	}
	h.opened = true
	defer func() { // the relay has duplicates; and without it nobody would serve who waits there
		for _, f := range h.inherited {
			f.Close()
		}
	}()
	if !h.features.MPTCP {
		return nil // the router stays as it is
	}
	var err error
	if len(h.inherited) > 0 {
		err = h.relay.AdoptListeners(h.inherited)
	} else {
		err = h.relay.OpenDoor(0, 0)
	}
	if err != nil {
		return fmt.Errorf("open the door: %w", err)
	}
	h.render()
	return nil
}

// awaitSilence waits until nobody answers at a control socket.
func awaitSilence(path string) error {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		c, err := net.DialTimeout("unix", path, time.Second)
		if err != nil {
			return nil
		}
		c.Close()
		if time.Now().After(deadline) {
			return fmt.Errorf("the daemon at %s has handed over but still answers", path)
		}
	}
}

// end puts back what was changed and saves the counters. With a successor the kernel's state is its own.
func (h *house) end() {
	if h.succeeded.Load() {
		h.kernel.Close()
		h.log.Info("the last connection has ended; the rest is the successor's")
		return
	}
	os.Remove(h.cfg.Daemon.Control)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := h.kernel.Stop(ctx); err != nil {
		h.log.Warn("not all could be put back", "error", err)
	}
	h.kernel.Close()
	if h.diag != nil {
		h.diag.Close()
	}
	h.saveUsage(true)
	h.log.Info("stopped")
}

// restoreUsage gives the machine the counters that were saved.
func (h *house) restoreUsage() {
	usages, err := h.usage.read()
	if err != nil {
		h.log.Warn("quota counters begin anew", "error", err)
	}
	h.machine.Restore(usages)
}

// saveUsage saves the counters. end: nothing will be used that is not in them.
func (h *house) saveUsage(end bool) {
	usages := h.machine.Usage(end)
	if len(usages) == 0 {
		return
	}
	if err := h.usage.write(usages); err != nil {
		h.log.Warn("quota counters are not saved", "error", err)
	}
}

// newest puts a snapshot into its slot; one that nobody took yet is out of date.
func (h *house) newest(s linkmon.Snapshot) {
	for {
		select {
		case h.snapshots <- s:
			return
		default:
		}
		select {
		case <-h.snapshots:
		default:
		}
	}
}

// poke has the kernel compared soon. Any goroutine may call it.
func (h *house) poke() {
	select {
	case h.poked <- struct{}{}:
	default:
	}
}

const (
	deafFirst = time.Second
	deafMost  = time.Minute
)

// deafFor is the pause after a failure of what has worked for so long, and that after the next one. After deafMost it is another failure.
func deafFor(wait, worked time.Duration) (pause, next time.Duration) {
	if worked >= deafMost {
		wait = deafFirst
	}
	return wait, min(2*wait, deafMost)
}

// watchJoins hears of subflows that came up. Lost events cost nothing but a wait: joinTime is waited out.
func (h *house) watchJoins(ctx context.Context) error {
	wait := deafFirst
	var compared time.Time
	for ctx.Err() == nil {
		began := time.Now()
		err := h.ear.Events(ctx, func(e mptcp.Event) {
			if e.Kind == mptcp.EventSubClosed && time.Since(compared) >= time.Second {
				// A subflow of a connection that lives on: its endpoint may have been taken away, of which there is no notice.
				compared = time.Now()
				time.AfterFunc(applyFirst, h.poke)
			}
			if e.Kind == mptcp.EventSubEstablished && e.Error != 0 || e.Kind == mptcp.EventSubClosed && h.steering == nil {
				return
			}
			select {
			case h.joins <- e:
			default: // the loop has others to look at
			}
		})
		if err != nil && !errors.Is(err, mptcp.ErrOverrun) {
			h.log.Debug("path-manager events", "error", err)
			var pause time.Duration
			pause, wait = deafFor(wait, time.Since(began))
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	}
	return nil
}

// hangups hears SIGHUP, for good: where nobody does it ends a process at once, at its beginning, and while it puts back what it has changed or its
// last connections end.
func hangups() chan os.Signal {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return c
}

// signals: SIGHUP reloads. The end is the context's.
func (h *house) signals(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-h.hup:
			if _, err := h.reload(ctx); err != nil {
				h.log.Error("the configuration is not good; going on with the one before", "error", err)
			}
		}
	}
}
