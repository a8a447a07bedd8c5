// SPDX-License-Identifier: Apache-2.0

// Package concentrator is a Transport Converter (RFC 8803): the far end of a household's bonded lines. It accepts
// Multipath TCP connections whose stream begins with a Convert message, opens an ordinary TCP connection to the server
// that the message names, and copies both ways.
//
// The way of a connection: admit.go takes it from the engine's loop, lane.go follows it there if all goes well, else session.go in a goroutine;
// judge.go decides what a message gets, dial.go connects and turns a failure into an error code, copy.go has the engine move the octets, stop.go
// ends what is idle or must end.
package concentrator

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"spillway/convert"
)

// Config says what a converter does for whom. The zero value of a field that has a default means the default.
type Config struct {
	Listen []netip.AddrPort // at least one; [::]:port takes IPv4 too

	// AllowClients are the prefixes whose hosts may connect; empty: nobody, unless there is a Token. Others get Error 32.
	AllowClients []netip.Prefix
	// Token, if not empty, must come as the Cookie TLV of every message; AllowClients is then everybody if empty.
	// It travels in clear, and has convert.MaxCookie octets at most, as the router's cookie.
	Token []byte
	// CookieSecret, if not empty, makes the converter ask for a cookie (Error 3) that proves that the client's address
	// isn't spoofed. At least 16 octets. Not together with Token.
	CookieSecret []byte
	// CookieLife is how long a cookie is good: between once and twice this. Default 24 h.
	CookieLife time.Duration

	// AllowDestinations opens prefixes that are closed by default: loopback, private, link-local, the clouds' metadata
	// services, this host's own addresses. DenyDestinations closes prefixes, and is stronger.
	AllowDestinations, DenyDestinations []netip.Prefix

	MaxSessions  int           // at once; default 20000
	ClientPrefix int           // so many bits of an IPv6 address stand for one client, 32 to 64; default 64, the least that a household has
	MaxPerClient int           // sessions of one client at once, beside its share (shareTimes); default MaxSessions
	MaxPending   int           // of them, without message or server yet; default 8192, twice what a household has at most
	ErrorRate    int           // Error TLVs a second for one client, but for what one that may ask asks for, bursts of four times that; default 100. Above: reset
	RetryAfter   time.Duration // the wait that Error 64 and 65 ask for, 1 to 255 s; default 5 s

	WarmTimeout    time.Duration // a connection may wait for its message's first octet; default 10 min
	MessageTimeout time.Duration // from the first octet to the whole message; default 5 s
	DialTimeout    time.Duration // to connect to the server; default 75 s, within which a SYN is sent seven times at least
	IdleTimeout    time.Duration // no octet either way; default 3 h, at least 2 h 4 min (RFC 5382 REQ-5)
	StopTimeout    time.Duration // sessions may finish after the end of Run's context; default 30 s
}

// DefaultMaxSessions is Config.MaxSessions when nothing is said.
const DefaultMaxSessions = 20000

const minIdle = 2*time.Hour + 4*time.Minute

// fill puts the defaults in place and says what can't be served.
func (c *Config) fill() error {
	def(&c.CookieLife, 24*time.Hour)
	def(&c.MaxSessions, DefaultMaxSessions)
	def(&c.ClientPrefix, 64)
	def(&c.MaxPerClient, c.MaxSessions)
	def(&c.MaxPending, 8192)
	def(&c.ErrorRate, 100)
	def(&c.RetryAfter, 5*time.Second)
	def(&c.WarmTimeout, 10*time.Minute)
	def(&c.MessageTimeout, 5*time.Second)
	def(&c.DialTimeout, 75*time.Second)
	def(&c.IdleTimeout, 3*time.Hour)
	def(&c.StopTimeout, 30*time.Second)
	switch {
	case len(c.Listen) == 0:
		return errors.New("no address to listen on")
	case len(c.AllowClients) == 0 && len(c.Token) == 0:
		return errors.New("nobody may connect: name the clients' prefixes (-allow-clients), or 0.0.0.0/0,::/0 for everybody")
	case len(c.CookieSecret) != 0 && len(c.CookieSecret) < 16:
		return fmt.Errorf("cookie secret of %d octets, at least 16 are needed; make one: head -c 32 /dev/urandom | base64", len(c.CookieSecret))
	case len(c.CookieSecret) != 0 && len(c.Token) != 0:
		return errors.New("cookie secret and token exclude each other: both travel in the Cookie TLV")
	case len(c.Token) > convert.MaxCookie:
		return fmt.Errorf("token of %d octets, at most %d are taken", len(c.Token), convert.MaxCookie)
	case c.MaxSessions < 1 || c.MaxPerClient < 1 || c.MaxPending < 1 || c.ErrorRate < 1:
		return fmt.Errorf("limits of %d sessions, %d per client, %d pending, %d errors/s: each must be at least 1",
			c.MaxSessions, c.MaxPerClient, c.MaxPending, c.ErrorRate)
	case c.ClientPrefix < 32 || c.ClientPrefix > 64:
		return fmt.Errorf("client prefix of %d bits: 32 to 64 are what a household may have", c.ClientPrefix)
	case c.RetryAfter < time.Second || c.RetryAfter > 255*time.Second:
		return fmt.Errorf("retry after %v: 1 s to 255 s can be told", c.RetryAfter)
	case c.IdleTimeout < minIdle:
		return fmt.Errorf("idle timeout %v: at least %v (RFC 5382)", c.IdleTimeout, minIdle)
	case c.CookieLife < time.Minute:
		return fmt.Errorf("cookie life %v: at least 1 min", c.CookieLife)
	case c.WarmTimeout < 0 || c.MessageTimeout < 0 || c.DialTimeout < 0 || c.StopTimeout < 0:
		return errors.New("a timeout is negative")
	}
	if len(c.AllowClients) == 0 {
		c.AllowClients = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	}
	return nil
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}
