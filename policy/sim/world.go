// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"math"
	"time"
)

// Figures of the model. The scheduler's are measured on Linux 6.18 (one bulk connection, DSL 20/5 Mbit/s, LTE 40/20 Mbit/s).
const (
	tick       = 50 * time.Millisecond
	window     = 250 * time.Millisecond // over which the rates that the policy sees are taken, as linkmon does
	actAfter   = 100 * time.Millisecond // from a plan to the first octet on a link it made active
	deadAfter  = 400 * time.Millisecond // from a blackhole to the verdict
	stray      = 0.09                   // share that other active links take from what the fastest could carry
	best       = 0.968                  // most of the fastest link that is used while others are active
	rampTime   = 0.3                    // s, in which TCP takes up a new rate
	backlogMax = 60 * time.Millisecond  // of its rate that a paced sender has waiting at most: it drops the rest, as a live stream does
	segment    = 1420 * 8               // bits of payload in a segment
)

// line is a link in the course of time.
type line struct {
	Link
	up, dead bool
	reason   string
	deadAt   time.Duration
	loss     float64
	drag     float64      // share of its rate that each link keeps while this one carries beside it; 0: all
	queue    [2]float64   // bits waiting
	tcp      [2]float64   // rate that TCP has worked itself up to on this line
	rate     [2]float64   // mean of the last window, as the policy sees it
	late     [2][]float64 // bits delivered in each tick of it
	carried  [2]float64   // bits delivered in this tick
	active   bool         // carries, after the delay of the path manager
	wanted   time.Duration
	used     float64 // octets of both directions

	bits, bitsAt [2]float64 // delivered in all; in the time measured
	firstAt      time.Duration
	lastAt       time.Duration
	touched      bool
}

// works reports whether what is sent arrives.
func (l *line) works() bool { return l.up && !l.dead }

// delay is the round-trip time with the queues as they stand.
func (l *line) delay() time.Duration {
	q := l.queue[0]/l.Rate[0] + l.queue[1]/l.Rate[1]
	return l.RTT + time.Duration(q*float64(time.Second))
}

// limit is the rate that TCP reaches on the line under its loss (Mathis et al.: MSS/RTT * 1.22/sqrt(p)); 8 connections.
func (l *line) limit(d int) float64 {
	if l.loss <= 0 {
		return l.Rate[d]
	}
	return min(l.Rate[d], 8*segment*1.22/(l.delay().Seconds()*math.Sqrt(l.loss)))
}

// demand is the traffic that wants to go in one direction.
type demand struct {
	paced   float64 // bit/s offered
	backlog float64 // bits of it waiting
	greedy  bool
	video   *video
}

// video is an adaptive player: it fetches pieces of a film as fast as they come and rests while its buffer is full.
type video struct {
	buffer  float64 // s of film
	left    float64 // bits of the piece being fetched
	began   time.Duration
	quality float64 // bit/s of the film
	most    float64 // bit/s that the film has at best
}

// The player's pieces, buffer and qualities.
const (
	pieceLen  = 4.0  // s
	bufferMax = 20.0 // s
)

var ladder = []float64{1.5e6, 3e6, 6e6, 10e6, 16e6, 25e6}

// wants returns the bits that want to go in this tick, and whether there is no end to them.
func (w *demand) wants(now time.Duration) (bits float64, endless bool) {
	dt := tick.Seconds()
	w.backlog = min(w.backlog+w.paced*dt, w.paced*(backlogMax.Seconds()+dt))
	if w.video != nil {
		return w.backlog + w.video.wants(now), w.greedy
	}
	return w.backlog, w.greedy
}

// wants lets the film run for a tick and asks for the next piece if there is room.
func (v *video) wants(now time.Duration) float64 {
	v.buffer = max(v.buffer-tick.Seconds(), 0)
	if v.left <= 0 && v.buffer+pieceLen <= bufferMax {
		v.left, v.began = v.quality*pieceLen, now
	}
	return v.left
}

// got takes delivered bits: the paced backlog first, then the film.
func (w *demand) got(bits float64, now time.Duration) {
	used := min(w.backlog, bits)
	w.backlog -= used
	bits -= used
	v := w.video
	if v == nil || v.left <= 0 {
		return
	}
	v.left -= bits
	if v.left > 0 {
		return
	}
	v.buffer += pieceLen
	speed := v.quality * pieceLen / max((now-v.began).Seconds()+tick.Seconds(), 0.05)
	v.quality = ladder[0]
	for _, q := range ladder {
		if q <= 0.8*speed && q <= v.most {
			v.quality = q
		}
	}
}

