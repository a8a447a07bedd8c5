// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// Counter is what one device of the router has carried, and what of it was TCP, both ways.
type Counter struct {
	RxOctets, RxPackets, TxOctets, TxPackets uint64
	Segments, Payload                        uint64
}

// Sample is the counters of all links at an instant, in the order of Config.Links.
type Sample struct {
	At    time.Time
	Links []Counter
	CPU   time.Duration // the daemon's processor time so far
}

// openCounters opens the router's /proc/net/dev: the open file belongs to its namespace for ever.
func (w *World) openCounters() error {
	err := w.CPE.Do(func() (err error) {
		w.counters, err = os.Open("/proc/thread-self/net/dev")
		return err
	})
	if err == nil {
		w.atClose(func() { w.counters.Close() })
	}
	return err
}

// Sample reads the counters. A device that is missing counts zero.
func (w *World) Sample() (Sample, error) {
	s := Sample{At: time.Now(), Links: make([]Counter, len(w.Links))}
	if w.counters == nil {
		w.byLines(&s)
		return s, nil
	}
	text, err := io.ReadAll(io.NewSectionReader(w.counters, 0, 1<<16))
	if err != nil {
		return s, fmt.Errorf("router's counters: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		device, rest, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			continue
		}
		for i, l := range w.Links {
			if l.Device == device {
				var skip uint64
				c := &s.Links[i]
				fmt.Sscan(rest, &c.RxOctets, &c.RxPackets, &skip, &skip, &skip, &skip, &skip, &skip, &c.TxOctets, &c.TxPackets)
			}
		}
	}
	for i, line := range w.Lines {
		up, down := line.Counts()
		s.Links[i].Segments, s.Links[i].Payload = up.Segments+down.Segments, up.Payload+down.Payload
	}
	s.CPU = w.Router.CPU()
	return s, nil
}

// byLines fills in what the lines carried, with the Ethernet headers that a device counts.
func (w *World) byLines(s *Sample) {
	for i, line := range w.Lines {
		up, down := line.Counts()
		s.Links[i] = Counter{
			RxOctets: down.Octets + 14*down.Packets, RxPackets: down.Packets,
			TxOctets: up.Octets + 14*up.Packets, TxPackets: up.Packets,
			Segments: up.Segments + down.Segments, Payload: up.Payload + down.Payload,
		}
	}
	s.CPU = w.Router.CPU()
}

// Record samples until stop is closed.
func (w *World) Record(every time.Duration, stop <-chan struct{}) []Sample {
	var all []Sample
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if s, err := w.Sample(); err == nil {
			all = append(all, s)
		}
		select {
		case <-stop:
			return all
		case <-tick.C:
		}
	}
}
