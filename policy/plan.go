// SPDX-License-Identifier: Apache-2.0

package policy

import "time"

// Observation is the world at one instant, as far as the policy needs it.
type Observation struct {
	// Now orders the observations. Spans are taken with Time.Sub, so a reading of the clock that carries the monotonic clock is
	// immune to a clock that is set. Time that stands still or goes backwards makes no timer fire.
	Now time.Time
	// Wall is civil time in the owner's location, for quotas and windows. Zero: Now. Before 2020: the clock is not set yet.
	Wall  time.Time
	Links []LinkObs // in the order of Config.Links; missing ones are not usable
	// Delivered is what relayed connections give to hosts, bit/s, over all links, smoothed as the links' rates are. 0: unknown, or nothing.
	Delivered float64
}

// LinkObs is one link at one instant. Rates and capacities are in bit/s, measured in the same way (both with or both
// without framing); down is towards the home.
type LinkObs struct {
	_ [0]func() // never compared, so that no code is made for it

	Usable bool   // up, carrier, address, route
	Dead   bool   // nothing comes back although data is out (a blackhole)
	Reason string // why not usable or why dead, in a few words: "no carrier"
	// Astray is why no concentrator can be reached by a usable link, in a few words; "": one can. Such a link serves only while no other works.
	Astray string

	DownRate, UpRate   float64       // smoothed over about 0.5 s
	DownCap, UpCap     float64       // 0: unknown; LinkConfig.DownBit and UpBit come first
	DownQueue, UpQueue bool          // a queue stands: data waits (window full, NotSent) or the round-trip time is inflated
	RTT, MinRTT        time.Duration // 0: unknown
	Loss               float64       // share of packets lost, 0 to 1, as our own senders see it
	DownLoss           float64       // ... of those towards the home, as the receiver sees it; 0: unknown, or none
	Subflows           int           // that use the link

	// UsedBytes counts the octets of both directions. It may restart at 0.
	UsedBytes uint64
	// UsedEpoch names the life of that counter (of boot and device, say): with another value the counter began anew. 0: unknown.
	UsedEpoch uint64
	// UsedBefore is what the counter had counted for others when it became this link's. It matters where UsedEpoch changes.
	UsedBefore uint64
}

// State is what a link does in a Plan.
type State uint8

// The states, in the order of what they carry.
const (
	Off     State = iota // no subflow
	Standby              // a silent subflow on each connection (MPTCP's backup), or a link that empties
	Active               // carries
	First                // carries, and new connections start here
)

var stateNames = [...]string{"off", "standby", "active", "first"}

// String returns the state in lower case.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "unknown"
}

// Plan is what the links shall do. It holds until the next Step; nothing in it is changed later.
type Plan struct {
	First int // index of the link on which new connections start; -1: none, keep connections and wait
	Links []LinkPlan
	Why   string // one sentence on the whole, with the figures of the moment it was decided

	Overflow     bool // OverflowDown or OverflowUp
	OverflowDown bool // overflow links carry for want of room towards the home
	OverflowUp   bool // ... from the home

	Changed []Transition // what this Step changed; nil mostly
	Persist bool         // the quota counters want to be written: see Machine.Usage
}

// LinkPlan is what one link shall do.
type LinkPlan struct {
	Role  State
	Why   string    // one sentence, with the figures of the moment it was decided
	Since time.Time // when the link came to Role

	Available bool    // could carry now if a rule asked for it: usable, trusted, within its limits
	Held      bool    // would be available, but has only just returned
	Draining  bool    // Standby only to empty; will be Off
	Resting   bool    // Active, but silent for the moment: the primaries carry all that there is; or a primary that would hold up what others carry
	Down, Up  bool    // shall carry towards, from the home (both false unless Active or First)
	Primary   bool    // serves as a primary now, by role or because the primaries are down
	Metered   bool    // volume costs money
	Weight    float64 // share of the connections that begin, as configured; 0 where none shall
}

// Transition is one change of one link.
type Transition struct {
	At       time.Time
	Link     string
	From, To State
	Why      string
}

// String returns the transition as it is logged: "lte: off -> active: dsl is full: ...".
func (t Transition) String() string {
	return t.Link + ": " + t.From.String() + " -> " + t.To.String() + ": " + t.Why
}

// Class is a kind of connection. Rules and the relay's own measure of a connection choose it.
type Class uint8

// The classes.
const (
	Interactive Class = iota // short or waiting for answers: stays on the first link
	Bulk                     // moves volume: may use whatever carries
	Pinned                   // rule "primary": the primaries, or what stands in for them when they are down
	Bonded                   // rule "bond": all available links at once, full or not
	Unmetered                // rule "no-lte": only links whose volume costs nothing, none if none works
)

// Allowed returns the links that a connection of a class may use, the one to start on first. None: -1 applies, wait.
func (p *Plan) Allowed(c Class) []int {
	if p.First < 0 || p.First >= len(p.Links) {
		return nil
	}
	may := func(l *LinkPlan) bool {
		switch c {
		case Bulk:
			return l.Role >= Active
		case Pinned:
			return l.Role >= Active && l.Primary
		case Bonded:
			return l.Role >= Active || l.Available
		case Unmetered:
			return l.Role >= Active && !l.Metered
		default:
			return l.Role == First
		}
	}
	var links []int
	if may(&p.Links[p.First]) {
		links = append(links, p.First)
	}
	for i := range p.Links {
		if i != p.First && may(&p.Links[i]) {
			links = append(links, i)
		}
	}
	return links
}
