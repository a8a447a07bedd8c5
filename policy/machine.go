// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"time"
)

// Machine decides. The same configuration and the same observations give the same plans. It is not safe for use by several
// goroutines; one loop owns it.
type Machine struct {
	cfg Config
	mem Memory
}

// Memory is all that a Machine remembers: a value, to be copied, compared, printed and put back.
type Memory struct {
	begun bool
	now   time.Time     // of the newest observation
	clock time.Duration // the machine's own time: what has passed between observations, never going back

	links  [MaxLinks]linkMemory
	others []Usage      // of links that are not configured now; never changed in place
	dirs   [2]dirMemory // towards the home, from the home

	busyUntil time.Duration // traffic flowed lately
	first     int
	swifter   span // another link has been clearly faster than the first (smallest-delay)
	yield     yielding
	why       string
}

// linkMemory is what is remembered of one link.
type linkMemory struct {
	_ [0]func() // never compared: the compiler would write 8 kB for it on MIPS

	override   Role
	overridden bool

	usable    bool          // in the step before
	trusted   bool          // has stayed up long enough, or had to be trusted
	upAt      time.Duration // became usable
	penalty   float64       // recent falls, halving each penaltyHalf
	penaltyAt time.Duration

	state  State
	cause  cause
	detail string    // what the sentence depends on besides cause
	at     time.Time // came to state
	why    string

	lead       bool    // served as a primary in the step before
	over       [2]bool // carries as overflow, per direction
	drainUntil time.Duration
	sat        [2]float64 // most it carried since the overflow began: stands in for an unknown capacity
	solo       [2]float64 // what it carried alone and full
	soloAt     [2]time.Duration

	suspension suspension
	slow, lost span // round-trip time, loss above the limit

	usage     Usage
	counted   bool   // a counter was seen
	restored  bool   // usage comes from before a restart
	foreign   bool   // the next reading is of another line's counter
	unwritten uint64 // octets since Persisted
	writtenAt time.Duration
	dirty     bool // write soon whatever unwritten is
	limit     cause
	turnedAt  time.Time // the calendar was looked at
	early     bool      // ... and the clock is before the month that is counted
	dayEarly  bool      // ... the day
	closed    bool      // ... and it is outside the hours

	turnedClock time.Duration // ... by the machine's own time
}

// span measures for how long a condition has held without a break.
type span struct {
	on    bool
	since time.Duration
}

// hold takes the condition as it is now and returns for how long it has held; 0 when it does not, or has just begun.
func (s *span) hold(clock time.Duration, cond bool) time.Duration {
	if !cond {
		s.on = false
		return 0
	}
	if !s.on {
		s.on, s.since = true, clock
	}
	return clock - s.since
}

// step is what one Step works on: the observation made safe, and what is concluded from it.
type step struct {
	*Machine
	now, wall time.Time
	clock     time.Duration
	n         int // links

	in        [MaxLinks]sense
	delivered float64 // Observation.Delivered
	role      [MaxLinks]Role
	rank      [MaxLinks]int   // smaller carries sooner; noRank: not at all
	hurdle    [MaxLinks]cause // what holds a link back
	primary   [MaxLinks]bool  // serves as a primary now
	first     int
	state     [MaxLinks]State
	cause     [MaxLinks]cause
}

// sense is LinkObs with each direction as an index: 0 towards the home, 1 from the home.
type sense struct {
	_ [0]func() // never compared, so that no code is made for it

	usable, dead bool
	reason       string
	rate, cap    [2]float64
	queue        [2]bool
	rtt, minRTT  time.Duration
	loss         float64    // over all
	lost         [2]float64 // by direction
	bytes, epoch uint64
	before       uint64 // of bytes, those that are not the link's
	subflows     int
}

// New returns a Machine without memories, for a configuration that Validate finds good.
func New(cfg Config) *Machine {
	return &Machine{cfg: cfg.withDefaults(), mem: Memory{first: -1}}
}

// Step takes the newest observation and returns what the links shall do. It costs a few microseconds.
func (m *Machine) Step(o Observation) Plan {
	s := step{Machine: m, n: len(m.cfg.Links), first: -1}
	s.sense(&o)
	for i := range s.n {
		s.count(i)
		s.judge(i)
	}
	s.lead()
	s.leaveOut()
	for d := range m.mem.dirs {
		s.spill(d)
	}
	s.yield()
	s.assign()
	p := s.tell()
	m.mem.begun = true
	return p
}

