// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	sweepEvery   = int64(30 * time.Second)     // how often timeouts are looked at
	fairShare    = scratchSize                 // octets a direction may move before others get their turn
	tickShare    = 48 << 10                    // octets that looks may move before what is not bulk gets its turn
	patience     = int64(9 * time.Millisecond) // of the runtime's monitor with a goroutine that does not yield
	maxHold      = 10                          // ms, see wait
	littleAtOnce = 4                           // events of one wake-up
	interest     = unix.EPOLLIN | unix.EPOLLPRI | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET
)

// loop is one epoll set with its connections. Fields below mu are guarded by it; the others belong to run.
type loop struct {
	epoll, event int           // event is -1 after shut, for wake
	places       *atomic.Int32 // of the runtime's processors that may yet be kept in waits, by all loops, see wait
	wakeups      atomic.Uint64
	delivered    atomic.Uint64 // octets written to LAN sides
	origin       time.Time

	now         int64 // of this wake-up, nanoseconds since origin
	yielded     int64
	yields      uint8
	nextTick    int64
	sweep       int64
	scratch     []byte
	buffers     buffers
	bulk        []entry
	hurry       bool // of all bulk directions, see lineRate
	onset       onset
	onBulk      atomic.Pointer[func()]
	again       []entry // directions that used up their share
	openings    line
	soon        line
	withheld    []*Conn // whose far end has no window, see withhold.go
	endings     []ending
	nextEnding  int64 // when the first of endings is due; without any, never
	partings    []parting
	nextParting int64 // the same of partings
	most        int   // connections to accept at once
	share       share
	load        atomic.Uint64 // see told
	peers       []*loop       // all loops of the engine; set before run, as least is
	least       int64         // shareLeast
	summons     bool          // of the first loop: the others accept too
	hasten      atomic.Bool   // all openings are late

	mu     sync.Mutex
	slots  []slot
	unused []int32
	count  int
	doors  []*Listener
	heeds  bool    // the doors, see summon
	given  []*Conn // by other loops, see share.go
	closed bool
}

type slot struct {
	conn *Conn
	gen  uint32
}

// entry names one direction.
type entry struct {
	c *Conn
	d int
}

// newLoop makes a loop; origin is that of its clock.
func newLoop(places *atomic.Int32, origin time.Time) (*loop, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	ev, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(ep)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	l := &loop{epoll: ep, event: ev, places: places, origin: origin, scratch: make([]byte, scratchSize), sweep: sweepEvery, nextEnding: math.MaxInt64, nextParting: math.MaxInt64, most: 1}
	if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, ev, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: -1}); err != nil {
		unix.Close(ep)
		unix.Close(ev)
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return l, nil
}

// wake has the loop look at what others have left for it, unless it is over: its descriptor may be another's by then.
//
//go:noinline
func (l *loop) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.event >= 0 {
		unix.Write(l.event, []byte{1, 1, 1, 1, 1, 1, 1, 1})
	}
}

// second is the clock of timeouts.
func (l *loop) second() uint32 { return uint32(l.now / int64(time.Second)) }

