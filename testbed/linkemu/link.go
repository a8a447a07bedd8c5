// SPDX-License-Identifier: Apache-2.0

package linkemu

import (
	"encoding/binary"
	"errors"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Link is a line between a router's device and its provider's, and the thread that carries its packets.
type Link struct {
	router, provider *Port

	mu       sync.Mutex // held while packets move; all below
	up, down direction  // from the router, to the router
	cut      bool
	closing  bool

	start time.Time
	poke  int // eventfd that interrupts the wait
	done  chan struct{}
	pool  [][]byte
}

// direction is one way through a link.
type direction struct {
	from, to  *Port
	line      *Line
	box       Middlebox
	blackhole bool
	swallowed uint64 // packets that a blackhole, a cut or a middlebox took
	segments  uint64
	payload   uint64
}

// New starts a link between two ports, which it owns from now on. seed decides losses and jitter.
func New(router, provider *Port, up, down Shape, seed uint64) (*Link, error) {
	poke, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	l := &Link{
		router: router, provider: provider, start: time.Now(), poke: poke, done: make(chan struct{}),
		up:   direction{from: router, to: provider, line: NewLine(up, 2*seed)},
		down: direction{from: provider, to: router, line: NewLine(down, 2*seed+1)},
	}
	go l.run()
	return l, nil
}

// Close stops the thread and removes both devices.
func (l *Link) Close() {
	l.change(func() { l.closing = true })
	<-l.done
	unix.Close(l.poke)
	l.router.Close()
	l.provider.Close()
}

// Shape changes both directions.
func (l *Link) Shape(up, down Shape) {
	l.change(func() { l.up.line.SetShape(up); l.down.line.SetShape(down) })
}

// Blackhole swallows all packets of the directions named, silently: the carrier stays.
func (l *Link) Blackhole(up, down bool) {
	l.change(func() { l.up.blackhole, l.down.blackhole = up, down })
}

// Middleboxes puts a box into each direction.
func (l *Link) Middleboxes(up, down Middlebox) {
	l.change(func() { l.up.box, l.down.box = up, down })
}

// Cut takes the router's carrier away and loses what is on the way.
func (l *Link) Cut() error {
	l.change(func() {
		l.cut = true
		l.up.line.Flush(l.free)
		l.down.line.Flush(l.free)
	})
	return l.router.setCarrier(false)
}

// Restore gives the carrier back.
func (l *Link) Restore() error {
	l.change(func() { l.cut = false })
	return l.router.setCarrier(true)
}

// Counts returns the counters of both directions.
func (l *Link) Counts() (up, down Counts) {
	l.change(func() { up, down = l.up.counts(), l.down.counts() })
	return up, down
}

func (d *direction) counts() Counts {
	c := d.line.Counts()
	c.Lost += d.swallowed
	c.Segments, c.Payload = d.segments, d.payload
	return c
}

// change runs fn between two rounds of the thread.
func (l *Link) change(fn func()) {
	l.mu.Lock()
	fn()
	l.mu.Unlock()
	unix.Write(l.poke, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

// run carries packets until Close. It has a thread of its own with precise timers, ahead of the load it measures.
func (l *Link) run() {
	defer close(l.done)
	runtime.LockOSThread() // never unlocked: the thread's priority ends with it
	unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), -15) // without the right to, the shaping is a little less even
	fds := []unix.PollFd{
		{Fd: int32(l.router.fd), Events: unix.POLLIN},
		{Fd: int32(l.provider.fd), Events: unix.POLLIN},
		{Fd: int32(l.poke), Events: unix.POLLIN},
	}
	for {
		wait, closing := l.round(fds[0].Revents != 0, fds[1].Revents != 0)
		if closing {
			return
		}
		fds[0].Fd, fds[1].Fd = l.descriptors()
		timeout := unix.NsecToTimespec(int64(wait))
		fds[0].Revents, fds[1].Revents, fds[2].Revents = 0, 0, 0
		unix.Ppoll(fds, &timeout, nil)
		if fds[2].Revents != 0 {
			var b [8]byte
			unix.Read(l.poke, b[:])
		}
	}
}

// descriptors are those of the ports as they are now.
func (l *Link) descriptors() (router, provider int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int32(l.router.fd), int32(l.provider.fd)
}

// Replace removes both devices and has open make others; what is on the way is lost. After an error the link is dead.
func (l *Link) Replace(open func() (router, provider *Port, err error)) (err error) {
	l.change(func() {
		l.up.line.Flush(l.free)
		l.down.line.Flush(l.free)
		l.router.Close()
		l.provider.Close()
		unix.Write(l.poke, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // the thread's wait keeps the devices alive
		var router, provider *Port
		for range 100 {
			if router, provider, err = open(); !errors.Is(err, unix.EBUSY) {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if err != nil {
			return
		}
		l.router, l.provider = router, provider
		l.up.from, l.up.to, l.down.from, l.down.to = router, provider, provider, router
	})
	return err
}

// round reads what is there, writes what is due and tells how long nothing will be.
func (l *Link) round(fromRouter, fromProvider bool) (wait time.Duration, closing bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if fromRouter {
		l.read(&l.up)
	}
	if fromProvider {
		l.read(&l.down)
	}
	wait = time.Second
	for _, d := range []*direction{&l.up, &l.down} {
		l.deliver(d)
		if at, more := d.line.Next(); more {
			wait = min(wait, max(0, at-l.now()))
		}
	}
	return wait, l.closing
}

func (l *Link) now() time.Duration { return time.Since(l.start) }

// read offers the packets that a port has to its line; a bounded number, so that deliveries are not late.
func (l *Link) read(d *direction) {
	for range 64 {
		buf := l.alloc()
		n, err := unix.Read(d.from.fd, buf[:cap(buf)])
		if err != nil || n <= d.from.header {
			l.free(buf)
			return
		}
		buf = buf[:n]
		if !l.cut && d.from.header > 0 && neighbours(buf) {
			unix.Write(d.to.fd, buf)
			l.free(buf)
			continue
		}
		if segment := tcp(buf[d.from.header:]); segment != nil {
			d.segments++
			d.payload += uint64(len(segment) - int(segment[12]>>4)*4)
		}
		if l.cut || d.blackhole || !d.box.pass(buf[d.from.header:]) {
			d.swallowed++
			l.free(buf)
			continue
		}
		if !d.line.Offer(l.now(), buf, n-d.from.header) {
			l.free(buf)
		}
	}
}

// neighbours is whether an Ethernet frame is about finding neighbours (ARP, RFC 4861): the modem's matter, on the near
// side of the line, so it neither waits nor vanishes in a blackhole.
func neighbours(frame []byte) bool {
	const arp, ipv6, icmpv6, solicitation, advertisement = 0x0806, 0x86dd, 58, 135, 136
	switch binary.BigEndian.Uint16(frame[12:]) {
	case arp:
		return true
	case ipv6:
		return len(frame) > 54 && frame[20] == icmpv6 && (frame[54] == solicitation || frame[54] == advertisement)
	}
	return false
}

// deliver writes what has arrived. A device that is down refuses it: the packet is lost, as it should be.
func (l *Link) deliver(d *direction) {
	for {
		packet := d.line.Take(l.now())
		if packet == nil {
			return
		}
		if d.blackhole {
			d.swallowed++
		} else {
			unix.Write(d.to.fd, packet)
		}
		l.free(packet)
	}
}

const frame = 2048 // the MTU is 1500; no offload makes larger ones

func (l *Link) alloc() []byte {
	if n := len(l.pool); n > 0 {
		b := l.pool[n-1]
		l.pool = l.pool[:n-1]
		return b
	}
	return make([]byte, frame)
}

func (l *Link) free(b []byte) { l.pool = append(l.pool, b[:0]) }
