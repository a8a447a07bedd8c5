// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// MaxLinks is the largest number of links a Machine keeps in mind. The kernel's path manager holds 8 endpoints; the rest is
// room for links that take turns.
const MaxLinks = 16

// Mode says how the links share the work. The names in brackets are 3GPP's (TS 24.193).
type Mode uint8

// The modes. In all of them a link that dies is left in the same step, and a link that returns waits for HoldUp.
const (
	ModeOverflow      Mode = iota // primaries first, overflow links carry what does not fit (priority-based)
	ModeBackup                    // primaries only, the others when no primary works (active-standby)
	ModeBond                      // all primaries and overflow links at once (load-balancing)
	ModeSmallestDelay             // the one link with the smallest round-trip time (smallest delay)
	ModePrimaryOnly               // primaries, and nothing when they are down
)

var modeNames = [...]string{"overflow", "backup", "bond", "smallest-delay", "primary-only"}

// String returns the mode as it is written in the configuration.
func (m Mode) String() string {
	if int(m) < len(modeNames) {
		return modeNames[m]
	}
	return fmt.Sprintf("mode(%d)", uint8(m))
}

// ParseMode reads a mode as it is written in the configuration.
func ParseMode(s string) (Mode, error) {
	for i, n := range modeNames {
		if s == n {
			return Mode(i), nil
		}
	}
	return 0, fmt.Errorf("mode %q: want overflow, backup, bond, smallest-delay or primary-only", s)
}

// Role is what a link is there for, by configuration or by Machine.Set.
type Role uint8

// The roles.
const (
	RolePrimary  Role = iota // carries first
	RoleOverflow             // carries what does not fit into the primaries, and everything when they are down
	RoleBackup               // carries only when no primary and no overflow link works
	RoleOff                  // never carries
)

var roleNames = [...]string{"primary", "overflow", "backup", "off"}

// String returns the role as it is written in the configuration.
func (r Role) String() string {
	if int(r) < len(roleNames) {
		return roleNames[r]
	}
	return fmt.Sprintf("role(%d)", uint8(r))
}

// ParseRole reads a role as it is written in the configuration.
func ParseRole(s string) (Role, error) {
	for i, n := range roleNames {
		if s == n {
			return Role(i), nil
		}
	}
	return 0, fmt.Errorf("role %q: want primary, overflow, backup or off", s)
}

// StandbyMode says whether links that carry nothing keep a silent subflow on each connection. One costs about 956 octets of
// the link per connection and makes the first octet 65 to 140 ms sooner when the link is needed.
type StandbyMode uint8

// The ways of standing by.
const (
	StandbyOff  StandbyMode = iota // on demand: no subflow until it is needed
	StandbyOn                      // always
	StandbyBusy                    // while traffic flows on the links in use
)

// Config is what the owner of the lines wants. The zero value of every field but Links is a working default; Validate
// reports what cannot work.
type Config struct {
	Mode  Mode
	Links []LinkConfig // at most MaxLinks; their order is the order of preference within a role

	// OverflowEnter is the share of the primaries' capacity, up to 1, from which they are full. 0: 0.95.
	OverflowEnter float64
	// OverflowLeave is the share below which everything fits into the primaries again, below OverflowEnter. 0: 0.85.
	OverflowLeave float64
	// OverflowEnterFor is how long the primaries must be full. 0: 400 ms.
	OverflowEnterFor time.Duration
	// OverflowLeaveFor is how long everything must fit. 0: 2 s. It grows by itself, up to eightfold, when leaving proves rash.
	OverflowLeaveFor time.Duration
	// HoldUp is how long a link that returns must stay up before it is trusted. 0: 10 s. It grows by itself, up to sixteenfold,
	// with the number of recent falls.
	HoldUp time.Duration
	// Drain is how long a link that is not needed any more stays as standby, so that it empties before its subflows go. 0: 2 s.
	Drain time.Duration

	Standby StandbyMode

	// MaxRTTDiff is the round-trip time by which an overflow link may be slower than the fastest primary (RFC 8157 calls this
	// the RTT difference threshold). 0: 1 s. Negative: no limit.
	MaxRTTDiff time.Duration
	// MaxLoss is the share of lost packets, 0 to 1, above which a link is used only when nothing else works. 0: 0.2. 1: no limit.
	MaxLoss float64
	// NoGuard switches off the guard that stops using a link when the links together are slower than the best of them alone.
	NoGuard bool
}

// LinkConfig is what one link is there for.
type LinkConfig struct {
	Name    string
	Role    Role
	Weight  float64 // share of the connections that begin, relative to other links in use; 0 everywhere: all begin on the first
	DownBit float64 // capacity towards the home, bit/s; 0: as observed
	UpBit   float64 // capacity from the home, bit/s; 0: as observed
	Metered bool    // volume costs money; a quota implies it
	Line    string  // whose counter is read: another one has counted before what is not of this link
	Quota   Quota
}

// Quota limits the volume of a link, both directions together, and the hours of its use. The zero value limits nothing.
type Quota struct {
	Limit       uint64   // octets per billing month; reached: the link is off. 0: none
	Soft        uint64   // octets per billing month; reached: only when nothing else works. 0: none
	Daily       uint64   // octets per day; reached: only when nothing else works, until midnight. 0: none
	BillingDay  int      // 1 to 31, the day a billing month begins; shorter months begin on their last day. 0: 1
	Windows     []Window // outside of all of them: only when nothing else works. None: always
	PersistEach uint64   // octets between two writes of the counter. 0: a two-hundredth of Limit, or of Daily without one, at least 16 MB
}

