// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"spillway/relay/engine"
	"spillway/sockopt"
)

// door is the pair of listening sockets, [0] IPv4 and [1] IPv6.
type door struct {
	mu        sync.Mutex
	wanted    bool // main opened it
	open      bool
	scarce    time.Time   // until when the door stays closed, as something has run out
	tight     atomic.Bool // memory will do for no more, see spare.go
	ports     [2]uint16   // kept over closing: the firewall knows them
	shared    int         // successors that may have the listeners too
	hidden    bool        // the listeners get no SYNs
	listeners [2]*engine.Listener
	known     [2]atomic.Uint32 // the ports, for who must not wait for mu
	again     *time.Timer      // until it is looked at again; one, however often it is
}

var doorAddr = [2]netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}

// OpenDoor listens on 127.0.0.1:port4 and [::1]:port6 for intercepted connections; 0 lets the kernel choose (see
// Ports). The relay may hold the door closed for a while by itself, see the package comment. A machine without IPv6
// gets the IPv4 door alone.
func (r *Relay) OpenDoor(port4, port6 uint16) error {
	d := &r.door
	d.mu.Lock()
	defer d.mu.Unlock()
	for k, p := range [2]uint16{port4, port6} {
		if p != 0 && p != d.ports[k] {
			if d.open {
				r.shutDoor()
			}
			d.ports[k] = p
		}
	}
	d.wanted = true
	return r.place()
}

// CloseDoor closes the listening sockets; established connections go on.
func (r *Relay) CloseDoor() {
	r.door.mu.Lock()
	defer r.door.mu.Unlock()
	r.door.wanted = false
	r.place()
}

// Ports tells the door's ports; once chosen they stay. 0: no such family on this machine, or never opened.
func (r *Relay) Ports() (port4, port6 uint16) {
	r.door.mu.Lock()
	defer r.door.mu.Unlock()
	return r.door.ports[0], r.door.ports[1]
}

// Queue is how many connections each of the door's listeners lets wait to be accepted.
func (r *Relay) Queue() int { return r.settings.Load().Queue }

// reconsider opens or closes the door as things stand now.
func (r *Relay) reconsider() {
	r.door.mu.Lock()
	defer r.door.mu.Unlock()
	err := r.place()
	wait := time.Until(r.door.scarce)
	if err != nil {
		r.log.Warn("relay: " + err.Error())
		wait = max(wait, time.Second) // a port that somebody took, descriptors that ran out
	}
	switch {
	case wait <= 0:
	case r.door.again == nil:
		r.door.again = time.AfterFunc(wait, r.changed)
	default:
		r.door.again.Reset(wait)
	}
}

// place makes the door what it should be. door.mu is held.
func (r *Relay) place() error {
	d := &r.door
	should := d.wanted && !r.guests.full.Load() && !d.tight.Load() && !time.Now().Before(d.scarce) && (r.settings.Load().Block || r.anyUpstream())
	if should == d.open {
		if d.hidden { // there is room again, before it was closed
			r.show()
		}
		return nil
	}
	if !should {
		r.shutDoor()
		r.log.Info("relay: door closed")
		return nil
	}
	for k := range d.listeners {
		fd, err := listen(netip.AddrPortFrom(doorAddr[k], d.ports[k]), r.settings.Load())
		if k == 1 && (errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.EAFNOSUPPORT)) {
			break
		}
		if err == nil {
			err = r.attend(k, fd)
		}
		if err != nil {
			r.shutDoor()
			return fmt.Errorf("open door: %w", err)
		}
	}
	d.open = true
	r.log.Info("relay: door open", "port4", d.ports[0], "port6", d.ports[1])
	return nil
}

// scarceRest is how long the door is closed when something has run out.
const scarceRest = time.Second

// runOut closes the door for a moment: for want of ports, descriptors or memory the next connections could not be served
// either, and the kernel can still forward them.
func (r *Relay) runOut(err error) {
	r.door.mu.Lock()
	news := time.Now().After(r.door.scarce.Add(scarceRest))
	r.door.scarce = time.Now().Add(scarceRest)
	r.door.mu.Unlock()
	if news {
		r.count.fullTimes.Add(1)
		r.log.Warn("relay: something has run out, new connections are forwarded natively", "sessions", r.guests.total(), "err", err)
	}
	r.changed()
}

