// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"net/netip"
	"time"
)

// Table is the nft table as data: whose TCP goes where.
type Table struct {
	Interfaces []string // LAN devices whose TCP is relayed
	// Door4 and Door6 are the ports of the relay's transparent listeners on 127.0.0.1 and ::1; 0: closed, the kernel
	// forwards that family natively.
	Door4, Door6 uint16
	// RelayNative sends connections of LAN hosts that speak MPTCP themselves to the relay too; else they pass.
	RelayNative bool
	// Refuse resets every connection that would be relayed (on_concentrator_down = "block").
	Refuse bool
	// Concentrators are the upstreams' addresses and ports. Connections to these addresses are never relayed.
	Concentrators []netip.AddrPort
	// OpenConcentrators lets LAN hosts talk to the upstreams' ports themselves; else they are refused.
	OpenConcentrators bool
	Rules             []TableRule // first match wins
}

// Action is what happens to a connection that a TableRule matches.
type Action uint8

const (
	ActionRelay  Action = iota // to the relay, later rules do not matter; the relay knows which way
	ActionBypass               // forwarded natively
	ActionBlock                // reset
)

// TableRule is nft's share of a [[rule]]: all conditions must hold, an empty one always holds. Dst and DomainSet are
// one condition: either.
type TableRule struct {
	Name       string
	Action     Action
	Src, Dst   []netip.Prefix
	DomainSet  string // name of a pair of sets NAME4 and NAME6 with timeouts, for AddDomain and dnsmasq
	MAC        []MAC
	DstPorts   []PortRange
	DSCP       []uint8 // 0..63
	Interfaces []string
	Window     Window
}

// MAC is a hardware address of a LAN host.
type MAC [6]byte

// PortRange is First..Last, both included.
type PortRange struct{ First, Last uint16 }

// Window is when a rule holds, in local time; the zero value: always. The kernel counts days and hours in UTC and knows
// no summer time, so the windows are judged here and the table changes at their edges.
type Window struct {
	Days     [7]bool       // by time.Weekday; none: every day
	From, To time.Duration // since midnight; To <= From: until that hour of the next day; both 0: the whole day
}

// Ruleset is a rendered table. Rulesets with the same Mark are the same; Text is empty when it was read from the kernel.
type Ruleset struct {
	Mark string
	Text string
}

// At is the table without the rules whose window does not hold at now.
func (t Table) At(now time.Time) Table { return t }

// NextChange is when At's answer may change next; the zero time: never.
func (t Table) NextChange(now time.Time) time.Time { return time.Time{} }

// Render makes the nft text. The error names the rule and what is wrong with it.
func Render(t Table) (Ruleset, error) { return Ruleset{}, nil }
