// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"fmt"
	"net/netip"
	"time"

	"spillway/convert"
	"spillway/socks"
)

// Protocols that an upstream may speak.
const (
	Convert     = "convert"     // RFC 8803, one round trip or none before data
	SOCKS5      = "socks5"      // RFC 1928, with RFC 1929 when a user is configured
	SOCKS4a     = "socks4a"     // one request, one reply; no IPv6 addresses but by name
	Transparent = "transparent" // draft-peirens: MPTCP to the server's own address, from the LAN host's own address
)

// DefaultMaxSessions is Config.MaxSessions when nothing is said.
const DefaultMaxSessions = 4096

// MinIdleTimeout is what RFC 5382 REQ-5 asks of anything that stands between two TCP hosts.
const MinIdleTimeout = 2*time.Hour + 4*time.Minute

// Config is all that the relay must be told. Zero values mean the default in brackets.
type Config struct {
	Upstreams []Upstream
	Rules     []Rule // the relay's share; a connection that bears the mark of none is Bond
	RuleMask  uint32 // the bits of a mark that name a rule; 0: no rules

	// Block refuses (RST) what comes while every upstream is out. Otherwise the door closes and the kernel
	// forwards natively.
	Block bool

	MaxSessions int // connections at once; the door closes there and opens again at 7/8 of it [4096]
	MaxPerHost  int // connections of one LAN address; more are reset [MaxSessions/2]
	Queue       int // connections that may wait to be accepted, 16 to 1024 [MaxSessions/8]

	ConnectTimeout    time.Duration // from SYN to the upstream's whole answer, 1 s to 2 min [5 s]
	ServerTimeout     time.Duration // the same while the converter answers others: the server is slow then; 1 s to 2 min [80 s, which a SYN's sixth repetition, after 63 s, is within]
	IdleTimeout       time.Duration // no octet either way; at least MinIdleTimeout [MinIdleTimeout]
	HalfClosedTimeout time.Duration // no octet and one side has closed, at least 4 min [30 min]
	DrainTimeout      time.Duration // how long Run waits for connections when its context ends [0: not at all]
	FastOpenRetry     time.Duration // how long SYN data rests where it cost the bonding [10 min]

	LANBuffer    int // octets, receive and send buffer towards the LAN, 16 KiB to 16 MiB [256 KiB]
	NotSentLowat int // octets not yet sent that a socket may hold, but those of MPTCP (room.go) [128 KiB]
	Loops        int // event loops of the engine, read at New only [NumCPU]

	NativeBypass bool          // ask whether servers speak MPTCP themselves and then go to them without upstream
	NativeLife   time.Duration // how long that is believed [24 h]
	IgnoreDSCP   bool          // do not copy the LAN connection's DSCP to the upstream's
	Mark         uint32        // SO_MARK of upstream sockets, so that our own rules leave them alone [0: none]
	// Apart: subflows are made and removed for each connection by itself, as told by its mark. Connections of rules speak MPTCP then,
	// whatever their action.
	Apart bool
	// Race is "off", "auto": a second link is tried when the first is silent for a second, or "always": handshakes on two
	// links at once, the first to be ready is used; then nothing is sent in a SYN ["auto"].
	Race string
	// Faithful: a firewall holds the SYNs of LAN hosts and asks by Knock.
	Faithful bool
	Warm     int // connections to the preferred converter that are kept established in advance, 0 to 64
}

// Upstream is one concentrator (or proxy).
type Upstream struct {
	Name           string           // for status and log; [the first address]
	Protocol       string           // Convert, SOCKS5, SOCKS4a, Transparent [Convert]
	Addrs          []netip.AddrPort // the first of a family that the link has is used; none with Transparent
	FastOpen       string           // "auto", "always", "never": data in the SYN ["auto"]
	User, Password string           // SOCKS only, socks.MaxPassword octets at most
	Cookie         string           // Convert only: what the converter wants to see in each message; "": what it tells us, if anything
	Pipeline       bool             // SOCKS5 without waiting for answers; not of the standard, and most servers allow it
	Priority       int              // lower is preferred; the next is used when all of the former are out
	Weight         int              // share among equals, 1 to 1000 [1]
}

// Action is what a rule does with a connection that reached the relay.
type Action uint8

const (
	Bond    Action = iota // all links, as the plan says
	Primary               // the link that serves as the primary now, alone; reset while there is none
	NoLTE                 // any link that is not metered; reset while all of these are out
	Block                 // reset at once
)

func (a Action) String() string {
	return [...]string{"bond", "primary", "no-lte", "block"}[a&3]
}

// Rule says what becomes of the connections that the firewall gave to it.
//
// Primary and NoLTE use plain TCP unless Config.Apart: the kernel's path manager adds its endpoints to every MPTCP connection of
// the namespace, so that only a connection without MPTCP is certain to stay where it began.
type Rule struct {
	Name   string
	Mark   uint32 // within Config.RuleMask, of the connection's SYN
	Class  uint32 // with Config.Apart: bits that Config.Mark gets besides, for upstream sockets
	Action Action
}

// Plan is what policy decided, joined with the links' addresses. It must not be changed after SetPlan.
type Plan struct {
	Links   []PlanLink
	First   int // index of the link on which new connections begin where none has a weight; -1: none
	Primary int // index of the primary link; -1: none
	// NoSYNData keeps data out of SYNs (but FastOpen "always"): the links are so unlike that a bonded connection which began
	// with SYN data would stand still.
	NoSYNData bool
	Room      int // octets, the receive buffer that a bonded connection needs by these links; 0: no more than usual
}

