// SPDX-License-Identifier: Apache-2.0

package traffic

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Kind names what a demand does.
type Kind string

const (
	Get Kind = "get" // connections download at once
	Put Kind = "put" // connections upload at once
	Web Kind = "web" // short downloads one after the other, each on a new connection
	Ask Kind = "ask" // small requests on one connection
)

// Demand is what a client wants. The zero values of limits mean none.
type Demand struct {
	Kind        Kind          `json:"kind"`
	To          string        `json:"to"`          // address:port
	Connections int           `json:"connections"` // at once; web, ask: how many requests. 0: 1
	Parallel    int           `json:"parallel"`    // web: requests at once; get, put: connections being opened at once. 0: 1 and 64
	Octets      int64         `json:"octets"`      // per connection or answer; 0: until For, web: 2 to 60 kB
	For         time.Duration `json:"for"`
	Mbit        float64       `json:"mbit"`    // Mbit/s of payload over all connections; 0: as fast as it goes
	Every       time.Duration `json:"every"`   // web, ask: from one start to the next
	Timeout     time.Duration `json:"timeout"` // per connection; 0: 60 s
	MPTCP       bool          `json:"mptcp"`   // the host speaks MPTCP itself
	Keep        bool          `json:"keep"`    // get, web: the server keeps the connection, and the host ends it when it has all, as with HTTP/1.1
	Hold        time.Duration `json:"hold"`    // connections stay open at least so long after connecting, before they ask for anything
}

// Run does what a demand asks for. ctx ends it early.
func Run(ctx context.Context, d Demand) Result {
	d.Connections = max(1, d.Connections)
	if d.Timeout == 0 {
		d.Timeout = 60 * time.Second
	}
	start := time.Now()
	switch d.Kind {
	case Ask:
		return summary(start, ask(ctx, d))
	case Web:
		d.Parallel = max(1, d.Parallel)
	default:
		if d.Parallel == 0 {
			d.Parallel = 64
		}
	}
	reports := make([]Report, d.Connections)
	slots := make(chan struct{}, d.Parallel)
	var all sync.WaitGroup
	for i := range reports {
		if d.Every > 0 {
			time.Sleep(time.Until(start.Add(time.Duration(i) * d.Every)))
		}
		slots <- struct{}{}
		opened := sync.OnceFunc(func() { <-slots })
		all.Go(func() {
			defer opened()
			connected := opened
			if d.Kind == Web {
				connected = func() {}
			}
			begun := time.Since(start)
			reports[i] = d.one(ctx, uint64(i)+1, connected)
			reports[i].tellWhen(begun)
		})
	}
	all.Wait()
	if len(reports) > 64 { // thousands of series say nothing
		for i := range reports {
			reports[i].Series = Series{}
		}
	}
	return summary(start, reports)
}

// one runs one connection.
func (d Demand) one(ctx context.Context, seed uint64, connected func()) (rep Report) {
	begin := time.Now()
	rep.Bad = -1
	c, err := d.dial(ctx)
	connected()
	if err != nil {
		rep.Error = err.Error()
		return rep
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Now()) })()
	rep.Connect = milliseconds(time.Since(begin))
	rep.MPTCP, _ = c.MultipathTCP()
	time.Sleep(d.Hold)
	deadline := time.Now().Add(d.Timeout)
	if d.For > 0 {
		deadline = time.Now().Add(d.For)
	}
	if d.Kind == Put {
		d.put(c, seed, deadline, &rep)
	} else {
		c.SetDeadline(deadline)
		d.get(c, seed, begin, &rep)
		if rep.Bad >= 0 {
			rep.Wrong += fmt.Sprintf(" (from %v, after %.0f ms, %d octets in all, %s)", c.LocalAddr(), rep.Done, rep.Octets, rep.Error)
		}
	}
	return rep
}

