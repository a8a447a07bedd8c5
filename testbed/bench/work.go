// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"spillway/testbed/bench/load"
)

type demand = load.Demand

// Work is something to relay.
type Work struct {
	Key, Title string
	Lines      Lines
	demand
	Quick bool // also in a quick run
}

// Works is what everybody does in each round. scale stretches the times, but not those of small requests.
func Works(scale float64) []Work {
	const ms = time.Millisecond
	list := []Work{
		{Key: "shaped80", Title: "4 downloads, links of 50 + 30 Mbit/s", Quick: true,
			Lines: Lines{Down: [2]float64{50, 30}, Buffer: 50 * ms}, demand: demand{Flows: 4, Ramp: 1200 * ms, For: 2500 * ms}},
		{Key: "paced80", Title: "4 downloads, paced by the server to 80 Mbit/s", demand: demand{Flows: 4, Rate: 10e6, Ramp: 400 * ms, For: 1500 * ms}},
		{Key: "paced300", Title: "8 downloads, paced to 300 Mbit/s", Quick: true, demand: demand{Flows: 8, Rate: 37.5e6, Ramp: 400 * ms, For: 1500 * ms}},
		{Key: "paced1000", Title: "8 downloads, paced to 1000 Mbit/s", demand: demand{Flows: 8, Rate: 125e6, Ramp: 300 * ms, For: 1000 * ms}},
		{Key: "unpaced1", Title: "1 download, unpaced", demand: demand{Flows: 1, Ramp: 300 * ms, For: 1000 * ms}},
		{Key: "unpaced8", Title: "8 downloads, unpaced", Quick: true, demand: demand{Flows: 8, Ramp: 300 * ms, For: 1000 * ms}},
		{Key: "small", Title: "small requests beside 80 Mbit/s in 4 downloads", Quick: true,
			demand: demand{Flows: 4, Rate: 10e6, Ask: 4, Mixed: true, Ramp: 300 * ms, For: 5000 * ms}},
		{Key: "rr1", Title: "connections, one after the other", Quick: true, demand: demand{Parallel: 1, Ramp: 200 * ms, For: 1500 * ms}},
		{Key: "rr64", Title: "connections, 64 at once", Quick: true, demand: demand{Parallel: 64, Ramp: 200 * ms, For: 1500 * ms}},
	}
	for i := range list {
		list[i].To = server
		if list[i].Ask > 0 {
			continue // a 99th percentile wants two thousand
		}
		list[i].For = time.Duration(float64(list[i].For) * scale)
	}
	return list
}

var server = fmt.Sprintf("%s:%d", serverAddr, loadPort)

// outcome is what one work came to.
type outcome struct {
	load.Result
	Used Usage
}

// load runs a client on the LAN host; Used is what p used meanwhile.
func (s *Stage) load(p *Proc, within time.Duration, d demand) (o outcome, err error) {
	return s.loadMarked(within, d, func(mark string) {
		switch mark {
		case "begin":
			o.Used = usage(p)
		case "end":
			o.Used = usage(p).minus(o.Used)
		}
	}, &o)
}

// loadMarked runs a client and calls at for its marks; the client waits for nobody, except that "held" waits for at.
func (s *Stage) loadMarked(within time.Duration, d demand, at func(mark string), o *outcome) (outcome, error) {
	if d.To == "" {
		d.To = server
	}
	ctx, cancel := context.WithTimeout(context.Background(), within+d.Ramp+d.For)
	defer cancel()
	request, err := json.Marshal(d)
	if err != nil {
		return *o, err
	}
	name := s.lan.Command(s.bin.Self, "load", string(request))
	in, err := name.StdinPipe()
	if err != nil {
		return *o, err
	}
	out, err := name.StdoutPipe()
	if err != nil {
		return *o, err
	}
	errors, err := os.Create(filepath.Join(s.dir, "load.log"))
	if err != nil {
		return *o, err
	}
	defer errors.Close()
	name.Stderr = errors
	if err := name.Start(); err != nil {
		return *o, err
	}
	stop := context.AfterFunc(ctx, func() { name.Process.Kill() })
	defer stop()
	r := bufio.NewReader(out)
	for {
		line, e := r.ReadString('\n')
		if e != nil {
			err = e
			break
		}
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "{") {
			err = json.Unmarshal([]byte(line), &o.Result)
			break
		}
		at(line)
		if line == "held" {
			io.WriteString(in, "\n")
		}
	}
	in.Close()
	name.Wait()
	if ctx.Err() != nil {
		return *o, fmt.Errorf("client: not done after %v", within+d.Ramp+d.For)
	}
	if err != nil {
		return *o, fmt.Errorf("client: %w", err)
	}
	if o.Failed > o.Connections/100 {
		return *o, fmt.Errorf("client: %d connections failed: %s", o.Failed, o.Error)
	}
	return *o, nil
}