// ranOut tells of an error that says so. The same error of bind tells of an address that is gone.
func ranOut(err error) bool {
	var call *os.SyscallError
	if errors.As(err, &call) && call.Syscall == "connect" && errors.Is(err, unix.EADDRNOTAVAIL) {
		return true // no port is free towards this address
	}
	for _, e := range []error{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// attend begins to take connections from a listening socket, which it owns from then on, also when it fails.
func (r *Relay) attend(k, fd int) error {
	port := engine.LocalAddr(fd).Port()
	l, err := r.engine.Listen(fd, r.arrive)
	if err != nil {
		unix.Close(fd)
		return fmt.Errorf("listen on port %d: %w", port, err)
	}
	r.door.listeners[k], r.door.ports[k] = l, port
	r.door.known[k].Store(uint32(port))
	return nil
}

// handshakeRest is how long a handshake with a LAN host that has begun may take when the door closes.
const handshakeRest = 50 * time.Millisecond

// shutDoor closes the listeners. What waits in their queues was promised a connection and is served first; so was who has a SYN-ACK and
// would be reset by what he says next. So the listeners are hidden from further SYNs for a moment, unless a successor is to have them.
func (r *Relay) shutDoor() {
	r.hide()
	if r.door.hidden {
		time.Sleep(handshakeRest)
	}
	for k, l := range r.door.listeners {
		if l == nil {
			continue
		}
		l.Control(r.takeQueued)
		l.Close()
		r.door.listeners[k] = nil
	}
	r.door.open, r.door.shared, r.door.hidden = false, 0, false
}

// each calls fn with each listener's descriptor. door.mu is held.
func (r *Relay) each(fn func(fd int)) {
	for _, l := range r.door.listeners {
		if l == nil {
			continue
		}
		l.Control(fn)
	}
}

// hide lets no further SYN in, unless the listeners are a successor's too. door.mu is held.
func (r *Relay) hide() {
	if !r.door.open || r.door.shared > 0 || r.door.hidden {
		return
	}
	r.each(func(fd int) { hide(fd, true) })
	r.door.hidden = true
}

// show is the opposite of hide. door.mu is held.
func (r *Relay) show() {
	r.each(func(fd int) { hide(fd, false) })
	r.door.hidden = false
}

// sayFull closes the door to SYNs at once, and then altogether: a busy machine may take long to come to that, and what queues up
// meanwhile beyond the queue's length would be reset when it does.
func (r *Relay) sayFull() {
	if r.door.mu.TryLock() { // else the next connection finds it full too
		news := !r.door.hidden
		r.hide()
		r.door.mu.Unlock()
		if news {
			go r.changed()
		}
	}
}

// nowhere is the index of a device that does not exist.
const nowhere = math.MaxInt32

// hide has the kernel find a listener for no further SYN, as that comes by another device (inet_bound_dev_eq in include/net/inet_sock.h),
// or takes that back. nft's tproxy then lets the SYN pass, as when the door is closed. Handshakes that have begun go on. To drop
// the SYN here would be too late: conntrack would know the connection as one of the router's own, and when the SYN is repeated and
// forwarded nobody would translate its address.
func hide(fd int, hidden bool) error {
	device := 0
	if hidden {
		device = nowhere
	}
	return sockopt.SetInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, device)
}

// takeQueued accepts what is there, and twice what came meanwhile; not for ever, for a full house must close its door.
func (r *Relay) takeQueued(fd int) {
	for range 3 {
		n := engine.Waiting(fd)
		if n == 0 {
			return
		}
		for range n {
			c, from, err := engine.Accept(fd)
			if err != nil {
				return
			}
			r.welcome(engine.Arrival{FD: c, From: from}, engine.LocalAddr(c))
		}
	}
}

// farewell is the end of what welcome began.
func (r *Relay) farewell() {
	if r.guests.leave(r.settings.Load().MaxSessions) {
		r.log.Info("relay: no longer full", "sessions", r.guests.total())
		go r.changed()
	}
}
