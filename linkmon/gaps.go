// SPDX-License-Identifier: Apache-2.0

package linkmon

import "time"

// gapPackets is the least number of packets of which a share of losses is told. Of the losses one, or nearly, is taken for chance.
const (
	gapPackets = 10
	gapChance  = 0.9
)

// gaps counts what is missing in what a link brings, as its receiver sees it: a packet that comes out of order tells that one before it was
// lost. What comes out of order within a round trip is one loss, for all that follows a lost packet does. Several losses in a round trip count as
// one, so the share is rather too low.
type gaps struct {
	segs, apart   uint32 // sums over the subflows: packets with data, those out of order; they wrap, and fall when a subflow ends
	before        [2]uint32
	packets, lost float64 // of late, halved each lossHalf
	at            time.Time
}

// begin begins a step.
func (g *gaps) begin(dt time.Duration) {
	g.before = [2]uint32{g.segs, g.apart}
	g.segs, g.apart = 0, 0
	g.packets *= halved(dt, lossHalf)
	g.lost *= halved(dt, lossHalf)
}

// end sums it up. rtt is the link's least round trip; 0: unknown.
func (g *gaps) end(now time.Time, rtt time.Duration) {
	if n := g.segs - g.before[0]; n < 1<<31 {
		g.packets += float64(n)
	}
	if n := g.apart - g.before[1]; n > 0 && n < 1<<31 && now.Sub(g.at) >= rtt {
		g.lost++
		g.at = now
	}
}

// share is what part of the packets was lost of late, 0 to 1; 0 as well while too few have come to tell.
func (g *gaps) share() float64 {
	if g.packets < gapPackets {
		return 0
	}
	return min(1, max(0, g.lost-gapChance)/g.packets)
}
