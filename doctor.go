// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"spillway/config"
	"spillway/doctor"
	"spillway/journal"
	"spillway/json"
	"spillway/linkmon"
	"spillway/mptcp"
	"spillway/policy"
	"spillway/ubus"
	"spillway/ubus/netifd"
)

func doctorCommand(ctx context.Context, e env, flags *flag.FlagSet, args []string) error {
	file := flags.String("config", defaultConfig, "examine by this configuration `file` when no daemon answers; "+otherwiseUCI)
	asJSON := jsonFlag(flags)
	ask, err := asking(flags, args, 0)
	if err != nil {
		if flags.Parsed() && !errors.As(err, &usageError{}) && !errors.Is(err, flag.ErrHelp) {
			return doctorAlone(ctx, e, *asJSON, *file, err)
		}
		return err
	}
	found := &Doctor{}
	if err := fetch(e, ask, *asJSON, "doctor", nil, found, func() { writeDoctor(e.stdout, found) }); err != nil {
		return err
	}
	if !found.OK {
		return errors.New("something is wrong; see what failed above")
	}
	return nil
}

// doctorAlone examines the machine though no daemon runs, by the configuration.
func doctorAlone(ctx context.Context, e env, asJSON bool, file string, noDaemon error) error {
	c, _, err := findConfig(file, defaultConfig, uciFile)
	if err != nil {
		return errors.Join(noDaemon, usageError{err})
	}
	said := netifdAlone(ctx, c)
	m, err := linkmon.New(linkmonConfig(c, devicesOf(c.Links, said)), journal.Discard())
	if err != nil {
		return err
	}
	snap := make(chan linkmon.Snapshot, 1)
	looking, cancel := context.WithCancel(ctx)
	go m.Run(looking, func(s linkmon.Snapshot) {
		select {
		case snap <- s:
		default:
		}
	})
	w := doctor.System(ctx)
	select {
	case s := <-snap:
		fillWorld(w, c, said, s.Links, literal(c.Concentrators), mptcp.Probe())
	case <-time.After(5 * time.Second):
	}
	cancel()
	d := doctorAnswer(ctx, w)
	d.OK = false
	d.Checks = append([]CheckStatus{{Name: "daemon", Result: "fail", What: noDaemon.Error(), Remedy: "Start it.", Command: "/etc/init.d/spillway start"}}, d.Checks...)
	if !asJSON {
		writeDoctor(e.stdout, d)
	} else if text, err := json.Encode(d); err == nil {
		fmt.Fprintln(e.stdout, string(text))
	}
	return errors.New("no daemon runs; see what failed above")
}

// netifdAlone asks netifd, where links have its names.
func netifdAlone(ctx context.Context, c *config.Config) (said netifd.State) {
	if c.NeedsNetifd() {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		path := c.Daemon.Ubus
		if path == "auto" {
			path = ubus.Socket
		}
		if bus, err := ubus.Dial(ctx, path); err == nil {
			defer bus.Close()
			dump, _ := bus.Call(ctx, netifd.Object, "dump", nil) // without an answer their devices are not known, and that is said
			said.Interfaces = netifd.ParseDump(dump)
		}
	}
	return said
}

// doctor is the method: the machine, the daemon, and probes by each link.
func (h *house) doctor(ctx context.Context) (*Doctor, error) {
	w := doctor.System(ctx)
	door, notHeld := doctor.Door{}, error(nil)
	if err := h.call(ctx, func() {
		fillWorld(w, h.cfg, h.network, h.snap.Links, h.addrs, h.features)
		for i := range w.Links {
			if i >= len(h.senses) || i >= len(h.plan.Links) {
				break
			}
			role, set := h.machine.Role(i)
			if w.Links[i].Role = role.String(); set {
				w.Links[i].RoleWhy = ""
			}
			w.Links[i].Idle = h.plan.Links[i].Metered && h.plan.Links[i].Role < policy.Active
			w.Links[i].Joins = h.paths[i].want != endpointNone || h.reached != nil && h.reached[i]
			if v := h.senses[i].verdict; v.Dead {
				w.Links[i].Dead = v.Reason
			}
		}
		s := h.status(time.Now(), nil)
		notHeld = h.notHeld
		door = doctor.Door{Open: s.Doors.Open, Port4: s.Doors.IPv4, Port6: s.Doors.IPv6, Why: s.Doors.Why}
	}); err != nil {
		return nil, err
	}
	w.Door = func() doctor.Door { return door }
	if w.Apart = h.steering != nil; w.Apart {
		w.Strangers = h.strangers()
		w.Join = probeJoinApart
	}
	w.Good = func() error { return good(h.file, uciFile) }
	w.Table, w.Collisions = h.tableInPlace, h.kernel.Conflicts
	w.Held = func() error { return notHeld }
	w.Saved = func() (err error) {
		h.call(ctx, func() { err = h.saving.err })
		return err
	}
	return doctorAnswer(ctx, w), nil
}

