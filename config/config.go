// SPDX-License-Identifier: Apache-2.0

// Package config turns the TOML file into clean values: durations, prefixes, enumerations. Nothing behind this
// package ever sees a string that is still to be interpreted. Decoding is strict: an unknown key is an error, and every
// error names the file, the line, the key and what to write instead.
//
// The package is a leaf: package main alone imports it, and turns the values into each room's own configuration.
package config

import (
	_ "embed"
	"net/netip"
	"time"
)

// Reference is the commented configuration that documents every key; a test keeps it true.
//
//go:embed reference.toml
var Reference string

// Config is the whole configuration.
type Config struct {
	LogLevel      string // "debug", "info", "warn", "error"
	Daemon        Daemon
	LAN           LAN
	Links         []Link         // in the order of the file; at least one
	Concentrators []Concentrator // in the order of the file; at least one
	Policy        Policy
	Relay         Relay
	Numbers       Numbers
	Rules         []Rule // first match wins

	lines map[string]int
}

// Line is the line of a key in the file, or of its table; i counts in arrays of tables and is negative elsewhere. 0: not known.
func (c *Config) Line(table string, i int, name string) int {
	if i >= 0 {
		return lineOf(c.lines, key(table, i, name))
	}
	return lineOf(c.lines, table+"."+name)
}

// Daemon is where the daemon keeps what is its own.
type Daemon struct {
	Control string // path of the control socket
	State   string // path of the usage file (quota counters)
	Ubus    string // "auto", "off", or the path of ubusd's socket
}

// Numbers are ours in the kernel, for where another program has the same; 0: the usual one.
type Numbers struct {
	MarkMask uint32 // eight bits of the firewall mark
	Table    uint32 // first of the routing tables
	Priority uint32 // first of the routing rules
	Endpoint uint8  // highest of the MPTCP endpoint ids
}

// LAN is whose TCP is relayed.
type LAN struct {
	Interfaces  []string
	NativeMPTCP string // "pass" or "relay"
}

// Link is one access line.
type Link struct {
	Name       string
	Device     string  // kernel device; "" when Interface is given
	Interface  string  // netifd's logical name; "" when Device is given
	Role       string  // "primary", "overflow", "backup", "off"
	DownBit    float64 // bit/s; 0: learnt
	UpBit      float64
	Metered    bool
	Weight     int
	Quota      Quota
	AllowHours []Hours // empty: always

	RoleGiven, MeteredGiven bool // they are written; else Role is "primary" until the line is known better, and Metered goes by the role
}

// Quota bounds a link's use in a billing month. Zero values mean no limit.
type Quota struct {
	Limit      uint64 // octets per billing month
	SoftShare  float64
	Daily      uint64
	BillingDay int // 1..31, clamped to the month's length
}

// Hours is a window of the day in minutes since local midnight; To <= From goes past midnight.
type Hours struct{ From, To int }

// Concentrator is one upstream.
type Concentrator struct {
	Name      string
	Address   string // address, host name, or SRV name beginning with "_convert._tcp."
	Port      uint16
	Protocol  string // "convert", "socks5", "socks4a", "transparent"
	FastOpen  string // "auto", "always", "never"
	User      string
	Password  string
	Priority  int // lower is tried first
	Weight    int
	Cookie    string // convert only; "": none but what the concentrator asks for
	Pipeline  bool   // socks5 only: say all without waiting for answers
	Learn     string // file with the DHCP options that bring the addresses; Address is "" then
	LearnCode int
}

// Policy is which link carries what.
type Policy struct {
	Mode               string // "overflow", "backup", "bond", "smallest-delay", "primary-only"
	OnConcentratorDown string // "direct" or "block"
	OverflowEnter      float64
	OverflowEnterFor   time.Duration
	OverflowLeave      float64
	OverflowLeaveFor   time.Duration
	HoldUp             time.Duration
	Standby            string // "off", "busy", "on"
	NeverWorse         bool
	PathManager        string // "auto", "kernel", "user"
}

// Relay bounds and tunes the relaying of connections.
type Relay struct {
	MaxSessions   int
	MaxPerHost    int
	IdleTimeout   time.Duration // of an established connection; never under 2 h 4 min (RFC 5382)
	StopWithin    time.Duration // how long a graceful stop lets connections finish
	DSCP          string        // "keep" or "clear"
	NativeServers string        // "keep" or "bypass"
	Race          string        // "off", "auto", "always"
	Faithful      bool          // hold a LAN host's SYN until the server has answered
	Warm          int           // connections to the concentrator kept established in advance
	ReceiveBuffer int           // octets, of the socket to the concentrator; 0: by RAM
}

// Rule says which way some traffic goes.
type Rule struct {
	Name      string
	Line      int // in the file, for messages
	Src       []netip.Prefix
	Dst       []netip.Prefix
	MAC       []string
	DstPort   []PortRange
	DSCP      []uint8
	Domain    []string
	Interface []string
	Days      []time.Weekday
	Hours     *Hours
	Action    string // "bypass", "primary", "bond", "no-lte", "block"
}

// PortRange is an inclusive range of TCP ports.
type PortRange struct{ First, Last uint16 }

// NeedsNetifd tells whether a link is named as OpenWrt names it, so that netifd must tell its device.
func (c *Config) NeedsNetifd() bool {
	for _, l := range c.Links {
		if l.Interface != "" {
			return true
		}
	}
	return false
}
