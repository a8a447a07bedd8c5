// SPDX-License-Identifier: Apache-2.0

package engine

import "time"

const (
	tick      = int64(5 * time.Millisecond)   // the loop's clock for bulk directions
	pause     = int64(20 * time.Millisecond)  // a silence that ends a run of reads
	silence   = int64(120 * time.Millisecond) // and one that ends the bulk mood; what two links bring comes in bursts
	window    = int64(40 * time.Millisecond)  // over which the rate is taken, for the same reason
	maxPeriod = 4                             // ticks between two looks at a slow bulk direction
	leastMark = 16 << 10                      // SO_RCVLOWAT of a bulk direction, which follows its rate
	mostMark  = 128 << 10                     // the kernel makes the window hold it (tcp_set_rcvlowat, mptcp_set_rcvlowat)
	firstNeed = 64 << 10                      // octets of an unbroken run that make a direction bulk
	mostNeed  = 1 << 20                       // what that grows to for directions that were promoted in vain
	worth     = 4 << 10                       // octets that the longest period must bring, else waiting saves nothing
	lineRate  = 720 << 10                     // octets per tick of all bulk directions, 1.2 Gbit/s: beyond is no line, but what the processors can
	hurryMark = 32 << 10                      // SO_RCVLOWAT then
	target    = 48 << 10                      // octets that a look should find: what comes more often is dearer by the wake-up
)

// gauge decides for one direction when the kernel shall wake us (attentive) and when the clock shall (bulk).
// Times are nanoseconds of one monotonic clock. The zero value is attentive.
type gauge struct {
	start  int64  // of the run; in bulk: of what got counts
	last   int64  // when octets were last found
	due    int64  // in bulk: the next look
	run    uint32 // octets since start, saturating
	need   uint32 // octets of a run that promote; 0: firstNeed
	rate   uint32 // in bulk: octets per tick, smoothed
	got    uint32 // in bulk: octets since start, saturating
	mark   int32  // in bulk: the low-water mark
	period uint8  // in bulk: ticks between looks
	empty  uint8  // looks in a row that found nothing
	bulk   bool
	hurry  bool // no line limits us: what comes is passed on soon, or both ends wait for windows
	brisk  bool // looks are a tick apart: what is passed on must not come in bursts
}

// read tells of n octets found in the attentive mood and returns true when the direction becomes bulk.
func (g *gauge) read(now int64, n int) bool {
	if now-g.last > pause {
		g.run, g.start = 0, now
	}
	g.last = now
	g.run = saturate(g.run, n)
	if g.need == 0 {
		g.need = firstNeed
	}
	if g.run < g.need {
		return false
	}
	elapsed := max(now-g.start, maxPeriod*tick) // a run that came at once had waited for a gap to be filled: that is no rate
	g.rate = perTick(int64(g.run), elapsed)
	if g.rate*g.longest() < worth { // too slow to gain; keep half of the run's memory
		g.run, g.start = g.run/2, now-elapsed/2
		return false
	}
	g.bulk, g.empty, g.run, g.got, g.start, g.mark = true, 0, 0, 0, now, leastMark
	g.schedule(now)
	return true
}

// look tells of n octets found in the bulk mood and returns false when the direction becomes attentive. clock is
// true for a look at the tick; false when the kernel woke us because the mark was reached.
func (g *gauge) look(now int64, n int, clock bool) bool {
	if n == 0 {
		if !clock {
			return true
		}
		g.empty++
		if g.empty >= 2 && now-g.last > silence {
			g.calm()
			return false
		}
		g.schedule(now)
		return true
	}
	g.empty, g.last = 0, now
	g.run, g.got = saturate(g.run, n), saturate(g.got, n)
	if elapsed := now - g.start; elapsed >= window {
		g.rate = g.rate/2 + perTick(int64(g.got), elapsed)/2
		g.got, g.start = 0, now
	}
	if g.run >= mostNeed {
		g.need = firstNeed
	}
	if g.rate*g.longest() < worth/2 {
		g.calm()
		return false
	}
	g.schedule(now)
	return true
}

// turned tells that the other direction spoke while nothing was waiting in this, a bulk one.
func (g *gauge) turned() {
	if g.run < 4*firstNeed {
		g.need = min(2*g.need, mostNeed)
	}
	g.calm()
}

// calm makes the direction attentive with nothing remembered of the run.
func (g *gauge) calm() { g.bulk, g.run, g.start = false, 0, g.last }

// schedule sets the next look so that it will find target octets at the present rate, and the mark to twice that, so that the
// kernel stays silent until then unless the flow becomes faster. Looks of one period fall together.
func (g *gauge) schedule(now int64) {
	for g.period = uint8(g.longest()); g.period > 1 && int64(g.rate)*int64(g.period) > target*4/3; {
		g.period /= 2
	}
	every := int64(g.period) * tick
	g.due = (now + every + tick/2) / every * every
	expected := int64(g.rate) * int64(g.period)
	for g.mark < mostMark && int64(g.mark) < 2*expected {
		g.mark *= 2
	}
	for g.mark > leastMark && int64(g.mark) > 8*expected {
		g.mark /= 2
	}
	if g.hurry {
		g.mark = hurryMark
	}
}

// longest is the most ticks between two looks.
func (g *gauge) longest() uint32 {
	if g.brisk {
		return 1
	}
	return maxPeriod
}

// perTick is octets per tick, at most 2^28.
func perTick(n, elapsed int64) uint32 { return uint32(min(n*tick/elapsed, 1<<28)) }

func saturate(a uint32, n int) uint32 { return uint32(min(uint64(a)+uint64(n), 1<<30)) }
