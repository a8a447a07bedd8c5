// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"net/netip"
	"sync"
	"sync/atomic"
)

// guests counts connections, all and by LAN host.
type guests struct {
	full  atomic.Bool
	mu    sync.Mutex
	all   int
	hosts map[netip.Addr]int
}

// enter counts one in; true when this filled the house.
func (g *guests) enter(most int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all++
	return g.all >= most && g.full.CompareAndSwap(false, true)
}

// crowded is enter for those who wait at the door: they were promised a seat.
func (g *guests) crowded(waiting, most int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.all+waiting >= most && g.full.CompareAndSwap(false, true)
}

// leave counts one out; true when the house has room again, an eighth of it.
func (g *guests) leave(most int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all--
	return g.roomy(most)
}

// outgrown is leave where nobody leaves, but the house may hold most from now on.
func (g *guests) outgrown(most int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.roomy(most)
}

func (g *guests) roomy(most int) bool {
	return g.all <= most-max(1, most/8) && g.full.CompareAndSwap(true, false)
}

// seat counts a host's connection; false when it has most already. Each true needs a rise.
func (g *guests) seat(host netip.Addr, most int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.hosts == nil {
		g.hosts = make(map[netip.Addr]int)
	}
	if g.hosts[host] >= most {
		return false
	}
	g.hosts[host]++
	return true
}

// sated tells whether a host has most connections already.
func (g *guests) sated(host netip.Addr, most int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.hosts[host] >= most
}

func (g *guests) rise(host netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.hosts[host]--; g.hosts[host] <= 0 {
		delete(g.hosts, host)
	}
}

func (g *guests) total() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.all
}