func (l *loop) add(p Pair) (*Conn, error) {
	c := &Conn{done: p.Done, fd: [2]int32{int32(p.LAN), int32(p.Up)},
		idle: uint32(p.Idle / time.Second), half: uint32(p.HalfClosed / time.Second)}
	c.last.Store(uint32(time.Since(l.origin) / time.Second))
	for d := range c.dir {
		c.dir[d].limit, c.dir[d].place = scratchSize, -1
	}
	c.toward(p.Far, plain(p.Up))
	c.out = [2]bool{!p.Far, p.Far} // not of what comes by lines, see Hush
	c.allow(&p)
	if p.Fell {
		c.fell.since(c.fd[1])
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.enter(c); err != nil {
		return nil, err // the caller's close unregisters what was registered
	}
	return c, nil
}

// enter gives c a place in the table and has its sockets watched. mu is held.
func (l *loop) enter(c *Conn) error {
	if l.closed {
		return ErrClosed
	}
	if n := len(l.unused); n > 0 {
		c.slot = l.unused[n-1]
		l.unused = l.unused[:n-1]
	} else {
		c.slot = int32(len(l.slots))
		l.slots = append(l.slots, slot{})
	}
	s := &l.slots[c.slot]
	s.gen++
	s.conn, c.gen = c, s.gen
	c.loop = l
	c.home.Store(l)
	l.count++
	for side, fd := range c.fd {
		ev := c.event(side)
		if err := watch(l.epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
			l.forget(c)
			for _, fd := range c.fd[:side] {
				watch(l.epoll, unix.EPOLL_CTL_DEL, fd, nil)
			}
			return fmt.Errorf("epoll socket: %w", err)
		}
	}
	return nil
}

// forget takes c out of the table. mu is held. Written once, like others that are seldom called: in all places that call them they would weigh 2 kB of flash.
//
//go:noinline
func (l *loop) forget(c *Conn) {
	c.over = true
	l.vacate(c)
}

// vacate gives back its place. mu is held.
//
//go:noinline
func (l *loop) vacate(c *Conn) {
	l.slots[c.slot].conn = nil
	l.unused = append(l.unused, c.slot)
	l.count--
}

func (l *loop) run() {
	events := make([]unix.EpollEvent, 128)
	for {
		// A goroutine that only ever waits in system calls looks to the runtime's monitor like one that hogs its
		// processor: it would be sent a signal every 10 ms and lose its processor in each wait. Yielding resets that
		// clock, but costs a switch, so not oftener than needed.
		timeout, until := l.timeout(), l.now
		if holds(timeout) {
			until += int64(timeout) * int64(time.Millisecond)
		}
		if until-l.yielded > patience {
			l.yielded = l.now
			l.yield()
		}
		if len(l.peers) > 1 { // a clock costs a system call on some routers
			l.share.busy += int64(time.Since(l.origin)) - l.now
		}
		n := l.wait(events, timeout)
		if timeout != 0 {
			l.wakeups.Add(1)
		}
		l.now = int64(time.Since(l.origin))
		again := l.again
		l.again = nil
		if !l.deal(events[:n]) {
			return
		}
		for _, e := range again {
			e.c.dir[e.d].queued = false
			if !e.c.over {
				l.pump(e.c, e.d)
			}
		}
		if len(l.bulk) > 0 && l.now >= l.nextTick {
			l.tick()
		}
		if len(l.withheld) > 0 {
			l.tryHeld()
		}
		if l.now >= l.nextEnding {
			l.tryEndings()
		}
		if l.now >= l.nextParting {
			l.tryPartings()
		}
		if len(l.openings)+len(l.soon) > 0 {
			l.lateOnes()
		}
		if l.now >= l.sweep {
			l.sweepAll()
		}
		if len(l.peers) > 1 {
			if window := l.now / shareEvery; window != l.share.window {
				l.evenOut(window)
			}
		}
	}
}

// deal acts on events: on those of connections first, then on newcomers, since who is served soon comes again soon, and then waits together with
// others; on those of bulk directions last, as much to copy shall not keep small requests waiting. It returns false when the loop is over.
func (l *loop) deal(events []unix.EpollEvent) bool {
	late := 0 // of events, what has its turn after the others
	for _, ev := range events {
		switch {
		case ev.Fd < -1:
			events[late] = ev
			late++
		case ev.Fd < 0:
			if l.woken() {
				return false
			}
		default:
			c, side := l.lookup(ev), int(ev.Fd&1)
			if c != nil && c.dir[side].gauge.bulk {
				events[late] = ev
				late++
			} else if c != nil {
				l.handle(c, side, ev.Events)
			}
		}
	}
	for _, ev := range events[:late] {
		if ev.Fd < -1 {
			l.accept(ev.Fd, len(events) < littleAtOnce)
		}
	}
	for _, ev := range events[:late] {
		if ev.Fd < 0 {
			continue
		}
		if c := l.lookup(ev); c != nil {
			l.handle(c, int(ev.Fd&1), ev.Events)
		}
	}
	return true
}

// wait waits for events or the timeout.
//
// A system call that blocks, in the ordinary way, gives the runtime's processor up and takes one again: its monitor is woken
// each time, looks every 20 us, and often the goroutine goes on on another thread. At a line's rhythm that is half of all
// wake-ups. So while bulk directions keep the waits short, the loop stays what it is, a goroutine that runs. Should the
// runtime want to stop it, its signal ends the wait.
func (l *loop) wait(events []unix.EpollEvent, timeout int) int {
	var n int
	var err error
	if holds(timeout) && l.keep() {
		n, err = epollWaitHolding(l.epoll, events, timeout)
		l.places.Add(1)
	} else {
		n, err = unix.EpollWait(l.epoll, events, timeout)
	}
	if err != nil { // EINTR; others cannot happen with a descriptor of ours, and the timeout keeps us going
		return 0
	}
	return n
}

// holds tells whether a wait is short enough for keep.
func holds(timeout int) bool { return timeout >= 0 && timeout <= maxHold }

// keep tells whether a wait may keep the runtime's processor: one must be left for others. Who has done so gives the place back.
func (l *loop) keep() bool {
	if l.places.Add(-1) >= 0 {
		return true
	}
	l.places.Add(1)
	return false
}

// timeout is until the next thing to do, in milliseconds; -1 without any.
func (l *loop) timeout() int {
	if len(l.again) > 0 {
		return 0
	}
	if len(l.bulk) > 0 {
		left := min(l.nextTick, l.nextHeld(), l.nextEnding) - int64(time.Since(l.origin))
		return min(maxHold, int(max(0, (left+int64(time.Millisecond)-1)/int64(time.Millisecond))))
	}
	l.mu.Lock()
	busy := l.count > 0
	l.mu.Unlock()
	if !busy && len(l.partings) == 0 {
		return -1 // a socket that is added is writable and so wakes us
	}
	next := min(l.sweep, l.nextHeld(), l.nextEnding, l.nextParting)
	for _, n := range []*line{&l.openings, &l.soon} {
		if at, waits := n.next(); waits {
			next = min(next, at)
		}
	}
	return int(max(1, (next-l.now+int64(time.Millisecond)-1)/int64(time.Millisecond)))
}

func (l *loop) lookup(ev unix.EpollEvent) *Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.slots[ev.Fd>>1]; s.gen == uint32(ev.Pad) {
		return s.conn
	}
	return nil
}

