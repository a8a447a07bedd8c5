// SPDX-License-Identifier: Apache-2.0

package linkemu

import (
	"testing"
	"time"
)

const ms = time.Millisecond

// arrivals drains the line as its thread would, at the instants that Next asks for.
func arrivals(l *Line) (at []time.Duration) {
	for {
		next, more := l.Next()
		if !more {
			return at
		}
		for l.Take(next) != nil {
			at = append(at, next)
		}
	}
}

func TestPacketsFollowEachOtherAtTheRate(t *testing.T) {
	l := NewLine(Shape{Rate: 12e6, Delay: 15 * ms, Queue: 100_000}, 1) // 1500 octets take 1 ms
	for range 10 {
		if !l.Offer(0, make([]byte, 1500), 1500) {
			t.Fatal("dropped within the queue")
		}
	}
	got := arrivals(l)
	if len(got) != 10 {
		t.Fatalf("%d packets arrived, want 10", len(got))
	}
	for i, at := range got {
		if want := time.Duration(i+1)*ms + 15*ms; at != want {
			t.Errorf("packet %d arrives at %v, want %v", i, at, want)
		}
	}
}

func TestALateThreadKeepsTheRate(t *testing.T) {
	l := NewLine(Shape{Rate: 12e6, Queue: 100_000}, 1)
	for range 50 {
		l.Offer(0, make([]byte, 1500), 1500)
	}
	n := 0
	for l.Take(20*ms) != nil { // woken 19 ms late
		n++
	}
	if n != 20 {
		t.Errorf("%d packets after 20 ms, want 20", n)
	}
	if l.Backlog() != 30*1500 {
		t.Errorf("%d octets wait, want %d", l.Backlog(), 30*1500)
	}
}

func TestAFullQueueDropsTheNewcomer(t *testing.T) {
	l := NewLine(Shape{Rate: 1e6, Queue: 4500}, 1)
	for i := range 5 {
		if got, want := l.Offer(0, make([]byte, 1500), 1500), i < 3; got != want {
			t.Errorf("packet %d taken: %v, want %v", i, got, want)
		}
	}
	if c := l.Counts(); c.Full != 2 {
		t.Errorf("counted %d drops, want 2", c.Full)
	}
	if !NewLine(Shape{Rate: 1e6, Queue: 100}, 1).Offer(0, make([]byte, 1500), 1500) {
		t.Error("an idle line refuses a packet larger than its queue")
	}
}

func TestANewRateHoldsForWaitingPackets(t *testing.T) {
	l := NewLine(Shape{Rate: 12e6, Queue: 100_000}, 1)
	for range 3 {
		l.Offer(0, make([]byte, 1500), 1500)
	}
	l.SetShape(Shape{Rate: 1.2e6, Queue: 100_000}) // the one being sent is done after 1 ms, the others take 10 ms each
	want := []time.Duration{1 * ms, 11 * ms, 21 * ms}
	for i, at := range arrivals(l) {
		if at != want[i] {
			t.Errorf("packet %d arrives at %v, want %v", i, at, want[i])
		}
	}
}

func TestJitterKeepsOrderAndBounds(t *testing.T) {
	l := NewLine(Shape{Delay: 10 * ms, Jitter: 5 * ms}, 7)
	var sent []time.Duration
	for i := range 1000 {
		now := time.Duration(i) * ms
		l.Offer(now, []byte{byte(i)}, 1)
		sent = append(sent, now)
	}
	got := arrivals(l)
	if len(got) != len(sent) {
		t.Fatalf("%d packets arrived, want %d", len(got), len(sent))
	}
	spread := map[time.Duration]bool{}
	for i := range got {
		extra := got[i] - sent[i] - 10*ms
		spread[extra.Round(ms)] = true
		if extra < 0 || extra >= 5*ms {
			t.Errorf("packet %d: %v of jitter, want within [0, 5ms)", i, extra)
		}
		if i > 0 && got[i] < got[i-1] {
			t.Errorf("packet %d overtakes", i)
		}
	}
	if len(spread) < 4 {
		t.Errorf("jitter takes %d values, want a spread", len(spread))
	}
}

func TestLossIsTheShareAskedFor(t *testing.T) {
	l := NewLine(Shape{Loss: 0.05}, 3)
	const n = 20_000
	for i := range n {
		if l.Offer(time.Duration(i), []byte{1}, 1) {
			l.Take(time.Duration(i))
		}
	}
	c := l.Counts()
	if c.Lost < n*4/100 || c.Lost > n*6/100 || c.Lost+c.Packets != n {
		t.Errorf("lost %d and carried %d of %d at 5 %%", c.Lost, c.Packets, n)
	}
}

func TestFlushLosesAllAndHandsBack(t *testing.T) {
	l := NewLine(Shape{Rate: 12e6, Delay: 10 * ms}, 1)
	for range 5 {
		l.Offer(0, make([]byte, 1500), 1500)
	}
	l.Take(2 * ms) // some fly
	back := 0
	l.Flush(func([]byte) { back++ })
	if _, more := l.Next(); more || back != 5 || l.Backlog() != 0 {
		t.Errorf("after Flush: %d handed back, backlog %d, more %v", back, l.Backlog(), more)
	}
	l.Offer(20*ms, make([]byte, 1500), 1500)
	if got := arrivals(l); len(got) != 1 || got[0] != 31*ms {
		t.Errorf("after Flush a packet arrives at %v, want 31ms", got)
	}
}
