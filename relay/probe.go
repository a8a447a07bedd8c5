// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"spillway/convert"
	"spillway/mptcp"
	"spillway/socks"
)

const probeTimeout = 3 * time.Second

// probeUntil asks upstreams and addresses that are out whether they are back, for ever with growing pauses, and the others
// when nothing was heard of them for long.
func (r *Relay) probeUntil(ctx context.Context) {
	for ctx.Err() == nil {
		next := time.Hour
		for _, u := range r.settings.Load().upstreams {
			next = min(next, r.look(ctx, u))
		}
		if next == 0 {
			continue
		}
		t := time.NewTimer(next)
		select {
		case <-ctx.Done():
		case <-r.probe:
		case <-t.C:
		}
		t.Stop()
	}
}

// look asks an upstream what is due to be asked, and tells how long nothing is.
func (r *Relay) look(ctx context.Context, u *upstream) time.Duration {
	wait, out := u.probeIn(time.Now())
	if out {
		if wait > 0 {
			return wait
		}
		r.ask(ctx, u)
		return 0
	}
	a, next := u.dueAddress(time.Now())
	if next == 0 {
		r.askAddress(ctx, u, a)
		return 0
	}
	return min(next, r.askIdle(ctx, u, time.Now()))
}

// probeIn tells how long until an upstream that is out shall be asked.
func (u *upstream) probeIn(now time.Time) (time.Duration, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.until.Sub(now), u.out
}

// ask probes one upstream over the links in order of preference until one answers.
func (r *Relay) ask(ctx context.Context, u *upstream) {
	err := errors.New("no usable link")
	p := r.plan.Load()
	for _, link := range p.links(Bond) {
		if err = r.greet(ctx, u, link, probeTimeout); err == nil {
			u.good()
			return
		}
	}
	u.mu.Lock()
	u.backoff = min(2*u.backoff, probeMost)
	wait := u.backoff
	var refused *convert.Error
	if errors.As(err, &refused) {
		wait = max(wait, refused.Wait())
	}
	u.until = time.Now().Add(wait)
	u.reason = err.Error()
	u.mu.Unlock()
}

// greet opens a connection to an upstream and asks what costs it nothing.
func (r *Relay) greet(ctx context.Context, u *upstream, link *PlanLink, wait time.Duration) error {
	if u.Protocol == Transparent {
		return nil
	}
	err := errFamily
	for _, a := range u.Addrs {
		if _, ok := link.source(a.Addr()); !ok {
			continue
		}
		if err = r.greetAddress(ctx, u, link, a, wait); err == nil {
			return nil
		}
	}
	return err
}

func (r *Relay) greetAddress(ctx context.Context, u *upstream, link *PlanLink, a netip.AddrPort, wait time.Duration) error {
	local, ok := link.source(a.Addr())
	if !ok {
		return errFamily
	}
	deadline := time.Now().Add(wait)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	o := mptcp.DialOptions{Local: local, Device: link.Device, Mark: r.settings.Load().Mark}
	c, err := mptcp.Dial(ctx, a, o)
	if err != nil && noMPTCP(err) {
		o.PlainTCP = true
		c, err = mptcp.Dial(ctx, a, o)
	}
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(deadline)
	c.SetLinger(0)
	return u.hello(c)
}

func (u *upstream) hello(c *net.TCPConn) error {
	switch u.Protocol {
	case Convert:
		b, err := (&convert.Message{Info: true, Cookie: u.theCookie()}).Append(nil)
		if err != nil {
			return err
		}
		if _, err := c.Write(b); err != nil {
			return err
		}
		m, err := readConvert(c)
		if err != nil {
			return err
		}
		if m.Error != nil && (m.Error.Wait() > 0 || m.Error.Code == convert.CodeNotAuthorized) {
			return m.Error // any other answer proves that a converter is there and serves us
		}
		return nil
	case SOCKS5:
		if _, err := c.Write(socks.AppendGreeting(nil, u.User != "")); err != nil {
			return err
		}
		var b [2]byte
		if err := readFull(c, b[:]); err != nil {
			return err
		}
		_, err := socks.ParseMethod(b[:])
		return err
	case SOCKS4a:
		return nil // it has no greeting: that it accepts must do
	}
	return fmt.Errorf("protocol %q: no probe", u.Protocol)
}