// woken answers Abort, Close, Hasten and give; true: the loop is over.
func (l *loop) woken() bool {
	var b [8]byte
	unix.Read(l.event, b[:])
	closed := l.receive()
	if l.hasten.Swap(false) && !closed {
		l.late(l.now + openFor)
	}
	for _, c := range l.all() {
		if closed || c.quit.Load() {
			l.finish(c, Aborted)
		}
	}
	if closed {
		l.shut()
	}
	return closed
}

func (l *loop) shut() {
	l.partAll()
	l.mu.Lock()
	defer l.mu.Unlock()
	unix.Close(l.epoll)
	unix.Close(l.event)
	l.event = -1
}

// all lists the living connections.
func (l *loop) all() []*Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]*Conn, 0, l.count)
	for _, s := range l.slots {
		if s.conn != nil {
			all = append(all, s.conn)
		}
	}
	return all
}

// sweepAll ends connections that were silent for too long, and gives blocked ones a second chance.
func (l *loop) sweepAll() {
	l.sweep = l.now + sweepEvery
	second := l.second()
	for _, c := range l.all() {
		if c.opening != nil {
			continue
		}
		limit := c.idle
		if c.half > 0 && (c.dir[0].eof || c.dir[1].eof) {
			limit = c.half
		}
		if last := c.last.Load(); limit > 0 && second-last > limit && second > last {
			l.finish(c, Idle)
			continue
		}
		for d := range c.dir {
			if c.dir[d].held != nil && !c.over {
				l.flush(c, d)
			}
		}
	}
}

// tick looks at the bulk directions that are due. Many octets take a millisecond: so that a small request doesn't wait for all of
// them, the rest has its turn after what has come meanwhile.
func (l *loop) tick() {
	l.nextTick = l.now + maxPeriod*tick
	var rate uint64
	for _, e := range l.bulk {
		rate += uint64(e.c.dir[e.d].gauge.rate)
	}
	l.hurry = rate > lineRate
	for i, moved := 0, 0; i < len(l.bulk); {
		e := l.bulk[i]
		x := &e.c.dir[e.d]
		switch {
		case x.held != nil || x.queued: // looked at when that has gone
		case l.now < x.gauge.due-tick/4:
			l.nextTick = min(l.nextTick, x.gauge.due)
		case moved >= tickShare:
			l.nextTick = l.now
			return
		default:
			moved += l.look(e.c, e.d, true)
		}
		if i < len(l.bulk) && l.bulk[i] == e { // else another took its place
			i++
		}
	}
}