// Window is a span of the day on some days of the week, in the location of Observation.Wall.
type Window struct {
	Days     uint8 // bit 1<<time.Weekday; 0: every day. A window past midnight belongs to the day it began
	From, To int   // minutes since midnight, 0 to 1440; To <= From: past midnight
}

// limited reports whether the quota limits anything.
func (q *Quota) limited() bool { return q.counts() || len(q.Windows) > 0 }

// counts reports whether it limits volume. Hours alone need no counter that survives.
func (q *Quota) counts() bool { return q.Limit > 0 || q.Soft > 0 || q.Daily > 0 }

// withDefaults returns c with each zero field set to its default.
func (c Config) withDefaults() Config {
	orFloat := func(v *float64, d float64) {
		if *v <= 0 || *v != *v {
			*v = d
		}
	}
	orTime := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	orFloat(&c.OverflowEnter, 0.95)
	orFloat(&c.OverflowLeave, 0.85)
	orTime(&c.OverflowEnterFor, 400*time.Millisecond)
	orTime(&c.OverflowLeaveFor, 2*time.Second)
	orTime(&c.HoldUp, 10*time.Second)
	orTime(&c.Drain, 2*time.Second)
	if c.MaxRTTDiff == 0 {
		c.MaxRTTDiff = time.Second
	}
	orFloat(&c.MaxLoss, 0.2)
	if c.OverflowLeave >= c.OverflowEnter {
		c.OverflowLeave = c.OverflowEnter * 0.92
	}
	links := make([]LinkConfig, min(len(c.Links), MaxLinks))
	copy(links, c.Links)
	for i := range links {
		q := &links[i].Quota
		if q.BillingDay < 1 || q.BillingDay > 31 {
			q.BillingDay = 1
		}
		if q.PersistEach == 0 {
			q.PersistEach = max(cmp.Or(q.Limit, q.Daily)/200, 16e6)
		}
		if q.Limit > 0 || q.Soft > 0 {
			links[i].Metered = true
		}
	}
	c.Links = links
	return c
}

// Validate reports every value that is out of range, each with its link and its remedy.
func (c *Config) Validate() error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	if len(c.Links) == 0 {
		bad("no link: at least one is needed")
	}
	if len(c.Links) > MaxLinks {
		bad("%d links: at most %d", len(c.Links), MaxLinks)
	}
	if int(c.Mode) >= len(modeNames) {
		bad("mode %d: unknown", c.Mode)
	}
	d := c.withDefaults()
	if !(c.OverflowEnter >= 0 && c.OverflowEnter <= 1) {
		bad("overflow_enter %v: want above 0 and up to 1", c.OverflowEnter)
	}
	if c.OverflowLeave < 0 || c.OverflowLeave > 0 && c.OverflowLeave >= d.OverflowEnter {
		bad("overflow_leave %v: want above 0 and below overflow_enter, %v", c.OverflowLeave, d.OverflowEnter)
	}
	for _, t := range []struct {
		key string
		v   time.Duration
		max time.Duration
	}{
		{"overflow_enter_for", c.OverflowEnterFor, time.Hour}, {"overflow_leave_for", c.OverflowLeaveFor, time.Hour},
		{"hold_up", c.HoldUp, time.Hour}, {"drain", c.Drain, time.Minute},
	} {
		if t.v < 0 || t.v > t.max {
			bad("%s %v: want 0 to %v", t.key, t.v, t.max)
		}
	}
	if c.MaxLoss < 0 || c.MaxLoss > 1 {
		bad("max_loss %v: want 0 to 1", c.MaxLoss)
	}
	if c.Standby > StandbyBusy {
		bad("standby %d: unknown", c.Standby)
	}
	primary := false
	for i := range c.Links {
		l := &c.Links[i]
		primary = primary || l.Role == RolePrimary
		if err := l.validate(); err != nil {
			errs = append(errs, fmt.Errorf("link %q: %w", l.Name, err))
		}
		for j := range i {
			if c.Links[j].Name == l.Name {
				bad("link %q: the name is used twice", l.Name)
			}
		}
	}
	if !primary && c.Mode == ModePrimaryOnly {
		bad("mode primary-only: no link has the role primary")
	}
	return errors.Join(errs...)
}

// validate reports the values of one link that are out of range.
func (l *LinkConfig) validate() error {
	q := &l.Quota
	switch {
	case l.Name == "":
		return errors.New("name is empty")
	case int(l.Role) >= len(roleNames):
		return fmt.Errorf("role %d: unknown", l.Role)
	case !(l.Weight >= 0 && l.Weight <= 1e6):
		return fmt.Errorf("weight %v: want 0 to 1000000", l.Weight)
	case !(l.DownBit >= 0 && l.DownBit <= 1e12) || !(l.UpBit >= 0 && l.UpBit <= 1e12):
		return fmt.Errorf("capacity %v down, %v up: want 0 to 1e12 bit/s", l.DownBit, l.UpBit)
	case q.BillingDay < 0 || q.BillingDay > 31:
		return fmt.Errorf("billing_day %d: want 1 to 31", q.BillingDay)
	case q.Soft > 0 && q.Limit > 0 && q.Soft > q.Limit:
		return fmt.Errorf("quota_soft %d: above quota %d", q.Soft, q.Limit)
	}
	for _, w := range q.Windows {
		if w.From < 0 || w.From > 1440 || w.To < 0 || w.To > 1440 || w.Days > 127 {
			return fmt.Errorf("window %d-%d: want minutes of the day, 0 to 1440", w.From, w.To)
		}
	}
	return nil
}
