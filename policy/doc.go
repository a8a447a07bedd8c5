// SPDX-License-Identifier: Apache-2.0

// Package policy decides which link carries what, and says why.
//
// Machine.Step takes what was observed and returns a Plan: a state for each link, the link on which new connections start, and a
// sentence on each with the figures that decided. The package has no clock, no I/O, no lock and no goroutine: time is a field
// of the observation, memory is a value, and the same observations give the same plans.
//
// One step has seven thoughts, each a file or a function:
//
//	sense    take the observation in, advance the machine's own clock       machine.go
//	count    charge what was carried to the quotas                         quota.go, calendar.go
//	judge    which links work, are trusted, are within their limits         judge.go
//	lead     which serve as primaries, and which of them is first           lead.go
//	spill    which overflow links carry along, each direction apart         overflow.go, guard.go, bond.go
//	assign   a state for each link                                         assign.go
//	tell     what changed, and why, in words                                why.go
//
// docs/POLICY.md explains the behaviour to the owner of the lines.
package policy
