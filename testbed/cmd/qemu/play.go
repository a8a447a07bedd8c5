// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"spillway/testbed/qemu"
	"spillway/testbed/scenario"
	"spillway/testbed/world"
)

// runGuest measures a guest, plays scenarios in it and returns what failed.
func (o options) runGuest(ctx context.Context, g qemu.Guest, bin world.Binaries, list []scenario.Scenario) (failed []string, err error) {
	fmt.Printf("== %s: %s\n", g.Name, g.About)
	b := qemu.Bench{Guest: g, Bin: bin, Capture: o.capture, Log: func(f string, a ...any) { fmt.Printf("    "+f+"\n", a...) }}
	limit := g.Carries
	if g.Name != namespaces {
		if _, err := exec.LookPath(g.QEMU); err != nil {
			return nil, fmt.Errorf("install the Debian package %s: %w", g.Package, err)
		}
		if b.Image, err = o.store().Prepare(g, slices.ContainsFunc(list, byHand)); err != nil {
			return nil, err
		}
		if o.measure {
			f, err := o.figures(b)
			if err != nil {
				return nil, err
			}
			if f.Failed > 0 || f.OOM > 0 || f.Over() {
				failed = append(failed, g.Name+"/connections")
			}
			limit = min(limit, f.Spliced.Mbit)
		}
	}
	for _, s := range list {
		if ctx.Err() != nil {
			break
		}
		switch {
		case g.Name == namespaces:
		case s.Name == "thousands":
			s = scenario.Thousands(g.Connections())
		case s.Name == "ten-thousand":
			s = scenario.TenThousand(10_000, 4*time.Minute) // it takes its time to open them
		}
		ok, err := o.play(ctx, b, s, limit)
		if errors.Is(err, qemu.ErrNotHere) {
			fmt.Printf("%s: not played: %v\n", s.Name, err)
			continue
		}
		if err != nil {
			fmt.Printf("%s: %v\n", s.Name, err)
		}
		if !ok {
			failed = append(failed, g.Name+"/"+s.Name)
		}
	}
	return failed, nil
}

// byHand is whether somebody at the router's console has a part in a scenario, and needs ip there.
func byHand(s scenario.Scenario) bool {
	return slices.ContainsFunc(scenario.Faults(), func(f scenario.Scenario) bool { return f.Name == s.Name })
}

// figures measures a guest and prints that.
func (o options) figures(b qemu.Bench) (qemu.Figures, error) {
	dir, remove, err := o.directory(b.Guest.Name + "-measure")
	if err != nil {
		return qemu.Figures{}, err
	}
	defer remove()
	f, err := b.Measure(dir, o.transfer)
	if err != nil {
		return f, err
	}
	f.Print(os.Stdout)
	return f, o.note(record{Guest: b.Guest.Name, Figures: &f})
}

// play plays one scenario in a guest.
func (o options) play(ctx context.Context, b qemu.Bench, s scenario.Scenario, limit float64) (ok bool, err error) {
	dir, remove, err := o.directory(b.Guest.Name + "-" + strings.ReplaceAll(s.Name, "/", "-"))
	if err != nil {
		return false, err
	}
	defer remove()
	fraction, busy := 1.0, 0.0
	var run *scenario.Run
	if b.Guest.Name == namespaces {
		if o.fraction > 0 {
			fraction = o.fraction
		}
		run, err = qemu.Beside(ctx, s, fraction, b.Bin, dir)
	} else {
		if err := qemu.Fits(s); err != nil {
			return true, err
		}
		if fraction = o.fraction; fraction == 0 {
			fraction = qemu.Fraction(s.Links, limit)
		}
		if s.Name == "ten-thousand" {
			b.Memory = 1024
		}
		if run, busy, err = b.Play(ctx, s, fraction, dir); errors.Is(err, qemu.ErrMachine) && ctx.Err() == nil {
			fmt.Printf("%s: again, in another machine: %v\n", s.Name, err)
			run, busy, err = b.Play(ctx, s, fraction, dir)
		}
	}
	if err != nil {
		return false, errors.Join(err, o.note(record{Guest: b.Guest.Name, Scenario: s.Name, Fraction: fraction, Error: err.Error()}))
	}
	findings := run.Findings()
	fmt.Printf("[%s, at %.0f %% of the rates: links of %.1f Mbit/s; the yardstick relay carries %.0f; processor busy %.0f %%] ", b.Guest.Name, 100*fraction, fraction*qemu.Sum(s.Links), limit, 100*busy)
	scenario.Print(os.Stdout, s, findings)
	for name, d := range run.Results {
		if len(d.Errors) > 0 {
			fmt.Printf("  %s: %d failed: %q\n", name, d.Failed, d.Errors)
		}
	}
	if o.verbose {
		at := func(t time.Time) float64 { return t.Sub(run.Start).Seconds() }
		for i, t := range run.Fired {
			fmt.Printf("  %7.3f s  %s %s, due at %.3f\n", at(t), s.Events[i].Do, s.Events[i].Link, s.Events[i].At.Seconds())
		}
		for _, c := range run.Changes {
			fmt.Printf("  %7.3f s  %s %s -> %s: %s\n", at(c.At), c.Link, c.From, c.To, c.Why)
		}
		run.Timeline(os.Stdout, 250*time.Millisecond)
		run.Tally.Print(os.Stdout)
	}
	return len(qemu.Failing(findings)) == 0, o.note(record{Guest: b.Guest.Name, Scenario: s.Name, Fraction: fraction, Limit: limit, Busy: busy, Sum: fraction * qemu.Sum(s.Links), Found: found(findings)})
}
