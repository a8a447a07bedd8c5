// SPDX-License-Identifier: Apache-2.0

// Package relay carries LAN TCP connections to an upstream (an RFC 8803 converter, a SOCKS proxy) over MPTCP.
//
// The way of a connection: the door accepts it, its local address is where the host wanted to go; session picks
// rule, link and upstream, dials, speaks the upstream's few octets and hands both sockets to the engine, which
// copies until both ends are done. A failure anywhere is a RST to the LAN host, never a FIN.
//
// The listening sockets are the switch: while they are closed, the firewall's tproxy statement finds no socket and
// the kernel forwards natively. The relay closes them itself when it is full or, unless Config.Block, when every
// upstream is out.
package relay

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"spillway/relay/engine"

	"spillway/journal"
	"spillway/mptcp"
)

// Relay is the room. Its methods may be called from any goroutine.
type Relay struct {
	log      *journal.Logger
	engine   *engine.Engine
	settings atomic.Pointer[settings]
	plan     atomic.Pointer[Plan]
	planned  planned
	room     atomic.Int32 // receive buffer of bonded connections, see room.go
	onState  atomic.Pointer[func()]
	spare    atomic.Pointer[func() uint64] // see spare.go
	hope     time.Duration                 // instead of hopeSilent, for tests
	probe    chan struct{}                 // one slot: an upstream went out
	chill    chan struct{}                 // one slot: warm connections may lack
	door     door
	guests   guests
	tokens   int          // MPTCP connections that the kernel can have for certain
	spent    atomic.Int64 // when it had no token left, Unix seconds
	knocks   knocks
	flows    flows
	native   native
	count    counters
}

// settings are one configuration with what belongs to it: replaced whole, never changed.
type settings struct {
	Config
	upstreams []*upstream
}

// New checks the configuration and prepares a relay; nothing listens yet. Run must be called to release it.
func New(cfg Config, log *journal.Logger) (*Relay, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	if cfg.Loops == 0 {
		cfg.Loops = runtime.NumCPU()
	}
	e, err := engine.New(cfg.Loops)
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	r := &Relay{log: log, engine: e, tokens: mptcp.Tokens(), probe: make(chan struct{}, 1), chill: make(chan struct{}, 1)}
	r.settings.Store(r.settle(cfg, nil))
	r.SetPlan(Plan{First: -1, Primary: -1})
	return r, nil
}

// settle makes settings of a valid configuration. Upstreams that stay the same keep their health and cookie.
func (r *Relay) settle(cfg Config, old *settings) *settings {
	s := &settings{Config: cfg.withDefaults()}
	for _, u := range s.Upstreams {
		s.upstreams = append(s.upstreams, old.keep(u, r))
	}
	return s
}

// drainLook is how soon a closing relay notices that the last connection has ended, at first.
const drainLook = 2 * time.Millisecond

// Run serves until ctx ends, then closes the door, lets connections finish for Config.DrainTimeout, resets the
// rest and returns nil.
func (r *Relay) Run(ctx context.Context) error {
	var warmer sync.WaitGroup
	warmer.Go(func() { r.keepWarm(ctx) })
	r.probeUntil(ctx)
	warmer.Wait()
	r.CloseDoor()
	r.knocks.drain()
	most := r.settings.Load().DrainTimeout
	for begin := time.Now(); r.guests.total() > 0 && time.Since(begin) < most; {
		time.Sleep(min(max(time.Since(begin)/8, drainLook), 100*drainLook)) // an hour, with a successor
	}
	r.engine.Close()
	return nil
}

// SetPlan tells on which links new connections go. Established ones are not touched.
func (r *Relay) SetPlan(p Plan) {
	r.room.Store(int32(bondedRoom(p.Room)))
	was := r.plan.Swap(&p)
	r.planned.follow(&p, time.Now())
	if was != nil && p.loses(was) {
		r.engine.Hasten() // nobody on the lane knows of plans
	}
	r.warmSoon()
}

// SetConfig replaces the configuration; established connections keep what they were given. An invalid one is
// refused and the old one stays.
func (r *Relay) SetConfig(cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	r.settings.Store(r.settle(cfg, r.settings.Load()))
	r.guests.outgrown(r.settings.Load().MaxSessions)
	r.changed()
	r.warmSoon()
	return nil
}

// OnState names a function that is called, without locks held, when the door opens or closes or an upstream's
// health changes.
func (r *Relay) OnState(fn func()) { r.onState.Store(&fn) }

// OnBulk names a function that is called when a connection begins to move much: rates are about to change. It must return at once.
func (r *Relay) OnBulk(fn func()) { r.engine.OnBulk(fn) }

// changed puts the door where it belongs now and tells main.
func (r *Relay) changed() {
	r.reconsider()
	if fn := r.onState.Load(); fn != nil {
		(*fn)()
	}
}
