// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"spillway/convert"
	"spillway/relay/engine"
	"spillway/socks"
)

// A firewall can hold a LAN host's SYN until it is known what the server says (Config.Faithful). Then the host sees a refused port
// as refused, and a server that says nothing says nothing. It costs the round trip between router and server that the
// LAN host's first octets would have shared with the Connect.

const (
	mostKnocks     = 256              // SYNs held, and connections made for them that wait to be accepted
	mostHostKnocks = 64               // of one LAN host
	knockFor       = 20 * time.Second // a SYN is held; longer than a connection may take, so only a fault of ours gets here
	claimFor       = 4 * time.Second  // a connection waits to be accepted: two repetitions of a lost SYN-ACK
)

// Knock is a SYN that a firewall holds.
type Knock struct {
	Src, Dst netip.AddrPort
	Mark     uint32 // within Config.RuleMask: the rule that took it
	DSCP     uint8
}

// Reply is what is to become of a held SYN.
type Reply uint8

const (
	Pass        Reply = iota // goes on to the door
	Forget                   // is dropped: the host sends it again
	Refuse                   // is answered by a reset
	Unreachable              // is answered by an ICMP message
)

// knocks are the held SYNs and the connections that were made for them, until they are claimed.
type knocks struct {
	mu    sync.Mutex
	list  map[pair]*knock
	hosts map[netip.Addr]int
}

type pair struct{ src, dst netip.AddrPort }

// knock is one of them. What follows done is written before done is closed.
type knock struct {
	s    *session
	done chan struct{}
	up   *net.TCPConn
	p    path
	err  error
}

// Knock begins the connection that a held SYN asks for. say is called once, now or later, from any goroutine.
func (r *Relay) Knock(k Knock, say func(Reply)) {
	s := &session{r: r, set: r.settings.Load(), src: k.Src, dst: k.Dst, dscp: k.DSCP}
	if s.rule = s.set.rule(k.Mark); s.rule != nil {
		s.act = s.rule.Action
	}
	if !s.set.Faithful || !r.listening() || s.act == Block || s.forbidden() || r.own(s.dst) {
		say(Pass) // the door knows what to do
		return
	}
	if r.guests.sated(s.src.Addr(), s.set.MaxPerHost) {
		say(Pass)
		return
	}
	n, known := r.knocks.add(s)
	switch {
	case known && n.over():
		say(Pass) // the SYN-ACK was lost
	case known:
		say(Forget) // the first one is enough
	case n == nil:
		r.count.unheld.Add(1)
		say(Pass)
	default:
		r.count.held.Add(1)
		go r.hold(n, say)
	}
}

// listening tells whether the door is open.
func (r *Relay) listening() bool {
	r.door.mu.Lock()
	defer r.door.mu.Unlock()
	return r.door.open
}

// add finds the knock of a session's pair, or makes one; nil: there are too many.
func (ks *knocks) add(s *session) (n *knock, known bool) {
	ks.mu.Lock()
	defer ks.mu.Unlock()
	key, host := pair{s.src, s.dst}, s.src.Addr()
	if n = ks.list[key]; n != nil {
		return n, true
	}
	if len(ks.list) >= min(mostKnocks, max(1, s.set.MaxSessions/4)) || ks.hosts[host] >= mostHostKnocks {
		return nil, false
	}
	if ks.list == nil {
		ks.list, ks.hosts = map[pair]*knock{}, map[netip.Addr]int{}
	}
	n = &knock{s: s, done: make(chan struct{})}
	ks.list[key] = n
	ks.hosts[host]++
	return n, false
}

// remove takes a knock out; false when somebody else has.
func (ks *knocks) remove(n *knock) bool {
	ks.mu.Lock()
	defer ks.mu.Unlock()
	key, host := pair{n.s.src, n.s.dst}, n.s.src.Addr()
	if ks.list[key] != n {
		return false
	}
	delete(ks.list, key)
	if ks.hosts[host]--; ks.hosts[host] <= 0 {
		delete(ks.hosts, host)
	}
	return true
}

// claim gives an accepted connection the knock that was made for it; nil: none.
func (ks *knocks) claim(src, dst netip.AddrPort) *knock {
	ks.mu.Lock()
	n := ks.list[pair{src, dst}]
	ks.mu.Unlock()
	if n == nil || !ks.remove(n) {
		return nil
	}
	return n
}

// hold connects, says what becomes of the SYN, and keeps the connection for a while.
func (r *Relay) hold(n *knock, say func(Reply)) {
	once := sync.OnceFunc(func() { say(Pass) })
	late := time.AfterFunc(knockFor, once)
	n.up, n.p, n.err = n.s.connect()
	inTime := late.Stop()
	if n.err != nil && inTime && r.knocks.remove(n) {
		reply := n.reply()
		r.log.Debug("relay: held connection failed", "src", n.s.src, "dst", n.s.dst, "err", n.err)
		if reply != Pass {
			r.count.turnedAway.Add(1)
		}
		close(n.done)
		say(reply)
		return
	}
	close(n.done) // before the SYN goes on: whoever claims it will find it done
	if inTime {
		once()
	}
	time.AfterFunc(claimFor, func() {
		if r.knocks.remove(n) {
			n.discard()
		}
	})
}

// over tells whether the connection was made, or was not.
func (n *knock) over() bool {
	select {
	case <-n.done:
		return true
	default:
		return false
	}
}

// discard waits for the connection and drops it. A nil knock is allowed.
func (n *knock) discard() {
	if n == nil {
		return
	}
	<-n.done
	if n.up != nil {
		engine.ResetConn(n.up)
	}
}

// reply is what the LAN host is to see of a failure: what it would have seen of the server itself, where that is known.
func (n *knock) reply() Reply {
	var refusal *convert.Error
	var reply *socks.Reply
	switch straight := n.p.u == nil || n.p.u.Protocol == Transparent; {
	case errors.As(n.err, &refusal):
		if refusal.Code == convert.CodeUnreachable {
			return Unreachable
		}
	case errors.As(n.err, &reply):
		if reply.Unreachable() {
			return Unreachable
		}
	case straight && (errors.Is(n.err, unix.EHOSTUNREACH) || errors.Is(n.err, unix.ENETUNREACH)):
		return Unreachable
	case errors.Is(n.err, errQuiet), errors.Is(n.err, os.ErrDeadlineExceeded), straight && errors.Is(n.err, errSilent):
		return Forget // nobody has answered: neither do we
	case isLinkError(n.err):
		return Pass // ours: descriptors, memory, an address that has just gone
	}
	return Refuse
}

// drain drops what nobody has claimed.
func (ks *knocks) drain() {
	ks.mu.Lock()
	list := ks.list
	ks.list, ks.hosts = nil, nil
	ks.mu.Unlock()
	for _, n := range list {
		go n.discard()
	}
}
