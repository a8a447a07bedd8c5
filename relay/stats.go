// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"net/netip"
	"sync/atomic"
	"time"

	"spillway/convert"
	"spillway/mptcp"
)

// counters are what Stats shows.
type counters struct {
	_ [0]func() // never compared, so that no code is made for it

	accepted, relayed, direct, refused, hostLimited, blocked, noLink, noUpstream atomic.Int64
	destination, failed, retried, reset, idle, fullTimes, avoided                atomic.Int64
	held, unheld, turnedAway                                                     atomic.Int64
	warm, synTried, synAccepted, synNotAcked, synLost, synFallback               atomic.Int64
	codes                                                                        [256]atomic.Int64
}

func (c *counters) code(k convert.Code) { c.codes[k].Add(1) }

func (c *counters) fastOpen(o mptcp.Outcome) {
	c.synTried.Add(1)
	switch {
	case o.SYNDataAcked && o.MPTCP:
		c.synAccepted.Add(1)
	case o.FastOpenFail == mptcp.FastOpenRetransmitted:
		c.synLost.Add(1)
	case !o.SYNDataAcked:
		c.synNotAcked.Add(1)
	}
	if !o.MPTCP {
		c.synFallback.Add(1)
	}
}

// Sessions is how many connections there are, those that wait for their upstream too.
func (r *Relay) Sessions() int { return r.guests.total() }

// Accepted is how many connections have come so far.
func (r *Relay) Accepted() int64 { return r.count.accepted.Load() }

// Delivered counts the octets that LAN hosts were given.
func (r *Relay) Delivered() uint64 { return r.engine.Delivered() }

// NativeServers lists at most so many of the servers that are known to speak MPTCP (Config.NativeBypass), those learnt last first.
func (r *Relay) NativeServers(most int) []netip.AddrPort { return r.native.newest(most, time.Now()) }

// Stats gives the counters.
func (r *Relay) Stats() Stats {
	c := &r.count
	s := Stats{Sessions: r.guests.total(), Full: r.guests.full.Load(), Tight: r.door.tight.Load(), FullTimes: c.fullTimes.Load(),
		Accepted: c.accepted.Load(), Relayed: c.relayed.Load(), Direct: c.direct.Load(), Refused: c.refused.Load(),
		HostLimited: c.hostLimited.Load(), Blocked: c.blocked.Load(), NoLink: c.noLink.Load(),
		NoUpstream: c.noUpstream.Load(), Destination: c.destination.Load(), Failed: c.failed.Load(),
		Retried: c.retried.Load(), Warm: c.warm.Load(), Held: c.held.Load(), Unheld: c.unheld.Load(), TurnedAway: c.turnedAway.Load(), Reset: c.reset.Load(), IdleClosed: c.idle.Load(),
		FastOpen: FastOpenStats{Tried: c.synTried.Load(), Accepted: c.synAccepted.Load(), NotAcked: c.synNotAcked.Load(),
			Lost: c.synLost.Load(), Fallback: c.synFallback.Load(), Avoided: c.avoided.Load()},
		NativeCached: r.native.len(time.Now()), Wakeups: r.engine.Wakeups()}
	r.door.mu.Lock()
	s.DoorOpen, s.DoorWanted = r.door.open, r.door.wanted
	r.door.mu.Unlock()
	for k := range c.codes {
		if n := c.codes[k].Load(); n > 0 {
			if s.Errors == nil {
				s.Errors = make(map[uint8]int64)
			}
			s.Errors[uint8(k)] = n
		}
	}
	s.Established, s.Up, s.Down = r.flows.sum()
	return s
}

// sum adds up living and ended flows.
func (fs *flows) sum() (n int, up, down uint64) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	up, down = fs.up, fs.down
	for _, f := range fs.list {
		if f.flow == nil {
			continue
		}
		n++
		up += uint64(f.head)
		if c := f.conn.Load(); c != nil {
			u, d := c.Moved()
			up += u
			down += d
		}
	}
	return n, up, down
}
