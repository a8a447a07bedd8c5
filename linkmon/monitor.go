// SPDX-License-Identifier: Apache-2.0

package linkmon

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"spillway/journal"
)

const (
	debounce     = 10 * time.Millisecond  // a change comes as several messages: address, its route, its prefix route
	debounceMost = 200 * time.Millisecond // while message after message changes nothing for us
	calm         = time.Second            // after which the next message is quick again

	tickBusy = 50 * time.Millisecond
	tickSome = 200 * time.Millisecond
	tickIdle = 2 * time.Second // a lost carrier is told by the kernel within a second, a transfer by Poke
	tickCalm = 5 * time.Second // while all links have been as they are for calmAfter

	calmAfter = time.Minute

	retryFirst = 100 * time.Millisecond // after an error of the kernel's socket
	retryMost  = 5 * time.Second
)

// Monitor watches the configured links of the network namespace of Run's thread.
type Monitor struct {
	log   *journal.Logger
	cfg   atomic.Pointer[Config]
	loss  atomic.Bool // the hint in the slot is a hintLoss
	hints chan struct{}
	poke  chan struct{}

	// The seams to the kernel. Run calls them on its own thread.
	open  func() (source, error)
	watch func() (subscription, error)
}

// New checks the configuration. It touches nothing yet.
func New(cfg Config, log *journal.Logger) (*Monitor, error) {
	m := &Monitor{log: log, hints: make(chan struct{}, 1), poke: make(chan struct{}, 1), open: openSource, watch: openWatch}
	return m, m.configure(cfg)
}

// SetConfig replaces the configuration, of a running monitor too: links are read anew at once. From any goroutine.
func (m *Monitor) SetConfig(cfg Config) error {
	err := m.configure(cfg)
	if err == nil {
		m.hint(hintLoss)
	}
	return err
}

func (m *Monitor) configure(cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	cfg.Links = slices.Clone(cfg.Links)
	m.cfg.Store(&cfg)
	return nil
}

// Poke has the counters read now, and often for a moment: load is to come. From any goroutine.
func (m *Monitor) Poke() {
	select {
	case m.poke <- struct{}{}:
	default:
	}
}

// hint fills the one slot.
func (m *Monitor) hint(h hint) {
	if h == hintNone {
		return
	}
	if h == hintLoss {
		m.loss.Store(true)
	}
	select {
	case m.hints <- struct{}{}:
	default:
	}
}

// Run watches until the context ends, which is no error. publish is called by Run's goroutine: once the first reading
// is there, then whenever a fact has changed and whenever counters have moved at a tick. It should not take long.
// Errors of the kernel's sockets are logged once and tried again for ever.
func (m *Monitor) Run(ctx context.Context, publish func(Snapshot)) error {
	l := &loop{Monitor: m, publish: publish, ended: make(chan error, 1), debounced: debounce}
	l.tick, l.settle, l.retry = stopped(), stopped(), stopped()
	defer l.close()
	l.connect()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.hints:
			l.hinted()
		case <-l.settle.C:
			l.read(false)
		case <-l.tick.C:
			l.count()
		case <-m.poke:
			l.poked()
		case err := <-l.ended:
			l.lost(err)
		case <-l.retry.C:
			l.connect()
		}
	}
}

// loop is what Run's goroutine owns.
type loop struct {
	*Monitor
	publish func(Snapshot)

	src       source
	sub       subscription
	connected bool
	ended     chan error // of the listener
	listeners sync.WaitGroup
	wait      time.Duration // before the next connect
	troubled  bool          // and the log knows

	connectedAt time.Time // zero: not connected since the last trouble

	tick, settle, retry *time.Timer
	debounced           time.Duration // present length of the debouncing
	settling            bool
	hintAt              time.Time
	eager               time.Time // until then counters are read often
	counted             time.Time // when counters were last read by a tick or poke

	newest int     // the highest index of a device: the kernel numbers them as they come
	links  []Link  // as last published
	of     *Config // whose links they are
	meters []meter
	begun  bool
}

func stopped() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// connect subscribes first and reads then: what happens between the two is in the subscription.
func (l *loop) connect() {
	sub, err := l.watch()
	if err != nil {
		l.again(err)
		return
	}
	src, err := l.open()
	if err != nil {
		sub.close()
		l.again(err)
		return
	}
	l.sub, l.src, l.connected, l.connectedAt = sub, src, true, time.Now()
	l.listeners.Go(func() { l.listen(sub) })
	l.read(true)
}

// listen turns messages into hints until the subscription ends.
func (l *loop) listen(sub subscription) {
	for {
		h, err := sub.next()
		if err != nil {
			l.ended <- err // has room for one, and there is but one listener at a time
			return
		}
		l.hint(h)
	}
}

// lost follows the end of the subscription: a gap in the messages. It is read over at once and subscribed anew.
func (l *loop) lost(err error) {
	if l.connected {
		l.disconnect()
		l.again(err)
	}
}

func (l *loop) disconnect() {
	l.connected = false
	l.sub.close()
	l.src.close()
	l.listeners.Wait()
	select {
	case <-l.ended:
	default:
	}
}

func (l *loop) again(err error) {
	if !l.troubled {
		l.log.Warn("linkmon: watching of the links is interrupted; trying again", "error", err)
		l.troubled = true
	}
	if !l.connectedAt.IsZero() && time.Since(l.connectedAt) > calm { // it held for a while: the first try is at once
		l.wait = 0
	}
	l.connectedAt = time.Time{}
	l.retry.Reset(l.wait)
	l.wait = min(max(2*l.wait, retryFirst), retryMost)
}

