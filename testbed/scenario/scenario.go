// SPDX-License-Identifier: Apache-2.0

// Package scenario holds what happens to a router, as values: links, demand, events over time, and what is expected of
// the outcome in the field's terms, each expectation with the figure that was measured.
//
// A scenario knows the router only through world.Router, so that the same values are played against a daemon in a
// namespace and against an emulated machine.
package scenario

import (
	"time"

	"spillway/testbed/linkemu"
	"spillway/testbed/traffic"
	"spillway/testbed/world"
)

// Scenario is one story.
type Scenario struct {
	Name     string // one word, for the command line
	About    string // one sentence
	Links    []world.Link
	Settings world.Settings
	// ServerDelay is the one-way delay between concentrator and server.
	ServerDelay linkemu.Shape
	Before      func(*world.World) error // what the world needs besides, before anything is started in it
	Demands     []Demand
	Events      []Event       // in the order of At
	Length      time.Duration // how long counters are watched at least; it ends with the demands otherwise
	Native      bool          // no relay: what the LAN has without us
	Expect      []Expectation
}

// Demand is traffic of a LAN host that begins at an instant.
type Demand struct {
	Name   string // unique
	Start  time.Duration
	After  int    // Start counts from the moment when so many events are over; 0: from the beginning
	Family string // "4" or "6"; "": 4
	traffic.Demand
}

// Event is something that happens.
type Event struct {
	At       time.Duration
	Do       Action
	Link     string                   // whose, for actions on a link
	Up, Down linkemu.Shape            // of Reshape
	Box      linkemu.Middlebox        // of Meddle, both directions
	Settings *world.Settings          // of Reload
	Act      func(*world.World) error // what happens, where none of the actions says it; Do is its name then
}

// Action names what an event does.
type Action string

const (
	Cut                Action = "cut"            // the carrier goes, and what is on the way with it
	Restore            Action = "restore"        // the carrier comes back
	Blackhole          Action = "blackhole"      // both directions go silent
	BlackholeUp        Action = "blackhole-up"   // from the router
	BlackholeDown      Action = "blackhole-down" // to the router
	Clear              Action = "clear"          // the end of any blackhole
	Reshape            Action = "reshape"        // another rate, delay, loss, queue
	Meddle             Action = "meddle"         // a middlebox
	Readdress          Action = "readdress"      // the provider gives another IPv4 address
	KillRouter         Action = "kill-router"    // SIGKILL
	StopRouter         Action = "stop-router"
	StartRouter        Action = "start-router"
	Reload             Action = "reload"
	KillConcentrator   Action = "kill-concentrator"
	StartConcentrator  Action = "start-concentrator"
	FreezeConcentrator Action = "freeze-concentrator"
	ThawConcentrator   Action = "thaw-concentrator"
)

// Expectation is one sentence about the outcome, with its figure.
type Expectation struct {
	What    string
	Key     string // in a benchmark's JSON; "": not there
	Unit    string
	Measure func(*Run) float64
	Is      Comparison
	Aim     float64    // what the product promises
	Bound   float64    // what a test insists on, on any machine however busy; NaN: nothing
	AtBound Comparison // on which side of Bound; "": as Is
}

// Comparison says on which side of a bound a figure must be.
type Comparison string

const (
	AtLeast Comparison = "≥"
	AtMost  Comparison = "≤"
	Equal   Comparison = "="
)

func (c Comparison) holds(figure, bound float64) bool {
	switch {
	case bound != bound: // NaN
		return true
	case c == AtLeast:
		return figure >= bound
	case c == Equal:
		return figure == bound
	}
	return figure <= bound
}

// Finding is an expectation measured.
type Finding struct {
	Expectation
	Figure float64
	Met    bool // the aim
	Within bool // the bound
}
