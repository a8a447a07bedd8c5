// SPDX-License-Identifier: Apache-2.0

package relay

import "time"

// A kernel that is out of memory kills the daemon, and with it all connections. So the door closes while what is left suffices for those that have come,
// and opens again when there is more. The kernel forwards new connections meanwhile, for less memory than we would take.

const (
	// memoryOfYoung is what a connection takes from its SYN until it is copied, octets, at most: the kernel's sockets on both sides, a goroutine where
	// the lane did not suffice, and what the LAN host has said. Then it is less (limits.go).
	memoryOfYoung = 32 << 10
	spareEvery    = 32               // connections, after which it is looked at
	tightMost     = 31 * time.Second // a SYN's fifth repetition
)

// Spare names a function that tells how many octets of memory connections may still take. It is called seldom, and must return at once.
func (r *Relay) Spare(fn func() uint64) { r.spare.Store(&fn) }

// tight tells whether memory will not do for so many connections that have begun or are about to.
func tight(spare uint64, begun int) bool { return spare < uint64(max(begun, 0))*memoryOfYoung }

// weigh closes the door when memory is about to run out. waiting are connections that were promised a seat.
func (r *Relay) weigh(waiting int) {
	if !r.lacks(waiting+spareEvery) || !r.door.tight.CompareAndSwap(false, true) {
		return
	}
	r.count.fullTimes.Add(1)
	r.log.Warn("relay: memory runs out, new connections are forwarded natively", "sessions", r.guests.total(), "waiting", waiting)
	r.sayFull()
	since := time.Now()
	time.AfterFunc(scarceRest, func() { r.weighAgain(since) })
}

// weighAgain opens the door once there is memory for as many as its queue may hold: those who knocked in vain come again, all at once. There may
// never be so much, so that after tightMost it does for some.
func (r *Relay) weighAgain(since time.Time) {
	many := r.settings.Load().Queue
	if time.Since(since) >= tightMost {
		many = spareEvery
	}
	if r.lacks(many) {
		time.AfterFunc(scarceRest, func() { r.weighAgain(since) })
		return
	}
	r.door.tight.Store(false)
	r.log.Info("relay: there is memory again", "sessions", r.guests.total())
	r.changed()
}

// lacks tells whether memory will not do for those that are not copied yet and so many more.
func (r *Relay) lacks(more int) bool {
	spare := r.spare.Load()
	return spare != nil && tight((*spare)(), r.guests.total()-r.flows.len()+more)
}