// Do has a contestant do a work and returns its figures by name.
func (s *Stage) Do(w Work, p *Proc) (map[string]float64, error) {
	if err := s.shape(w.Lines); err != nil {
		return nil, err
	}
	before := counters(s.cpe, "MPTcpExt")
	o, err := s.load(p, 20*time.Second, w.demand)
	if err != nil {
		return nil, err
	}
	after := counters(s.cpe, "MPTcpExt")
	f := map[string]float64{}
	gib := float64(o.Octets) / (1 << 30)
	if gib > 0 {
		f["mbit"] = float64(o.Octets) * 8 / o.Seconds / 1e6
		f["machine"] = o.Used.Machine.Seconds() / gib
		if p != nil {
			f["cpu"] = o.Used.CPU.Seconds() / gib
			f["wakeups"] = float64(o.Used.Wakeups) / gib / 1024 // per MiB
			if ticks := o.Used.User + o.Used.System; ticks > 0 {
				f["user"] = f["cpu"] * float64(o.Used.User) / float64(ticks)
				f["system"] = f["cpu"] - f["user"]
			}
		}
	}
	if o.Connections > 0 {
		f["rate"] = float64(o.Connections) / o.Seconds
		f["p50"], f["p99"] = o.Setup.Median, o.Setup.P99
		f["cpu_ms"] = float64(o.Used.CPU.Microseconds()) / 1000 / float64(o.Connections)
		f["sleeps"] = float64(o.Used.Wakeups) / float64(o.Connections)
	}
	for name, spread := range map[string]load.Spread{"ask": o.Ask, "mixed": o.Mixed} {
		if spread.N > 0 {
			f[name+"50"], f[name+"99"] = spread.Median, spread.P99
		}
	}
	f["joins"] = float64(after["MPJoinSynAckRx"] - before["MPJoinSynAckRx"])
	return f, nil
}

// Footprint is octets for each idle connection.
type Footprint struct {
	User    float64 // the relay's own
	Kernel  float64 // the kernel's objects, of all sockets on the machine, with those of the host, the server and whoever else there is
	Charged float64 // what the kernel holds for the relay alone; 0: it does not tell
}

// Memory opens connections and lets them fall idle.
func (s *Stage) Memory(connections int, p *Proc) (f Footprint, err error) {
	if err := s.shape(Lines{}); err != nil {
		return f, err
	}
	var u0, u1, c1 int64
	if p != nil {
		if p.grouped == "" {
			p.group()
		}
		u0 = p.memory()
	}
	c0, told := p.charged()
	k0 := slab()
	var k1 int64
	o := outcome{}
	_, err = s.loadMarked(90*time.Second, demand{Hold: connections}, func(mark string) {
		time.Sleep(3 * time.Second)
		if k1 = slab(); p != nil {
			u1 = p.memory()
		}
		c1, _ = p.charged()
	}, &o)
	each := func(before, after int64) float64 { return float64(after-before) / float64(connections) }
	f.User, f.Kernel = each(u0, u1), each(k0, k1)
	if told {
		f.Charged = each(c0, c1)
	}
	return f, err
}
