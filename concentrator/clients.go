// SPDX-License-Identifier: Apache-2.0

package concentrator

import (
	"net/netip"
	"sync"
	"time"
)

// client is what is known about one client while it has sessions, and for a minute after the last.
type client struct {
	sessions, pending int
	seated            int // of sessions, those that have shown that the client may ask
	errors            bucket
	handshake         time.Duration // from accept to the third ACK; see established.go
	left              time.Time     // when the last session ended
}

// clients counts per client. One mutex: it is held for a few dozen nanoseconds per connection.
type clients struct {
	mu                                  sync.Mutex
	maxSessions, maxPending, errorsASec int
	seats, seated                       int // of all clients: how many there are, and how many are taken
	all                                 map[netip.Addr]*client
}

// clientKey is the address that stands for a client: the IPv4 address, or the IPv6 prefix of bits.
func clientKey(a netip.Addr, bits int) netip.Addr {
	a = a.Unmap()
	if a.Is4() {
		return a
	}
	p, _ := a.WithZone("").Prefix(bits)
	return p.Addr()
}

// enter counts a new session without server; false: the client has too many.
func (t *clients) enter(key netip.Addr) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.get(key)
	if c.sessions >= t.maxSessions || c.pending >= t.maxPending {
		if c.sessions == 0 {
			c.left = time.Now()
		}
		return false
	}
	c.sessions++
	c.pending++
	return true
}

// shareTimes is how many times as many seats as are free one client may have at most: alone four fifths of all, beside another that takes what it gets four
// ninths. So whoever comes finds some, however many others take what they get, and nobody is held back while there is room (A. K. Choudhury,
// E. L. Hahne, "Dynamic Queue Length Thresholds for Shared-Memory Packet Switches", 1998).
const shareTimes = 4

// seat counts a session of a client that may ask; false: the client has its share already.
func (t *clients) seat(key netip.Addr) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.get(key)
	if c.seated >= shareTimes*(t.seats-t.seated) {
		return false
	}
	c.seated++
	t.seated++
	return true
}

// connected ends the pending part of a session.
func (t *clients) connected(key netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.get(key).pending--
}

// leave ends a session.
func (t *clients) leave(key netip.Addr, seated bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.get(key)
	if seated {
		c.seated--
		t.seated--
	}
	if c.sessions--; c.sessions == 0 {
		c.left = time.Now()
	}
}

// mayAnswer takes one Error TLV out of the client's allowance.
func (t *clients) mayAnswer(key netip.Addr, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.get(key)
	if c.sessions == 0 {
		c.left = now
	}
	return c.errors.take(now, float64(t.errorsASec), 4*float64(t.errorsASec))
}

// usualHandshake is how long the client's third ACK can be expected to take at least; 0 when nothing is known.
func (t *clients) usualHandshake(key netip.Addr) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.get(key).handshake * 7 / 8
}

// oddHandshake is no round trip but a lost segment.
const oddHandshake = 500 * time.Millisecond

// sawHandshake remembers the time from accept to third ACK: the shortest at once, longer ones by and by. A wait that began
// with usualHandshake and was too long comes back shorter, so that the value follows a line that got faster.
func (t *clients) sawHandshake(key netip.Addr, d time.Duration) {
	if d > oddHandshake {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.get(key)
	if c.handshake == 0 || d < c.handshake {
		c.handshake = d
	} else {
		c.handshake += (d - c.handshake) / 8
	}
}

// forget drops the clients that left more than a minute ago.
func (t *clients) forget(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, c := range t.all {
		if c.sessions == 0 && now.Sub(c.left) > time.Minute {
			delete(t.all, key)
		}
	}
}

// get is called with the mutex held.
func (t *clients) get(key netip.Addr) *client {
	c := t.all[key]
	if c == nil {
		c = new(client)
		t.all[key] = c
	}
	return c
}

// bucket is a token bucket that starts full.
type bucket struct {
	spent float64
	at    time.Time
}

func (b *bucket) take(now time.Time, rate, burst float64) bool {
	if !b.at.IsZero() {
		b.spent = max(0, b.spent-rate*now.Sub(b.at).Seconds())
	}
	b.at = now
	if b.spent+1 > burst {
		return false
	}
	b.spent++
	return true
}
