// SPDX-License-Identifier: Apache-2.0

package load

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Demand is what the client does.
type Demand struct {
	To string
	// Bulk: so many downloads, at Rate octets/s together (0: as fast as it goes), which are measured for For after Ramp.
	Flows  int
	Rate   int
	Upload bool // the bulk goes up instead, as fast as it goes
	// Beside them, each on a connection of its own: so many Ask send a small request every 5 to 15 ms; Other does the same to
	// another address; Mixed fetches 512 KiB and then sends five small requests, over and over.
	Ask   int
	Mixed bool
	Other string
	// Parallel: so many clients open connections for one small request each, one after the other, with a Pause between them.
	Parallel int
	Pause    time.Duration
	// Hold: so many connections make one small request, and stay until standard input ends.
	Hold int

	Ramp, For time.Duration
}

// Result is what it saw.
type Result struct {
	Seconds           float64
	Octets            int64 // of the bulk, within Seconds
	Connections       int
	Failed            int
	Error             string // of the first that failed
	Setup             Spread // from connect to the whole answer
	Ask, Mixed, Other Spread
}

// Spread is a distribution of milliseconds.
type Spread struct {
	N                     int
	Median, P90, P99, Max float64
}

// SpreadOf sorts.
func SpreadOf(all []time.Duration) Spread {
	if len(all) == 0 {
		return Spread{}
	}
	slices.Sort(all)
	at := func(q float64) float64 {
		return float64(all[min(len(all)-1, int(q*float64(len(all))))].Microseconds()) / 1000
	}
	return Spread{N: len(all), Median: at(.5), P90: at(.9), P99: at(.99), Max: at(1)}
}

// sample collects durations, once started.
type sample struct {
	mu  sync.Mutex
	on  *atomic.Bool
	all []time.Duration
}

func (s *sample) add(d time.Duration) {
	if !s.on.Load() {
		return
	}
	s.mu.Lock()
	s.all = append(s.all, d)
	s.mu.Unlock()
}

// client is a demand at work.
type client struct {
	Demand
	on                         atomic.Bool // measured
	octets                     atomic.Int64
	failed                     atomic.Int64
	first                      atomic.Pointer[error]
	setup, asked, mixed, other sample
}

// Run does it. mark is called with "begin" and "end" of what is measured, or with "held".
func Run(ctx context.Context, d Demand, mark func(string)) Result {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &client{Demand: d}
	for _, s := range []*sample{&c.setup, &c.asked, &c.mixed, &c.other} {
		s.on = &c.on
	}
	if d.Hold > 0 {
		c.on.Store(true)
		return c.hold(ctx, mark)
	}
	var all sync.WaitGroup
	for range d.Flows {
		all.Go(func() { c.fail(c.bulk(ctx)) })
	}
	for range d.Parallel {
		all.Go(func() { c.connect(ctx) })
	}
	for range d.Ask {
		all.Go(func() { c.fail(c.ask(ctx, d.To, &c.asked, 0)) })
	}
	if d.Mixed {
		all.Go(func() { c.fail(c.ask(ctx, d.To, &c.mixed, 512<<10)) })
	}
	if d.Other != "" {
		all.Go(func() { c.fail(c.ask(ctx, d.Other, &c.other, 0)) })
	}
	wait(ctx, d.Ramp)
	c.octets.Store(0)
	start := time.Now()
	c.on.Store(true)
	mark("begin")
	wait(ctx, d.For)
	c.on.Store(false)
	mark("end")
	r := Result{Seconds: time.Since(start).Seconds(), Octets: c.octets.Load()}
	cancel()
	all.Wait()
	return c.result(r)
}

func (c *client) result(r Result) Result {
	r.Connections, r.Failed = len(c.setup.all), int(c.failed.Load())
	if e := c.first.Load(); e != nil {
		r.Error = (*e).Error()
	}
	r.Setup, r.Ask, r.Mixed, r.Other = SpreadOf(c.setup.all), SpreadOf(c.asked.all), SpreadOf(c.mixed.all), SpreadOf(c.other.all)
	return r
}

