// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"slices"
	"time"
)

// own measures what only Spillway can be asked.
func (s *Stage) own(add func(key string, value float64), idle time.Duration) error {
	c := Contestants()[0]
	p, err := s.startUp(c, add)
	if err != nil {
		return err
	}
	began := time.Now()
	p.Stop()
	stopped := float64(time.Since(began).Milliseconds())
	if p, err = s.startUp(c, func(_ string, ms float64) { add("restart_ms", stopped+ms) }); err != nil {
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

// startUp measures the time from the start to the first connection that is relayed, while a host keeps connecting.
func (s *Stage) startUp(c Contestant, add func(string, float64)) (*Proc, error) {
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
	connecting := make(chan struct{})
	go func() {
		defer close(connecting)
		o := outcome{}
		s.loadMarked(5*time.Second, demand{Parallel: 1, For: 4 * time.Second}, func(string) {}, &o)
	}()
	time.Sleep(500 * time.Millisecond)
	before := counters(s.cpe, "MPTcpExt")["MPCapableSYNTX"]
	start := time.Now()
	p, err := s.Start(s.cpe, "relay-Spillway", args...)
	if err != nil {
		return nil, err
	}
	err = await("the first relayed connection", 20*time.Second, func() bool {
		return counters(s.cpe, "MPTcpExt")["MPCapableSYNTX"] > before || !p.running()
	})
	add("startup_ms", float64(time.Since(start).Milliseconds()))
	<-connecting
	if !p.running() {
		err = fmt.Errorf("%s ended: %s", c.Name, p.text())
	}
	return p, err
}

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