// move carries one tick of traffic in direction d over the active lines, the fastest to answer first, and lets queues drain.
func (w *world) move(d int) {
	dt := tick.Seconds()
	want, endless := w.demands[d].wants(w.now)
	order := w.byDelay()
	drag := w.drag(order)
	// What is offered to each line: the fastest is filled, the others take the rest, and a share of what was not theirs.
	left := want / dt
	if endless {
		left = math.Inf(1)
	}
	room := w.windowRoom()
	for n, i := range order {
		l := &w.lines[i]
		top := l.limit(d) * drag
		share := left
		if len(order) > 1 && n == 0 {
			share = min(left-min(stray*left, w.othersTop(order, d)), best*top)
			if math.IsInf(left, 1) {
				share = best * top
			}
		}
		rate := min(share, top, room)
		rate = min(rate, l.tcp[d])
		// TCP takes up what is there within a few round trips, and keeps the queue filled when it wants more than there is.
		goal := min(max(share, 0), top, room)
		l.tcp[d] += (goal*1.02 + 0.02*top - l.tcp[d]) * min(1, dt/rampTime)
		if l.works() {
			l.queue[d] += rate * dt
		}
		if share > top && l.works() && l.limit(d) == l.Rate[d] {
			l.queue[d] += 0.2 * top * dt
		}
		left -= rate
		room -= rate
	}
	delivered := 0.0
	for i := range w.lines {
		l := &w.lines[i]
		out := min(l.queue[d], l.Rate[d]*dt)
		if !l.works() {
			out, l.queue[d] = 0, 0
		}
		l.queue[d] = min(l.queue[d]-out, l.Rate[d]*l.Queue.Seconds()*0.8)
		l.carried[d] = out
		l.rate[d] = l.mean(d, out, dt)
		delivered += out
		w.book(l, d, out)
	}
	w.demands[d].got(delivered, w.now)
}

// mean takes a tick's bits into the window and returns the mean rate.
func (l *line) mean(d int, out, dt float64) float64 {
	l.late[d] = append(l.late[d], out)
	if most := max(1, int(window.Seconds()/dt+0.5)); len(l.late[d]) > most {
		l.late[d] = append(l.late[d][:0], l.late[d][len(l.late[d])-most:]...)
	}
	sum := 0.0
	for _, bits := range l.late[d] {
		sum += bits
	}
	return sum / (float64(len(l.late[d])) * dt)
}

// othersTop is what the lines after the first can carry.
func (w *world) othersTop(order []int, d int) (sum float64) {
	for _, i := range order[1:] {
		sum += w.lines[i].limit(d)
	}
	return sum
}

// drag is the share of their rates that the active lines keep.
func (w *world) drag(order []int) float64 {
	share := 1.0
	for _, i := range order {
		if l := &w.lines[i]; l.drag > 0 && len(order) > 1 {
			share = min(share, l.drag)
		}
	}
	return share
}

// windowRoom is the rate that a bounded window allows over the active lines: what is in flight on the slowest holds up the rest.
func (w *world) windowRoom() float64 {
	if w.sc.Window == 0 {
		return math.Inf(1)
	}
	slowest := time.Duration(0)
	for i := range w.lines {
		if w.lines[i].active {
			slowest = max(slowest, w.lines[i].delay())
		}
	}
	return w.sc.Window / max(slowest.Seconds(), 1e-3)
}

// byDelay lists the active lines, the fastest to answer at rest first, dead ones included: the kernel does not know yet.
func (w *world) byDelay() []int {
	var order []int
	for i := range w.lines {
		if w.lines[i].active && w.lines[i].up {
			order = append(order, i)
		}
	}
	for a := range order {
		for b := a; b > 0 && w.lines[order[b]].RTT < w.lines[order[b-1]].RTT; b-- {
			order[b], order[b-1] = order[b-1], order[b]
		}
	}
	return order
}

// book notes delivered bits.
func (w *world) book(l *line, d int, bits float64) {
	if bits < 1 {
		return
	}
	l.bits[d] += bits
	l.used += bits / 8
	if w.now >= w.sc.From && w.now < w.sc.To {
		l.bitsAt[d] += bits
	}
	if !l.touched {
		l.touched, l.firstAt = true, w.now
	}
	l.lastAt = w.now
	if w.saturated < 0 && bits >= 0.97*l.Rate[d]*tick.Seconds() {
		w.saturated = w.now
	}
}
