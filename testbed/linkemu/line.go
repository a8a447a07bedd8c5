// SPDX-License-Identifier: Apache-2.0

// Package linkemu emulates access lines (DSL, LTE) between two devices, for kernels without netem and for
// impairments that netem lacks: rate, one-way delay, jitter, queue and loss per direction, blackholes, loss of carrier, and
// middleboxes that strip MPTCP, alter payload or drop data in SYNs. All of it changes while traffic runs.
//
// Line is the arithmetic of one direction: no clock, no I/O. Link is the thread that applies two of them to packets.
package linkemu

import (
	"math/rand/v2"
	"time"
)

// Shape is how one direction of a line treats packets.
type Shape struct {
	Rate   float64       // bit/s of IP packets, link-layer headers not counted; 0: no limit
	Delay  time.Duration // one way, after the packet has been sent out
	Jitter time.Duration // more delay, uniform in [0, Jitter); packets keep their order
	Queue  int           // octets that may wait, the packet being sent included; 0: 60 ms at Rate, at least 40 kB
	Loss   float64       // probability 0..1 that a packet is lost, each by itself
}

// queue is the limit in octets.
func (s Shape) queue() int {
	if s.Queue > 0 {
		return s.Queue
	}
	return max(40_000, int(s.Rate/8*0.06))
}

// sending is how long a packet keeps the line busy.
func (s Shape) sending(octets int) time.Duration {
	if s.Rate <= 0 {
		return 0
	}
	return time.Duration(float64(octets) * 8 / s.Rate * float64(time.Second))
}

// Counts is what became of the packets offered to a Line.
type Counts struct {
	Packets, Octets uint64 // carried to the other end
	Full            uint64 // packets dropped because the queue was full
	Lost            uint64 // packets lost by Shape.Loss, a blackhole, a cut or a middlebox

	// What was offered, whatever became of it:
	Segments, Payload uint64 // TCP segments, and octets of TCP payload in them: what costs money, without the chatter of neighbours
}

// Line is one direction of a link. Instants are durations since any fixed moment. The zero Line passes everything at once.
type Line struct {
	shape   Shape
	rnd     *rand.Rand
	waiting fifo          // not sent yet; the head is being sent
	backlog int           // octets in waiting
	sent    time.Duration // when the head of waiting will have been sent
	flying  fifo          // sent, arriving later
	arrival time.Duration // of the last in flying: nothing arrives before it
	counts  Counts
}

// NewLine returns a line whose losses and jitter follow from seed.
func NewLine(s Shape, seed uint64) *Line {
	return &Line{shape: s, rnd: rand.New(rand.NewPCG(seed, 1))}
}

// SetShape changes the line from the next packet on: the one being sent keeps its time, those in flight their arrival.
func (l *Line) SetShape(s Shape) { l.shape = s }

// Counts returns the counters so far.
func (l *Line) Counts() Counts { return l.counts }

// Offer gives the line a packet of so many octets at an instant. false: the packet was dropped and remains the caller's.
func (l *Line) Offer(now time.Duration, packet []byte, octets int) bool {
	l.advance(now)
	if l.shape.Loss > 0 && l.rnd.Float64() < l.shape.Loss {
		l.counts.Lost++
		return false
	}
	if l.waiting.len() > 0 && l.backlog+octets > l.shape.queue() {
		l.counts.Full++
		return false
	}
	if l.waiting.len() == 0 {
		l.sent = now + l.shape.sending(octets)
	}
	l.waiting.push(entry{packet: packet, octets: octets})
	l.backlog += octets
	l.advance(now)
	return true
}

// advance lets the packets fly that have been sent by now. The next one starts when its predecessor ended, however late
// advance is called: a late thread does not make a slow line.
func (l *Line) advance(now time.Duration) {
	for l.waiting.len() > 0 && l.sent <= now {
		e := l.waiting.pop()
		l.backlog -= e.octets
		e.at = l.sent + l.shape.Delay
		if l.shape.Jitter > 0 {
			e.at += time.Duration(l.rnd.Int64N(int64(l.shape.Jitter)))
		}
		e.at = max(e.at, l.arrival)
		l.arrival = e.at
		l.flying.push(e)
		if l.waiting.len() > 0 {
			l.sent += l.shape.sending(l.waiting.head().octets)
		}
	}
}

// Take returns the next packet that has arrived by now; nil: none.
func (l *Line) Take(now time.Duration) []byte {
	l.advance(now)
	if l.flying.len() == 0 || l.flying.head().at > now {
		return nil
	}
	e := l.flying.pop()
	l.counts.Packets++
	l.counts.Octets += uint64(e.octets)
	return e.packet
}

// Next tells when Take is worth calling again; false: not before another Offer.
func (l *Line) Next() (time.Duration, bool) {
	switch {
	case l.flying.len() > 0:
		return l.flying.head().at, true
	case l.waiting.len() > 0:
		return l.sent, true
	}
	return 0, false
}

// Backlog is how many octets wait to be sent.
func (l *Line) Backlog() int { return l.backlog }

// Flush loses all packets on the line, as a cut does, and hands them back through free.
func (l *Line) Flush(free func([]byte)) {
	for _, q := range []*fifo{&l.waiting, &l.flying} {
		for q.len() > 0 {
			l.counts.Lost++
			free(q.pop().packet)
		}
	}
	l.backlog = 0
}

type entry struct {
	packet []byte
	octets int
	at     time.Duration // arrival, once flying
}

// fifo is a queue in a ring that grows.
type fifo struct {
	ring  []entry // length a power of two
	first int
	n     int
}

func (f *fifo) len() int     { return f.n }
func (f *fifo) head() *entry { return &f.ring[f.first] }

func (f *fifo) push(e entry) {
	if f.n == len(f.ring) {
		bigger := make([]entry, max(64, 2*f.n))
		for i := range f.n {
			bigger[i] = f.ring[(f.first+i)&(len(f.ring)-1)]
		}
		f.ring, f.first = bigger, 0
	}
	f.ring[(f.first+f.n)&(len(f.ring)-1)] = e
	f.n++
}

func (f *fifo) pop() entry {
	e := f.ring[f.first]
	f.ring[f.first] = entry{}
	f.first = (f.first + 1) & (len(f.ring) - 1)
	f.n--
	return e
}
