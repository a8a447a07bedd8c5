// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"math"
	"sync/atomic"
	"time"
)

// End says how a connection ended.
type End uint8

const (
	Closed  End = iota // both sides closed
	Failed             // one side was reset or failed, and so the other was reset
	Lost               // the kernel has lost octets of upstream's, and both were reset: see fallen
	Idle               // nothing moved for the idle timeout
	Aborted            // Conn.Abort or Engine.Close
)

// Pair is what Add takes: two connected non-blocking sockets, TCP towards the LAN, TCP or MPTCP upstream, which belong to the
// engine from then on, even when Add fails.
type Pair struct {
	LAN, Up    int
	Idle       time.Duration    // without an octet; 0: for ever
	HalfClosed time.Duration    // the same while one side has closed
	Done       func(*Conn, End) // called once, from a loop: be quick, and don't call the engine's Close
	// Fell: Up was made for MPTCP and is plain TCP, see fallen.
	Fell bool
	// Far is a pair at the far end of the lines: LAN is what came by them and may be MPTCP, so that a short read does not prove that it is empty;
	// Up is the server, and what comes from it is passed on as it comes (direction.prompt).
	Far bool
	// Withhold has what goes to LAN, MPTCP, kept within the window that was offered: its SYN came with data (withhold.go).
	Withhold bool
	// SendMost is how many octets anybody may ask for a send buffer (net.core.wmem_max): see reserve.go. 0: only who may exceed that has a reserve.
	SendMost int
}

// Conn is a pair being copied.
type Conn struct {
	loop     *loop                // the loop's own view
	home     atomic.Pointer[loop] // and that of others, see lock
	done     func(*Conn, End)
	fd       [2]int32 // 0: LAN, 1: upstream
	dir      [2]direction
	slot     int32
	gen      uint32        // of the slot, so that a late event of a predecessor is recognised
	last     atomic.Uint32 // when octets moved, seconds of the loop's clock
	idle     uint32        // seconds
	half     uint32
	quit     atomic.Bool // Abort was called
	sendMost int32       // octets, Pair.SendMost
	turn     uint8       // of share.moved
	over     bool
	settled  bool      // no more to look for, see reserve.go
	out      [2]bool   // a socket's writability wakes us: once it was the slower one, and see Hush. Written with mu
	opening  Opening   // nil: being copied
	withheld *withheld // nil: the kernel keeps dir[1] within the window
	fell     fallen    // of upstream
}

// direction is one way of a pair: dir[0] from the LAN to upstream, dir[1] back.
type direction struct {
	moved   atomic.Uint64
	gauge   gauge
	held    []byte // read and not yet written; nil while nothing waits
	buffer  []byte // the whole buffer of held
	limit   int32  // octets to read at once
	mark    int32  // in bulk: SO_RCVLOWAT of the source
	place   int32  // in loop.bulk, -1: not there
	prompt  bool   // never bulk: a burst finds the first of several lines busy, and the kernel gives the rest of it to the next one
	hup     bool   // the source told of its end, or of urgent data, before which reads end: read until none comes
	eof     bool   // the source's end was read
	shut    bool   // and passed on
	queued  bool   // in loop.again
	careful bool   // its end goes by the lines, and is told when all has arrived (ending.go)
	ending  bool   // and waits for that
	strict  bool   // of dir[0]: upstream's socket ends in a reset by now, see strictFrom
}

// toward says which end of the lines the pair is at, and whether upstream is plain TCP.
//
//go:noinline
func (c *Conn) toward(far, plain bool) {
	c.dir[1].prompt, c.dir[1].careful = far, far
	c.dir[0].careful = !far && !plain
	c.dir[0].gauge.brisk = !far && !plain
}

// byLines tells whether upstream is MPTCP, at this end of the lines.
func (c *Conn) byLines() bool { return c.dir[0].gauge.brisk }

// allow sets how octets go by the lines: Pair.Withhold and SendMost.
func (c *Conn) allow(p *Pair) {
	c.sendMost = int32(min(p.SendMost, math.MaxInt32))
	if p.Withhold {
		c.withheld = new(withheld)
	}
}

// Moved gives the octets copied so far, LAN to upstream and back.
func (c *Conn) Moved() (up, down uint64) { return c.dir[0].moved.Load(), c.dir[1].moved.Load() }

// Idle is for how long no octet has come, in whole seconds.
func (c *Conn) Idle() time.Duration {
	l := c.home.Load() // all have the same origin
	return max(0, time.Since(l.origin).Truncate(time.Second)-time.Duration(c.last.Load())*time.Second)
}

// Control runs fn with the descriptors while they are certain to be open; it returns false when they are closed.
// The loop waits meanwhile: read an option, no more.
func (c *Conn) Control(fn func(lan, up int)) bool {
	defer c.lock().mu.Unlock()
	if c.over {
		return false
	}
	fn(int(c.fd[0]), int(c.fd[1]))
	return true
}

// Abort resets both sides soon.
func (c *Conn) Abort() {
	c.quit.Store(true)
	c.home.Load().wake() // or the loop that has just been given it, and looks
}

// lock locks the loop that has the connection.
func (c *Conn) lock() *loop {
	for {
		l := c.home.Load()
		l.mu.Lock()
		if c.home.Load() == l {
			return l
		}
		l.mu.Unlock()
	}
}
