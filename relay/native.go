// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"net/netip"
	"sync"
	"time"
)

const mostNative = 4096 // servers remembered

// native remembers servers that answered MP_CAPABLE, learnt from the Extended TCP Header of a converter. The oldest
// knowledge is dropped when there is too much.
type native struct {
	mu      sync.Mutex
	servers map[netip.AddrPort]time.Time // until when
	order   []netip.AddrPort             // as learnt; may name forgotten ones
}

func (n *native) learn(a netip.AddrPort, until time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.servers == nil {
		n.servers = make(map[netip.AddrPort]time.Time)
	}
	if _, known := n.servers[a]; !known {
		n.order = append(n.order, a)
	}
	n.servers[a] = until
	for len(n.order) > mostNative {
		delete(n.servers, n.order[0])
		n.order = n.order[1:]
	}
}

func (n *native) knows(a netip.AddrPort, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return now.Before(n.servers[a])
}

// forget is for a server that did not do as expected.
func (n *native) forget(a netip.AddrPort) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, known := n.servers[a]; known {
		n.servers[a] = time.Time{} // its place in order stays until it is pushed out
	}
}

// newest lists at most so many of those that are known, the ones learnt last first.
func (n *native) newest(most int, now time.Time) (list []netip.AddrPort) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := len(n.order) - 1; i >= 0 && len(list) < most; i-- {
		if a := n.order[i]; now.Before(n.servers[a]) {
			list = append(list, a)
		}
	}
	return list
}

func (n *native) len(now time.Time) (k int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, until := range n.servers {
		if now.Before(until) {
			k++
		}
	}
	return k
}
