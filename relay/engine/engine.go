// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// ErrClosed is what Add answers after Close.
var ErrClosed = errors.New("engine is closed")

// Engine is a set of loops.
type Engine struct {
	loops []*loop
	next  atomic.Uint32
	wait  sync.WaitGroup
}

// New starts loops event loops; Close ends them. All but one of GOMAXPROCS may be kept by busy ones, which so cost less.
func New(loops int) (*Engine, error) { return newEngine(loops, shareLeast) }

// newEngine is New with how long a loop must have been busy, of shareEvery, to give a connection to one that is less.
func newEngine(loops int, least int64) (*Engine, error) {
	e := &Engine{}
	places := new(atomic.Int32)
	places.Store(int32(runtime.GOMAXPROCS(0) - 1))
	origin := time.Now()
	for range loops {
		l, err := newLoop(places, origin)
		if err != nil {
			for _, l := range e.loops {
				l.shut()
			}
			return nil, fmt.Errorf("start event loop: %w", err)
		}
		e.loops = append(e.loops, l)
	}
	for _, l := range e.loops {
		l.peers, l.least, l.heeds = e.loops, least, l == e.loops[0]
		e.wait.Go(l.run)
	}
	return e, nil
}

// Add hands a pair to a loop.
func (e *Engine) Add(p Pair) (*Conn, error) {
	l := e.loops[e.next.Add(1)%uint32(len(e.loops))]
	c, err := l.add(p)
	if err != nil {
		Reset(p.LAN)
		Reset(p.Up)
		return nil, err
	}
	return c, nil
}

// OnBulk names a function that is called, from a loop, when the first direction of a loop becomes bulk, or a slower transfer begins:
// rates are about to change. It must return at once.
func (e *Engine) OnBulk(fn func()) {
	for _, l := range e.loops {
		l.onBulk.Store(&fn)
	}
}

// Hasten has the loops call Late for all openings that there are by now.
func (e *Engine) Hasten() {
	for _, l := range e.loops {
		l.hasten.Store(true)
		l.wake()
	}
}

// Wakeups counts how often loops woke since New.
func (e *Engine) Wakeups() uint64 {
	var n uint64
	for _, l := range e.loops {
		n += l.wakeups.Load()
	}
	return n
}

// Delivered counts the octets that LAN sides were given since New.
func (e *Engine) Delivered() uint64 {
	var n uint64
	for _, l := range e.loops {
		n += l.delivered.Load()
	}
	return n
}

// Close resets every connection and ends the loops.
func (e *Engine) Close() {
	for _, l := range e.loops {
		l.mu.Lock()
		l.closed = true
		l.mu.Unlock()
		l.wake()
	}
	e.wait.Wait()
}