func (c *client) fail(err error) {
	if err != nil {
		c.failed.Add(1)
		c.first.CompareAndSwap(nil, &err)
	}
}

// closeAt closes a connection, with a reset, at the end of ctx.
func closeAt(ctx context.Context, t *net.TCPConn) (stop func() bool) {
	return context.AfterFunc(ctx, func() { t.SetLinger(0); t.Close() })
}

func (c *client) bulk(ctx context.Context) error {
	t, err := dial(ctx, c.To)
	if err != nil {
		return err
	}
	defer t.Close()
	defer closeAt(ctx, t)()
	request := fmt.Sprintf("g %d\n", c.Rate/c.Flows)
	if c.Upload {
		request = "u\n"
	}
	if _, err := io.WriteString(t, request); err != nil {
		return err
	}
	buf := make([]byte, 256<<10)
	move := t.Read
	if c.Upload {
		move = t.Write
	}
	for {
		n, err := move(buf)
		c.octets.Add(int64(n))
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("bulk: %w", err)
		}
	}
}

// ask sends small requests on one connection from a thread of its own, which the kernel wakes directly; before each five
// it fetches bulk octets.
func (c *client) ask(ctx context.Context, to string, s *sample, bulk int) error {
	t, err := dial(ctx, to)
	if err != nil {
		return err
	}
	f, err := t.File() // blocking
	t.Close()
	if err != nil {
		return err
	}
	defer f.Close()
	buf := make([]byte, max(Small, bulk))
	for i := 0; ctx.Err() == nil; i++ {
		if bulk > 0 && i%5 == 0 {
			fmt.Fprintf(f, "b %d\n", bulk)
			n, err := io.ReadFull(f, buf)
			c.octets.Add(int64(n))
			if err != nil {
				return fmt.Errorf("mixed: %w", err)
			}
		}
		wait(ctx, 5*time.Millisecond+rand.N(10*time.Millisecond))
		begin := time.Now()
		f.Write(small('p'))
		if _, err := io.ReadFull(f, buf[:Small]); err != nil {
			return fmt.Errorf("request: %w", err)
		}
		s.add(time.Since(begin))
	}
	return nil
}

// connect opens connections one after the other.
func (c *client) connect(ctx context.Context) {
	buf := make([]byte, Small)
	for ctx.Err() == nil {
		begin := time.Now()
		t, err := dial(ctx, c.To)
		if err == nil {
			t.SetDeadline(begin.Add(10 * time.Second))
			t.Write(small('c'))
			_, err = io.ReadFull(t, buf)
		}
		took := time.Since(begin)
		if t != nil {
			t.Close() // without waiting for the end, which some relays pass on seconds late
		}
		if ctx.Err() == nil && err != nil {
			c.fail(err)
			wait(ctx, 10*time.Millisecond)
		} else if err == nil {
			c.setup.add(took)
			if c.Pause > 0 {
				wait(ctx, c.Pause)
			}
		}
	}
}

func (c *client) hold(ctx context.Context, mark func(string)) Result {
	list := make([]*net.TCPConn, c.Hold)
	var all sync.WaitGroup
	next := atomic.Int64{}
	start := time.Now()
	for range 32 {
		all.Go(func() {
			buf := make([]byte, Small)
			for i := int(next.Add(1)) - 1; i < len(list) && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				begin := time.Now()
				t, err := dial(ctx, c.To)
				if err == nil {
					t.SetDeadline(begin.Add(20 * time.Second))
					t.Write(small('p'))
					_, err = io.ReadFull(t, buf)
					list[i] = t
				}
				if err != nil {
					c.fail(err)
					continue
				}
				c.setup.add(time.Since(begin))
			}
		})
	}
	all.Wait()
	r := Result{Seconds: time.Since(start).Seconds()}
	mark("held")
	bufio.NewReader(os.Stdin).ReadString('\n')
	for _, t := range list {
		if t != nil {
			t.SetLinger(0)
			t.Close()
		}
	}
	return c.result(r)
}

func small(kind byte) []byte {
	b := bytes.Repeat([]byte{kind}, Small)
	b[Small-1] = '\n'
	return b
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
