// SPDX-License-Identifier: Apache-2.0

package concentrator

import (
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"spillway/relay/engine"
	"spillway/sockopt"
)

// Young connections are looked at again after a while. A timer for each would cost more than the rest of a short session, which is over
// before the first look: so they wait in a line for each delay, and one goroutine, while anybody waits, looks at the lines' heads.

// pushAfter is when a young connection is pushed. The kernel calls it established a moment before it may carry data: what is written in
// that moment stays unsent. Setting TCP_NODELAY, whatever it was, has the kernel send what it holds (net/mptcp/sockopt.c,
// mptcp_check_and_set_pending); with nothing held it does nothing.
var pushAfter = [...]time.Duration{20 * time.Millisecond, 200 * time.Millisecond, 2 * time.Second}

// lookAfter is when an opening on the lane looks at its client's handshake by itself, should the kernel not have told of its end.
const lookAfter = 5 * time.Millisecond

// young is one that is looked at: a connection of the engine's, or one of ours.
type young struct {
	c    *engine.Conn
	t    *net.TCPConn
	look *quick // nudged, while it waits for the handshake
	at   time.Time
}

// keeper has the lines: for each push, and for looks.
type keeper struct {
	mu    sync.Mutex
	lines [len(pushAfter) + 1][]young // each in the order of time
	awake bool
}

const looks = len(pushAfter)

// pushLater has a connection pushed that has just been established.
func (k *keeper) pushLater(y young) { k.wait(0, y) }

// lookLater has an opening look at its client.
func (k *keeper) lookLater(q *quick) { k.wait(looks, young{look: q}) }

func (k *keeper) wait(line int, y young) {
	y.at = time.Now().Add(delay(line))
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lines[line] = append(k.lines[line], y)
	if !k.awake {
		k.awake = true
		go k.run()
	}
}

func delay(line int) time.Duration {
	if line == looks {
		return lookAfter
	}
	return pushAfter[line]
}

// run looks until nobody waits any more.
func (k *keeper) run() {
	for {
		for i := range k.lines {
			for _, y := range k.due(i, time.Now()) {
				if y.act() {
					k.again(i, y)
				}
			}
		}
		pause := k.pause()
		if pause == 0 {
			return
		}
		time.Sleep(pause)
	}
}

// due takes those out of a line whose time has come.
func (k *keeper) due(line int, now time.Time) []young {
	k.mu.Lock()
	defer k.mu.Unlock()
	all, n := k.lines[line], 0
	for n < len(all) && !all[n].at.After(now) {
		n++
	}
	if k.lines[line] = all[n:]; n == len(all) {
		k.lines[line] = nil
	}
	return all[:n:n]
}

// pause is until the next look; 0: nobody waits, and run is over.
func (k *keeper) pause() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.lines[looks]) > 0 {
		return lookAfter
	}
	for _, line := range k.lines {
		if len(line) > 0 {
			return pushAfter[0] / 2
		}
	}
	k.awake = false
	return 0
}

// again has one wait for its next look.
func (k *keeper) again(line int, y young) {
	switch {
	case line == looks:
		k.wait(looks, y)
	case line+1 < looks:
		k.wait(line+1, y)
	}
}

// act looks at one, and tells whether it lives.
func (y young) act() bool {
	switch {
	case y.look != nil:
		if !y.look.waits.Load() {
			return false
		}
		y.look.c.Nudge(0)
		return true
	case y.c != nil:
		return y.c.Control(func(client, _ int) { sockopt.SetInt(client, unix.SOL_TCP, unix.TCP_NODELAY, 1) })
	}
	return y.t.SetNoDelay(true) == nil // an error means that the connection is over
}
