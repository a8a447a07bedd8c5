// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"spillway/testbed/linkemu"
	"spillway/testbed/qemu/guest"
	"spillway/testbed/scenario"
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
	case "conntrack-full", "memory-short", "memory-out", "memory-killed", "ubusd-killed":
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

func (b Bench) log(format string, a ...any) {
	if b.Log != nil {
		b.Log(format, a...)
	}
}

// Failing returns the expectations whose bound a run did not keep.
func Failing(findings []scenario.Finding) []scenario.Finding {
	return slices.DeleteFunc(slices.Clone(findings), func(f scenario.Finding) bool { return f.Within })
}
