// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// own measures what only Spillway can be asked.
func (s *Stage) own(add func(key string, value float64), idle time.Duration) error {
	p, err := s.changes(Contestants()[0], add)
	if err != nil {
		return err
	}
	defer p.Stop()
	if err := s.shape(Lines{}); err != nil {
		return err
	}
	time.Sleep(3 * time.Second)
	s.rest(p, idle, "idle", add)
	o := outcome{}
	_, err = s.loadMarked(2*time.Minute, demand{Hold: 1000}, func(string) {
		time.Sleep(2 * time.Second)
		s.rest(p, min(idle, 30*time.Second), "flows1000", add)
	}, &o)
	return err
}

// changes measures, while hosts keep connecting, the start, restarts as an init system does them, and new binaries that take over. The hosts pause, so
// that none uses a port again: the router's socket of before is in TIME_WAIT, early demultiplexing finds it, and ip_forward drops the SYN.
func (s *Stage) changes(c Contestant, add func(string, float64)) (p *Proc, err error) {
	const times = 3
	if err := s.bond(false); err != nil {
		return nil, err
	}
	if err := s.intercept(""); err != nil {
		return nil, err
	}
	args, err := c.command(s)
	if err != nil {
		return nil, err
	}
	var hosts sync.WaitGroup
	hosts.Go(func() {
		o := outcome{}
		s.loadMarked(5*time.Second, demand{Parallel: 8, Pause: 20 * time.Millisecond, For: 10 * time.Second}, func(string) {}, &o)
	})
	defer hosts.Wait()
	time.Sleep(500 * time.Millisecond)
	since := func(begin time.Time) float64 { return float64(time.Since(begin).Microseconds()) / 1000 }
	begin := time.Now()
	if p, err = s.relays(args); err != nil {
		return p, err
	}
	add("startup_ms", since(begin))
	for range times {
		time.Sleep(time.Second)
		begin := time.Now()
		p.Stop()
		if p, err = s.relays(args); err != nil {
			return p, err
		}
		add("restart_ms", since(begin))
	}
	for range times {
		time.Sleep(time.Second)
		next, err := s.Start(s.cpe, "relay-Spillway", append(args, "-takeover")...)
		if err != nil {
			return p, err
		}
		add("takeover_ms", s.pause(time.Second))
		before := p
		if p = next; before.running() || !p.running() {
			return p, fmt.Errorf("%s did not take over from itself: %s", c.Name, p.text())
		}
	}
	return p, nil
}

// relays starts the daemon and waits until it relays a connection.
func (s *Stage) relays(args []string) (*Proc, error) {
	before := s.dialled()
	p, err := s.Start(s.cpe, "relay-Spillway", args...)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(20 * time.Second); s.dialled() == before; time.Sleep(2 * time.Millisecond) {
		if !p.running() || time.Now().After(end) {
			return p, fmt.Errorf("nothing is relayed: %s", p.text())
		}
	}
	return p, nil
}

// pause is the longest time without a further relayed connection within a while, in milliseconds.
func (s *Stage) pause(within time.Duration) (most float64) {
	last, at := s.dialled(), time.Now()
	for end := at.Add(within); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if n := s.dialled(); n != last {
			last, at = n, time.Now()
		}
		most = max(most, float64(time.Since(at).Microseconds())/1000)
	}
	return most
}

// dialled is how often the relay has asked for an MPTCP connection.
func (s *Stage) dialled() int64 { return counters(s.cpe, "MPTcpExt")["MPCapableSYNTX"] }

// rest measures a process that has nothing to do.
func (s *Stage) rest(p *Proc, length time.Duration, key string, add func(string, float64)) {
	before := usage(p)
	time.Sleep(length)
	used := usage(p).minus(before)
	add(key+"_wakeups", float64(used.Wakeups)/length.Seconds())
	add(key+"_percent", 100*used.CPU.Seconds()/length.Seconds())
}

// bloated is two links whose queues hold a second.
var bloated = Lines{Down: [2]float64{50, 30}, Up: [2]float64{10, 5}, Buffer: time.Second}

// queues measures small requests beside bulk on links with long queues: through the relay (ask), and past it (other),
// where the kernel forwards them into the same queue.
func (s *Stage) queues(c Contestant, p *Proc, length time.Duration, add func(string, float64)) error {
	if err := s.shape(bloated); err != nil {
		return err
	}
	defer s.shape(Lines{})
	for name, up := range map[string]bool{"down": false, "up": true} {
		var o outcome
		var octets [2]int64 // what the links sent up until the beginning and until the end
		_, err := s.loadMarked(30*time.Second, demand{Flows: 16, Upload: up, Ask: 1, Other: fmt.Sprintf("%s:%d", otherAddr, loadPort),
			Ramp: 5 * time.Second, For: length}, func(mark string) {
			if k := slices.Index([]string{"begin", "end"}, mark); k >= 0 {
				octets[k], _ = sent(s.cpe, links[:]...)
			}
		}, &o)
		if err != nil {
			return fmt.Errorf("long queues, %s: %s: %w", name, c.Name, err)
		}
		if up {
			add("up_sent", float64(octets[1]-octets[0])*8/o.Seconds/1e6)
		}
		if o.Ask.N == 0 || o.Other.N == 0 {
			return fmt.Errorf("long queues, %s: %s: no request was answered", name, c.Name)
		}
		add(name+"_mbit", float64(o.Octets)*8/o.Seconds/1e6)
		add(name+"_ask50", o.Ask.Median)
		add(name+"_ask99", o.Ask.P99)
		add(name+"_other50", o.Other.Median)
		add(name+"_other99", o.Other.P99)
	}
	return nil
}
