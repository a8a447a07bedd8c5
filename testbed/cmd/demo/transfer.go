// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"spillway/testbed/world"
)

// transfer is what one curl came to.
type transfer struct {
	mbit float64 // payload over the whole time, connect included
	gaps []gap   // silences of more than 20 ms, as the one who reads curl's output sees them
}

// gap is a silence between octets.
type gap struct{ from, to time.Time }

// stall is the longest silence that fell into the two seconds after an instant, ms.
func (t transfer) stall(after time.Time) float64 {
	longest := 0.0
	for _, g := range t.gaps {
		if g.to.After(after) && g.from.Before(after.Add(2*time.Second)) {
			longest = max(longest, g.to.Sub(g.from).Seconds()*1000)
		}
	}
	return round(longest)
}

// timing is what curl's -w prints to stderr: seconds.
const timing = "%{stderr}%{time_connect} %{time_starttransfer} %{time_total}"

// download fetches a file, checks it and measures.
func (d *demo) download(ctx context.Context, name, title string) (t transfer, err error) {
	d.view.begin(title, d.sizeOf(name))
	defer d.view.end()
	cmd := d.world.Curl("-N", "-w", timing, world.URL("4", name))
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return t, err
	}
	got := filepath.Join(d.world.Dir, "got")
	f, err := os.Create(got)
	if err != nil {
		return t, err
	}
	defer f.Close()
	total, err := d.curl(ctx, cmd, func() error { return d.drain(pipe, f, &t) })
	if err != nil {
		return t, fmt.Errorf("%s: %w", title, err)
	}
	t.mbit = round(float64(d.sizeOf(name)) * 8 / total / 1e6)
	return t, d.check(got, name)
}

// drain reads curl's output and notes the silences after the first octet.
func (d *demo) drain(from io.Reader, to io.Writer, t *transfer) error {
	buf := make([]byte, 64<<10)
	var last time.Time
	for {
		n, err := from.Read(buf)
		now := time.Now()
		if n > 0 {
			if !last.IsZero() && now.Sub(last) > 20*time.Millisecond {
				t.gaps = append(t.gaps, gap{last, now})
			}
			last = now
			d.view.progress.Add(int64(n))
			if _, err := to.Write(buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// send uploads a file and checks what the server stored.
func (d *demo) send(ctx context.Context, name, as, title string) (t transfer, err error) {
	d.view.begin(title, d.sizeOf(name))
	defer d.view.end()
	stored := filepath.Join(d.world.Dir, as)
	stop := d.view.follow(stored)
	cmd := d.world.Curl("-T", filepath.Join(d.world.Dir, name), "-o", "/dev/null", "-w", timing, world.URL("4", as))
	total, err := d.curl(ctx, cmd, func() error { return nil })
	stop()
	if err != nil {
		return t, fmt.Errorf("%s: %w", title, err)
	}
	t.mbit = round(float64(d.sizeOf(name)) * 8 / total / 1e6)
	return t, d.check(stored, name)
}

// curl runs one to its end, or to ctx's, and returns its own total time in seconds.
func (d *demo) curl(ctx context.Context, cmd *exec.Cmd, meanwhile func() error) (total float64, err error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer context.AfterFunc(ctx, func() { cmd.Process.Kill() })()
	read := meanwhile()
	if err := cmd.Wait(); err != nil {
		return 0, fmt.Errorf("curl: %w: %s", err, &stderr)
	}
	var connect, first float64
	_, err = fmt.Sscan(stderr.String(), &connect, &first, &total)
	return total, errors.Join(read, err)
}

// connection is how long a small request takes, ms.
type connection struct{ connect, first float64 }

// connectTimes takes the medians of a few small requests.
func (d *demo) connectTimes(ctx context.Context) (c connection, err error) {
	if err := os.WriteFile(filepath.Join(d.world.Dir, "small"), []byte("hello\n"), 0o644); err != nil {
		return c, err
	}
	var connects, firsts []float64
	for range 7 {
		out, err := d.world.Curl("-o", "/dev/null", "-w", "%{time_connect} %{time_starttransfer}", world.URL("4", "small")).Output()
		if err != nil {
			return c, fmt.Errorf("small request: %w", err)
		}
		var connect, first float64
		if _, err := fmt.Sscan(string(out), &connect, &first); err != nil {
			return c, err
		}
		connects, firsts = append(connects, connect*1000), append(firsts, first*1000)
		if ctx.Err() != nil {
			return c, ctx.Err()
		}
	}
	slices.Sort(connects)
	slices.Sort(firsts)
	return connection{round(connects[3]), round(firsts[3])}, nil
}

func (d *demo) sizeOf(name string) int64 {
	info, err := os.Stat(filepath.Join(d.world.Dir, name))
	if err != nil {
		return 0
	}
	return info.Size()
}