func (d Demand) get(c *net.TCPConn, seed uint64, begin time.Time, rep *Report) {
	octets, rate := d.Octets, d.Mbit*1e6/float64(d.Connections)
	switch {
	case d.Kind == Web && octets == 0:
		octets, rate = 2000+int64(word(seed, 0)%58_000), 0
	case octets == 0:
		octets = -1
	}
	what, from := "get", io.Reader(c)
	if d.Keep && octets > 0 {
		what, from = "keep", io.LimitReader(c, octets)
	}
	if _, err := fmt.Fprintf(c, "%s %d %d %.0f\n", what, octets, seed, rate); err != nil {
		rep.Error = err.Error()
		return
	}
	receive(from, seed, begin, rep, d.For > 0)
	if rep.Error == "" && octets > 0 && rep.Octets != octets && d.For == 0 {
		rep.Error = fmt.Sprintf("ended after %d of %d octets (from %v, after %.0f ms)", rep.Octets, octets, c.LocalAddr(), rep.Done)
	}
	if octets < 0 {
		c.SetLinger(0) // the server sends for ever
	}
}

// put sends and lets the server report; the connect time stays ours.
func (d Demand) put(c *net.TCPConn, seed uint64, deadline time.Time, rep *Report) {
	octets, until := d.Octets, time.Time{}
	if octets == 0 {
		octets = -1
	}
	c.SetDeadline(deadline)
	if d.For > 0 {
		until = deadline
		c.SetDeadline(deadline.Add(d.Timeout))
	}
	_, err := fmt.Fprintf(c, "put %d\n", seed)
	if err == nil {
		err = send(deadlined{c, until}, seed, octets, d.Mbit*1e6/float64(d.Connections), until)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && !until.IsZero() {
		err = nil
	}
	if err == nil {
		c.SetWriteDeadline(time.Time{})
		err = c.CloseWrite()
	}
	connect, mptcp := rep.Connect, rep.MPTCP
	if err == nil {
		var line []byte
		if line, err = bufio.NewReaderSize(c, 1<<20).ReadBytes('\n'); err == nil {
			err = json.Unmarshal(line, rep)
		}
	}
	rep.Connect, rep.MPTCP = connect, mptcp
	if err != nil {
		rep.Error = err.Error()
	}
}

// deadlined ends a write that blocks at the end of a demand by time.
type deadlined struct {
	c     *net.TCPConn
	until time.Time
}

func (w deadlined) Write(b []byte) (int, error) {
	if !w.until.IsZero() {
		w.c.SetWriteDeadline(w.until)
	}
	return w.c.Write(b)
}

// ask sends small requests on one connection; each answer is a report.
func ask(ctx context.Context, d Demand) (reports []Report) {
	begin := time.Now()
	c, err := d.dial(ctx)
	if err != nil {
		return []Report{{Bad: -1, Error: err.Error()}}
	}
	defer c.Close()
	octets := max(1, d.Octets)
	buf := make([]byte, octets)
	connect := milliseconds(time.Since(begin))
	for i := range d.Connections {
		if d.Every > 0 {
			time.Sleep(time.Until(begin.Add(time.Duration(i) * d.Every)))
		}
		start := time.Now()
		if d.For > 0 && start.Sub(begin) > d.For {
			break
		}
		rep := Report{Bad: -1, Connect: connect, Octets: octets}
		c.SetDeadline(start.Add(d.Timeout))
		_, err := fmt.Fprintf(c, "ask %d\n", octets)
		if err == nil {
			_, err = io.ReadFull(c, buf)
		}
		if err != nil {
			rep.Error = err.Error()
		} else if bad := Check(buf, 0, 0); bad >= 0 {
			rep.Bad = int64(bad)
		}
		rep.Done = milliseconds(time.Since(start))
		rep.First, rep.Stall, rep.StallAt = rep.Done, rep.Done, start.UnixMilli()
		reports = append(reports, rep)
		if err != nil {
			break
		}
	}
	return reports
}

func (d Demand) dial(ctx context.Context) (*net.TCPConn, error) {
	var dialer net.Dialer
	dialer.SetMultipathTCP(d.MPTCP) // Go's own default is yes: an ordinary LAN host doesn't
	dialer.Timeout = d.Timeout
	c, err := dialer.DialContext(ctx, "tcp", d.To)
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}