// good tells what is wrong with what a daemon of this file is configured by: OpenWrt's, where the init script makes the file of that.
func good(file, openwrt string) error {
	if file != renderedFile {
		_, err := config.Load(file)
		return err
	}
	text, err := os.ReadFile(openwrt)
	if err == nil {
		_, _, err = fromUCI(text, openwrt)
	}
	return err
}

// tableInPlace tells what of the wanted state the kernel lacks.
func (h *house) tableInPlace() error {
	have, err := h.kernel.Read()
	if err != nil {
		return err
	}
	if have.Ruleset.Mark != h.apply.wanted().Ruleset.Mark {
		return errors.New("the kernel's table is not the one that the configuration asks for")
	}
	return nil
}

// fillWorld tells doctor what is configured and sensed, and how to probe.
func fillWorld(w *doctor.World, c *config.Config, said netifd.State, links []linkmon.Link, addrs [][]netip.AddrPort, f mptcp.Features) {
	w.MarkMask, w.MarkLocal, w.PathManager = kernelNumbers(c).Mark, kernelNumbers(c).MarkLocal(), c.Policy.PathManager
	w.StateDir, w.LAN, w.Faithful = filepath.Dir(c.Daemon.State), c.LAN.Interfaces, c.Relay.Faithful
	w.Features = doctor.Features{MPTCP: f.MPTCP, PathManager: f.PathManager, FastOpenClient: f.FastOpenClient, FastOpenNoCookie: f.FastOpenNoCookie,
		IsMPTCP: f.IsMPTCP, FullInfo: f.FullInfo, UserspacePM: f.UserspacePM, Apart: f.Apart, Diag: f.Diag}
	w.Links = nil
	as, why := roled(c.Links, said)
	for i, l := range links {
		x := doctor.Link{Name: l.Name, Device: l.Device, Present: l.Present, Up: l.Up, Carrier: l.Carrier, PointToPoint: l.PointToPoint, MTU: l.MTU,
			Addr4: l.Addr4, Addr6: l.Addr6, Gateway4: l.Gateway4, Gateway6: l.Gateway6, Route4: l.Route4, Route6: l.Route6, Flapping: l.Flapping}
		if i < len(c.Links) {
			x.Role, x.RoleWhy, x.Idle = as[i].Role, why[i], as[i].Metered
		}
		w.Links = append(w.Links, x)
	}
	w.Remotes = nil
	for i, u := range c.Concentrators {
		for _, a := range addrs[i] {
			w.Remotes = append(w.Remotes, doctor.Concentrator{Name: u.Name, Addr: a, Protocol: u.Protocol, Cookie: u.Cookie})
		}
	}
	var counters mptcp.Counters
	if counters.Read() == nil {
		w.Counter = counters.Get
	}
	addProbes(w)
}

// doctorAnswer runs the tree.
func doctorAnswer(ctx context.Context, w *doctor.World) *Doctor {
	report := doctor.Run(ctx, w, doctor.Tree(w))
	answer := &Doctor{OK: report.ExitCode() == 0, Checks: []CheckStatus{}}
	for _, f := range report.Findings {
		answer.Checks = append(answer.Checks, CheckStatus{Name: f.Name, Result: f.Status.String(), What: f.What, Remedy: f.Remedy, Command: f.Command, Needs: f.Needs})
	}
	return answer
}