// sense advances the clock and takes the observation in, with impossible figures made harmless.
func (s *step) sense(o *Observation) {
	mem := &s.mem
	if mem.begun {
		mem.clock += max(o.Now.Sub(mem.now), 0)
	}
	mem.now = o.Now
	s.now, s.clock = o.Now, mem.clock
	s.delivered = sane(o.Delivered)
	s.wall = o.Wall
	if s.wall.IsZero() {
		s.wall = o.Now
	}
	for i := range min(s.n, len(o.Links)) {
		l, c := &o.Links[i], &s.cfg.Links[i]
		in := &s.in[i]
		*in = sense{
			usable: l.Usable && !l.Dead, dead: l.Dead, reason: l.Reason,
			rate:  [2]float64{sane(l.DownRate), sane(l.UpRate)},
			cap:   [2]float64{sane(l.DownCap), sane(l.UpCap)},
			queue: [2]bool{l.DownQueue, l.UpQueue},
			rtt:   max(l.RTT, 0), minRTT: max(l.MinRTT, 0),
			loss: sane(l.Loss), lost: [2]float64{sane(l.DownLoss), sane(l.Loss)},
			bytes: l.UsedBytes, epoch: l.UsedEpoch, before: l.UsedBefore, subflows: l.Subflows,
		}
		if c.DownBit > 0 {
			in.cap[down] = c.DownBit
		}
		if c.UpBit > 0 {
			in.cap[up] = c.UpBit
		}
	}
	s.leaveAstray(o)
}

// The directions, as indexes.
const (
	down = 0 // towards the home
	up   = 1 // from the home
)

// sane returns v, or 0 if it is no possible rate: negative, infinite or not a number.
func sane(v float64) float64 {
	if v > 0 && v <= 1e15 {
		return v
	}
	return 0
}

// Memory returns a copy of what the machine remembers.
func (m *Machine) Memory() Memory { return m.mem }

// SetMemory puts memories back; they must belong to the same list of links.
func (m *Machine) SetMemory(mem Memory) { m.mem = mem }

// Reconfigure changes the configuration and keeps the memories of the links that stay, by name: what they carried, their falls,
// their quota counters and overrides. Of links that go, the quota counters are kept for when they come back.
func (m *Machine) Reconfigure(cfg Config) {
	next := Machine{cfg: cfg.withDefaults(), mem: m.mem}
	next.mem.links = [MaxLinks]linkMemory{}
	next.mem.first = -1
	if cfg.Mode != m.cfg.Mode {
		next.mem.dirs = [2]dirMemory{}
	}
	for j := range m.cfg.Links {
		l := &m.mem.links[j]
		if _, stays := next.index(m.cfg.Links[j].Name); !stays && (l.counted || l.restored) {
			l.usage.Clean = l.usage.Clean || l.counted
			next.mem.keep(l.usage)
		}
	}
	for i := range next.cfg.Links {
		j, ok := m.index(next.cfg.Links[i].Name)
		if !ok {
			l := &next.mem.links[i]
			l.usage, l.restored = next.mem.take(next.cfg.Links[i].Name)
			continue
		}
		next.mem.links[i] = m.mem.links[j]
		next.mem.links[i].foreign = m.mem.links[j].foreign || next.cfg.Links[i].Line != m.cfg.Links[j].Line
		next.mem.links[i].cause = causeNone // say again why, under the new rules
		if cfg.Mode != m.cfg.Mode {
			next.mem.links[i].over = [2]bool{}
		}
		if j == m.mem.first {
			next.mem.first = i
		}
	}
	for d := range next.mem.dirs {
		if dm := &next.mem.dirs[d]; dm.worst < len(m.cfg.Links) {
			i, stays := next.index(m.cfg.Links[dm.worst].Name)
			dm.worst, dm.tried = i, dm.tried && stays
		}
	}
	*m = next
}

// Set overrides the role of a link until Clear. The next Step obeys. The error names an unknown link or role.
func (m *Machine) Set(link string, r Role) error {
	i, ok := m.index(link)
	if !ok {
		return m.unknown(link)
	}
	if int(r) >= len(roleNames) {
		return fmt.Errorf("link %q: role %d: unknown", link, r)
	}
	m.mem.links[i].override, m.mem.links[i].overridden = r, true
	return nil
}

// Clear ends an override: the configured role counts again.
func (m *Machine) Clear(link string) error {
	i, ok := m.index(link)
	if !ok {
		return m.unknown(link)
	}
	m.mem.links[i].overridden = false
	return nil
}

// Role returns the role that counts now for a link, and whether it is an override.
func (m *Machine) Role(link int) (r Role, overridden bool) {
	if l := &m.mem.links[link]; l.overridden {
		return l.override, true
	}
	return m.cfg.Links[link].Role, false
}

// index finds a link by name.
func (m *Machine) index(name string) (int, bool) {
	for i := range m.cfg.Links {
		if m.cfg.Links[i].Name == name {
			return i, true
		}
	}
	return 0, false
}

// unknown is the error for a link that is not configured; it lists those that are.
func (m *Machine) unknown(link string) error {
	names := make([]string, len(m.cfg.Links))
	for i := range m.cfg.Links {
		names[i] = m.cfg.Links[i].Name
	}
	return fmt.Errorf("link %q: not configured, there is %s", link, list(names))
}
