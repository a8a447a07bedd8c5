// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"spillway/testbed/world"
)

// demo is what the chapters share.
type demo struct {
	world   *world.World
	view    *view
	figures figures
	sums    map[string]string // SHA-256 by file name
}

const large = 32_000_000 // octets of the files that are bonded

// story tells the chapters one after the other.
func (d *demo) story(ctx context.Context) error {
	d.figures.SHA256OK, d.sums = true, map[string]string{}
	for name, octets := range map[string]int64{"1MB": 1_000_000, "8MB": 8_000_000, "16MB": 16_000_000, "32MB": large} {
		if err := d.file(name, octets); err != nil {
			return err
		}
	}
	if err := d.world.StartServer(d.world.Dir); err != nil {
		return err
	}
	for _, chapter := range []func(context.Context) error{d.alone, d.start, d.overflow, d.cut, d.bonded} {
		if err := chapter(ctx); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// file makes a file of random octets for the server.
func (d *demo) file(name string, octets int64) error {
	f, err := os.Create(filepath.Join(d.world.Dir, name))
	if err != nil {
		return err
	}
	sum := sha256.New()
	_, err = io.CopyN(io.MultiWriter(f, sum), rand.Reader, octets)
	d.sums[name] = hex.EncodeToString(sum.Sum(nil))
	return errors.Join(err, f.Close())
}

// alone measures what the LAN has without us, on one link and on the other.
func (d *demo) alone(ctx context.Context) error {
	direct, err := d.connectTimes(ctx)
	if err != nil {
		return err
	}
	d.figures.ConnectDirect, d.figures.FirstDirect = direct.connect, direct.first
	dsl, err := d.download(ctx, "8MB", "DSL alone, without Spillway: 8 MB")
	if err != nil {
		return err
	}
	d.figures.DSL = dsl.mbit
	up, err := d.send(ctx, "1MB", "dsl-up", "DSL alone, upload: 1 MB")
	if err != nil {
		return err
	}
	d.figures.DSLUp = up.mbit
	if err := errors.Join(d.world.Lines[0].Cut(), d.world.Gone(0)); err != nil {
		return err
	}
	lte, err := d.download(ctx, "16MB", "LTE alone, without Spillway: 16 MB")
	d.figures.LTE = lte.mbit
	if err == nil {
		up, err = d.send(ctx, "8MB", "lte-up", "LTE alone, upload: 8 MB")
		d.figures.LTEUp = up.mbit
	}
	return errors.Join(err, d.world.Lines[0].Restore())
}

// start brings up concentrator and router.
func (d *demo) start(ctx context.Context) error {
	d.view.say("starting the concentrator and the router")
	if err := d.world.StartConcentrator(); err != nil {
		return err
	}
	if err := d.world.Router.Start(d.world.TOML()); err != nil {
		return err
	}
	relayed, err := d.connectTimes(ctx)
	d.figures.ConnectRelayed, d.figures.FirstRelayed = relayed.connect, relayed.first
	return err
}

// overflow downloads while LTE takes what DSL can't carry: it joins when DSL has been full for a while.
func (d *demo) overflow(ctx context.Context) error {
	t, err := d.download(ctx, "32MB", "DSL first, LTE takes the overflow: 32 MB")
	d.figures.Overflow = t.mbit
	return err
}

// cut takes DSL away in the middle and gives it back; the transfer goes on.
func (d *demo) cut(ctx context.Context) error {
	done := make(chan error, 1)
	var at time.Time // of the cut
	go func() {
		for _, e := range []struct {
			after time.Duration
			what  string
			do    func() error
		}{
			{1500 * time.Millisecond, "✂ DSL is cut", d.world.Lines[0].Cut},
			{2500 * time.Millisecond, "DSL is back", d.world.Lines[0].Restore},
		} {
			time.Sleep(e.after)
			d.view.say(e.what)
			if at.IsZero() {
				at = time.Now()
			}
			if err := e.do(); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	t, err := d.download(ctx, "32MB", "32 MB again, and DSL is cut in the middle")
	err = errors.Join(err, <-done)
	d.figures.Stall = t.stall(at)
	return err
}

// bonded uses both links from the first octet, both ways: another mode, which a reload brings.
func (d *demo) bonded(ctx context.Context) error {
	d.world.Settings.Policy = map[string]string{"mode": `"bond"`}
	if err := d.world.Router.Reload(d.world.TOML()); err != nil {
		return err
	}
	// DSL has just come back: the policy lets it wait (hold_up) before it carries again.
	d.view.say("mode = \"bond\", reloaded; waiting until the policy uses DSL again")
	world.WaitFor("DSL and LTE in use", 15*time.Second, func() bool {
		s, err := d.world.Router.Status()
		return ctx.Err() != nil || err == nil && len(s.Links) > 1 && carries(s.Links[0].State) && carries(s.Links[1].State)
	})
	t, err := d.download(ctx, "32MB", "both links at once: 32 MB")
	if err != nil {
		return err
	}
	d.figures.Bonded = t.mbit
	t, err = d.send(ctx, "16MB", "uploaded", "both links at once, upload: 16 MB")
	d.figures.BondedUp = t.mbit
	return err
}

func carries(state string) bool { return state == "first" || state == "active" }

// check compares a file with what it should be.
func (d *demo) check(path, name string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != d.sums[name] {
		d.figures.SHA256OK = false
		d.view.say(fmt.Sprintf("%s: SHA-256 %s, want %s", name, got, d.sums[name]))
	}
	return nil
}