// PlanLink is one link. One without device and addresses lets the kernel route.
type PlanLink struct {
	Name         string
	Device       string
	Index        int        // the kernel's number of the device, to which connections are bound; 0: not known
	Addr4, Addr6 netip.Addr // source addresses, zero where there is none
	Usable       bool
	Metered      bool
	Weight       int // share of the connections that begin here, relative to the others'
}

// Validate tells of the first value out of its range.
func (c *Config) Validate() error {
	for i := range c.Upstreams {
		if err := c.Upstreams[i].validate(); err != nil {
			return err
		}
	}
	for _, d := range []struct {
		name     string
		v        time.Duration
		min, max time.Duration
	}{
		{"connect timeout", c.ConnectTimeout, time.Second, 2 * time.Minute},
		{"server timeout", c.ServerTimeout, time.Second, 2 * time.Minute},
		{"idle timeout", c.IdleTimeout, MinIdleTimeout, 1000 * time.Hour},
		{"half-closed timeout", c.HalfClosedTimeout, 4 * time.Minute, 1000 * time.Hour},
		{"drain timeout", c.DrainTimeout, 0, 24 * time.Hour},
		{"fast open retry", c.FastOpenRetry, time.Second, 24 * time.Hour},
		{"native server lifetime", c.NativeLife, time.Second, 30 * 24 * time.Hour},
	} {
		if d.v != 0 && (d.v < d.min || d.v > d.max) {
			return fmt.Errorf("%s %v: give %v to %v", d.name, d.v, d.min, d.max)
		}
	}
	for _, n := range []struct {
		name        string
		v, min, max int
	}{
		{"sessions", c.MaxSessions, 1, 1 << 20},
		{"sessions of one host", c.MaxPerHost, 1, 1 << 20},
		{"LAN buffer", c.LANBuffer, 16 << 10, 16 << 20},
		{"not-sent mark", c.NotSentLowat, 4 << 10, 16 << 20},
		{"loops", c.Loops, 1, 64},
	} {
		if n.v != 0 && (n.v < n.min || n.v > n.max) {
			return fmt.Errorf("%s %d: give %d to %d", n.name, n.v, n.min, n.max)
		}
	}
	if c.Race != "" && c.Race != "off" && c.Race != "auto" && c.Race != "always" {
		return fmt.Errorf("race %q: give off, auto or always", c.Race)
	}
	if c.Warm < 0 || c.Warm > 64 {
		return fmt.Errorf("%d warm connections: give 0 to 64", c.Warm)
	}
	return nil
}

func (u *Upstream) validate() error {
	switch u.Protocol {
	case "", Convert, SOCKS5, SOCKS4a:
		if len(u.Addrs) == 0 {
			return fmt.Errorf("upstream %q: no address", u.Name)
		}
	case Transparent:
	default:
		return fmt.Errorf("upstream %q protocol %q: give convert, socks5, socks4a or transparent", u.Name, u.Protocol)
	}
	switch u.FastOpen {
	case "", "auto", "always", "never":
	default:
		return fmt.Errorf("upstream %q fast open %q: give auto, always or never", u.Name, u.FastOpen)
	}
	if len(u.Cookie) > convert.MaxCookie {
		return fmt.Errorf("upstream %q: a cookie has at most %d octets", u.Name, convert.MaxCookie)
	}
	if len(u.User) > socks.MaxPassword || len(u.Password) > socks.MaxPassword {
		return fmt.Errorf("upstream %q: user and password have at most %d octets", u.Name, socks.MaxPassword)
	}
	if u.Weight < 0 || u.Weight > 1000 {
		return fmt.Errorf("upstream %q weight %d: give 1 to 1000", u.Name, u.Weight)
	}
	return nil
}

// withDefaults fills what was left zero. The receiver is a copy.
func (c Config) withDefaults() Config {
	setInt := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	setDuration := func(p *time.Duration, v time.Duration) {
		if *p == 0 {
			*p = v
		}
	}
	setInt(&c.MaxSessions, DefaultMaxSessions)
	setInt(&c.MaxPerHost, max(1, c.MaxSessions/2))
	setInt(&c.Queue, c.MaxSessions/8)
	c.Queue = min(max(c.Queue, 16), 1024)
	setInt(&c.LANBuffer, 256<<10)
	setInt(&c.NotSentLowat, 128<<10)
	setDuration(&c.ConnectTimeout, 5*time.Second)
	setDuration(&c.ServerTimeout, 80*time.Second)
	setDuration(&c.IdleTimeout, MinIdleTimeout)
	setDuration(&c.HalfClosedTimeout, 30*time.Minute)
	setDuration(&c.FastOpenRetry, 10*time.Minute)
	setDuration(&c.NativeLife, 24*time.Hour)
	if c.Race == "" {
		c.Race = "auto"
	}
	c.Upstreams = append([]Upstream(nil), c.Upstreams...)
	for i := range c.Upstreams {
		u := &c.Upstreams[i]
		if u.Protocol == "" {
			u.Protocol = Convert
		}
		if u.FastOpen == "" {
			u.FastOpen = "auto"
		}
		if u.Name == "" && len(u.Addrs) > 0 {
			u.Name = u.Addrs[0].String()
		}
		setInt(&u.Weight, 1)
	}
	return c
}