func (l *loop) close() {
	if l.connected {
		l.disconnect()
	}
	l.tick.Stop()
	l.settle.Stop()
	l.retry.Stop()
}

// hinted reads at once where something may have become worse, and after a moment else. A stream of messages that
// change nothing for us (somebody's interfaces come and go) makes the moment longer, up to 200 ms.
func (l *loop) hinted() {
	now := time.Now()
	if now.Sub(l.hintAt) > calm {
		l.debounced = debounce
	}
	l.hintAt = now
	if l.loss.Swap(false) {
		l.read(false)
		return
	}
	if !l.settling {
		l.settling = true
		l.settle.Reset(l.debounced)
	}
}

// poked reads counters, but not more often than twice per busy tick: each new connection may poke.
func (l *loop) poked() {
	now := time.Now()
	l.eager = now.Add(calm)
	if now.Sub(l.counted) < tickBusy/2 {
		l.tick.Reset(tickBusy / 2)
		return
	}
	l.count()
}

// read looks at everything and publishes if a fact has changed.
func (l *loop) read(force bool) {
	l.settling = false
	l.settle.Stop()
	if !l.connected {
		return
	}
	w, err := l.src.world()
	if err != nil {
		l.lost(err)
		return
	}
	if l.troubled {
		l.log.Info("linkmon: links are watched again")
	}
	l.troubled = false
	now := time.Now()
	cfg := l.cfg.Load()
	force = force || cfg != l.of // whoever gets a snapshot knows links by their place
	l.of = cfg
	for _, d := range w.devices {
		l.newest = max(l.newest, d.index)
	}
	links := look(*cfg, w, l.links)
	l.meter(now, links)
	if l.settled(now, links) || force || !l.begun {
		l.debounced = debounce
		l.tell(now, links)
	} else {
		l.links = links
		l.debounced = min(2*l.debounced, debounceMost)
	}
	l.rearm(now)
}

// count reads the counters, and the facts that come with them: the kernel's message about a lost carrier may be
// up to a second late (net/core/link_watch.c), the flag itself is not.
func (l *loop) count() {
	if !l.connected {
		return
	}
	links := slices.Clone(l.links)
	for i := range links {
		if links[i].Index == 0 {
			continue
		}
		d, err := l.src.device(links[i].Index)
		if err != nil { // gone, or the socket is: reading everything tells
			l.read(false)
			return
		}
		k := &links[i]
		is := *k
		d.into(&is)
		if is.facts() != k.facts() || d.name != k.Device && !slices.Contains(d.alternative, k.Device) {
			l.read(false)
			return
		}
		*k = is
	}
	now := time.Now()
	l.counted = now
	l.meter(now, links)
	if l.settled(now, links) || !slices.Equal(links, l.links) {
		l.tell(now, links)
	}
	l.rearm(now)
}

// settled writes into the links what depends on their past: since when, how shaky. It tells whether a fact has
// changed, and logs what became usable or not.
func (l *loop) settled(now time.Time, links []Link) bool {
	changed := len(links) != len(l.links)
	for i := range links {
		k := &links[i]
		old := named(l.links, i, k.Name)
		k.Since = old.Since
		if !l.begun || old.Name == "" || k.Usable != old.Usable {
			k.Since = now
			l.log.Info("linkmon: link "+k.Name+k.state(), "device", k.Device)
		}
		if old.Usable && !k.Usable {
			l.meters[i].damp.Lost(now)
		}
		k.Flapping, k.CalmIn = l.meters[i].damp.Suppressed(now)
		changed = changed || k.facts() != old.facts()
	}
	return changed
}

// named finds a link as it was; first at its place, for the order seldom changes. The zero Link: it is new.
func named(links []Link, place int, name string) Link {
	if place < len(links) && links[place].Name == name {
		return links[place]
	}
	for _, k := range links {
		if k.Name == name {
			return k
		}
	}
	return Link{}
}

// state is the link in words, for the log.
func (k *Link) state() string {
	if !k.Usable {
		return " is not usable: " + k.Reason
	}
	s := " is usable with address"
	if k.Addr4.IsValid() {
		s += " " + k.Addr4.String()
	}
	if k.Addr6.IsValid() {
		s += " " + k.Addr6.String()
	}
	return s
}

func (l *loop) tell(now time.Time, links []Link) {
	l.links, l.begun = links, true
	l.publish(Snapshot{At: now, Links: slices.Clone(links)})
}

// rearm sets the next tick.
func (l *loop) rearm(now time.Time) {
	d := cadence(l.cfg.Load().Links, l.links)
	switch {
	case now.Before(l.eager):
		d = tickBusy
	case d == tickIdle && l.steady(now):
		d = tickCalm
	}
	l.tick.Reset(Beat(now, d))
}

// steady tells whether nothing has become usable or unusable lately.
func (l *loop) steady(now time.Time) bool {
	return !slices.ContainsFunc(l.links, func(k Link) bool { return now.Sub(k.Since) < calmAfter })
}

// Beat makes a wait of a second or more end at a multiple of d of the clock, half of d earlier or later at most: whoever waits
// so wakes the processor together with others who do.
func Beat(now time.Time, d time.Duration) time.Duration {
	if d < time.Second {
		return d
	}
	wait := now.Truncate(d).Add(d).Sub(now.Round(0))
	if wait < d/2 {
		wait += d
	}
	return wait
}
