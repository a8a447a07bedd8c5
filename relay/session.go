// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"spillway/convert"
	"spillway/mptcp"
	"spillway/relay/engine"
)

const (
	mostTries = 4 // attempts for one LAN connection
	// unready is how long a connection is tried again while all links fail on our own side, at once: each may just be losing its address or
	// getting its routes, as flapping lines do, and in the next moment one will do. It is looked at each unreadyLook at least.
	unready     = time.Second
	unreadyLook = 50 * time.Millisecond
	silence     = time.Second // without a SYN-ACK, after which another link is tried (Config.Race)
)

var (
	errSilent = errors.New("no answer to the SYN")
	errQuiet  = errors.New("the upstream answers, but not for this server")
	errCold   = errors.New("warm connection was dead")
	errOut    = errors.New("upstream went out while a connection waited")
	errFamily = fmt.Errorf("link without an address of the upstream's family: %w", unix.EADDRNOTAVAIL)
)

// session is one LAN connection until the engine has it.
type session struct {
	r      *Relay
	set    *settings
	lan    *net.TCPConn // nil: not accepted yet, its SYN is held
	src    netip.AddrPort
	dst    netip.AddrPort
	rule   *Rule
	act    Action
	dscp   uint8
	early  early
	cookie []byte      // that the upstream was shown
	ask    bool        // whether the server speaks MPTCP
	begun  *begun      // what the lane has begun; nil: nothing, or taken up
	heard  []byte      // of the attempt's answer, by the lane
	warm   bool        // the attempt goes over a warm connection
	cold   bool        // no warm connection: one was dead already
	moved  atomic.Bool // the attempt's link has another address by now
	// hopeless: what was said to the attempt's upstream gets no answer any more
	hopeless atomic.Bool
}

// path is what an attempt used.
type path struct {
	u     *upstream // nil: straight to the server
	addr  netip.AddrPort
	link  *PlanLink
	plain bool // without MPTCP, whatever the action says
}

// proceed does all that an admitted LAN connection needs.
func (s *session) proceed(fd int, held *knock) {
	var up *net.TCPConn
	var p path
	lan, err := engine.ConnOf(fd)
	if err != nil {
		held.discard()
		if b := s.begun; b != nil {
			engine.ResetConn(b.up)
		}
	} else {
		s.lan, s.early.lan = lan, lan
		if up, p, err = s.connectOr(held); err == nil {
			err = s.handOver(up, p)
		} else {
			engine.ResetConn(lan)
		}
	}
	if err != nil {
		s.r.log.Debug("relay: connection failed", "src", s.src, "dst", s.dst, "err", err)
		s.r.guests.rise(s.src.Addr())
		s.r.farewell()
	}
}

func endpoint(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := t.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

// follow takes the rule that a mark names.
func (s *session) follow(mark uint32) {
	if s.rule = s.set.rule(mark); s.rule != nil {
		s.act = s.rule.Action
	}
}

// admit decides whether the connection is served at all. After true the host has a seat.
func (s *session) admit() bool {
	if s.r.own(s.dst) {
		s.r.count.refused.Add(1)
		return false
	}
	if s.act == Block {
		s.r.count.blocked.Add(1)
		return false
	}
	if s.forbidden() {
		s.r.count.destination.Add(1)
		return false
	}
	if !s.r.guests.seat(s.src.Addr(), s.set.MaxPerHost) {
		s.r.count.hostLimited.Add(1)
		return false
	}
	return true
}

// forbidden tells whether the LAN host wants what a converter would call a malformed Connect, and be blamed for.
func (s *session) forbidden() bool { return convert.Forbidden(s.dst.Addr()) || s.dst.Port() == 0 }

// connectOr is connect, unless that was done while the SYN was held.
func (s *session) connectOr(held *knock) (*net.TCPConn, path, error) {
	if held == nil {
		return s.connect()
	}
	<-held.done
	return held.up, held.p, held.err
}

// connect gets an upstream connection that is ready for data.
func (s *session) connect() (up *net.TCPConn, p path, err error) {
	links, ups := s.soon(), s.set.order()
	if s.begun != nil {
		p := s.begun.p // what the lane drew comes first, and once
		ups = slices.DeleteFunc(slices.Clone(ups), func(u *upstream) bool { return u == p.u })
		links = slices.DeleteFunc(links, p.link.is)
		return s.settle(slices.Insert(ups, 0, p.u), slices.Insert(links, 0, p.link))
	}
	if len(links) == 0 {
		s.r.count.noLink.Add(1)
		return nil, p, errors.New("no usable link")
	}
	s.prepare()
	if s.set.NativeBypass && s.act == Bond && s.r.native.knows(s.dst, time.Now()) {
		if up, p, err = s.direct(links, false); err == nil {
			return up, p, nil
		}
		s.r.native.forget(s.dst)
	}
	if len(ups) == 0 { // since a moment ago, or the door were closed
		if !s.set.Block {
			if up, p, err = s.direct(links, true); err == nil {
				return up, p, nil
			}
		}
		s.r.count.noUpstream.Add(1)
		return nil, p, errors.New("every upstream is out")
	}
	return s.settle(ups, links)
}

// settle tries upstreams and links, and says what a failure meant.
func (s *session) settle(ups []*upstream, links []*PlanLink) (up *net.TCPConn, p path, err error) {
	up, p, err = s.try(ups, links)
	if err != nil && ranOut(err) {
		s.r.runOut(err)
	}
	if err != nil && s.early.err == nil && !s.set.Block {
		if re := p.u.react(err, s.early.sent.Load()); re.retry != never && !re.destination {
			// It was accepted before anybody knew that no upstream would take it; the next ones the door doesn't let in.
			if up, d, e := s.direct(links, true); e == nil {
				return up, d, nil
			}
		}
	}
	switch {
	case err == nil, s.early.err != nil:
	case p.u.react(err, true).destination:
		s.r.count.destination.Add(1)
	default:
		s.r.count.failed.Add(1)
	}
	return up, p, err
}

// prepare reads what the LAN host has told so far.
func (s *session) prepare() {
	switch {
	case s.set.IgnoreDSCP:
		s.dscp = 0
	case s.lan != nil && s.dscp == 0: // the kernel tells it once
		if rc, err := s.lan.SyscallConn(); err == nil {
			rc.Control(func(fd uintptr) { s.dscp = savedDSCP(int(fd)) })
		}
	}
	s.ask = s.set.NativeBypass && s.act == Bond
	s.early.peek()
}

// try goes through upstreams and links until one serves, as the reactions to failures allow.
func (s *session) try(ups []*upstream, links []*PlanLink) (up *net.TCPConn, p path, err error) {
	u, link, same, all := 0, 0, 0, links
	links = ups[0].clean(all)
	first := time.Now()
	for tries := 0; tries < mostTries; tries++ {
		p = s.choose(ups[u], links[link])
		began := time.Now()
		if s.begun != nil {
			p, began = s.begun.p, s.begun.began
		}
		up, err = s.attempt(&p, links[link+1:])
		if err == nil {
			ups[u].good()
			return up, p, nil
		}
		if s.early.err != nil {
			return nil, p, fmt.Errorf("LAN host: %w", s.early.err)
		}
		if errors.Is(err, errCold) {
			continue
		}
		var refusal *convert.Error
		if errors.As(err, &refusal) {
			s.r.count.code(refusal.Code)
		}
		re := p.u.react(err, s.early.sent.Load())
		// Silent, or talking nonsense, on every link: the upstream's fault.
		re.weak = re.weak || (errors.Is(err, errSilent) || re.pair) && link+1 == len(links)
		if ups[u].servedSince(began) {
			re.weak = false // it took others meanwhile: the server is slow, or we are
		}
		if re.denied && ups[u].forget(s.cookie) {
			re = reaction{retry: sameUpstream}
		}
		if re.pair {
			s.r.log.Warn("relay: what answers is no converter", "upstream", p.u.Name, "link", p.link.Name, "err", err)
			ups[u].shun(p.link.Name)
		}
		other := (re.out || re.weak) && ups[u].restAddress(p.addr, re.wait, p.link)
		if !other {
			ups[u].apply(re, err)
		}
		switch {
		case other && re.retry != never:
			link = 0
		case errors.Is(err, errMoved) && re.retry != never: // with the links that there are by now
			if all = s.soon(); len(all) == 0 {
				return nil, p, err
			}
			links, link = ups[u].clean(all), 0
		case re.retry == sameUpstream && same < 2: // an old cookie, then none
			same++
		case re.retry == otherLink && link+1 < len(links) && ups[u].up():
			link++
		case re.retry != never && u+1 < len(ups):
			u, link, same = u+1, 0, 0
			links = ups[u].clean(all)
		case re.link && re.retry != never && !ranOut(err) && time.Since(first) < cmp.Or(s.r.planned.unready, unready):
			s.awaitChange(unreadyLook)
			if all = s.soon(); len(all) == 0 {
				return nil, p, err
			}
			links, link, tries = ups[u].clean(all), 0, 0
		default:
			return nil, p, err
		}
		s.r.count.retried.Add(1)
	}
	return nil, p, err
}

// direct goes to the server itself: one that speaks MPTCP, or any when there is no upstream.
func (s *session) direct(links []*PlanLink, plain bool) (*net.TCPConn, path, error) {
	p := path{addr: s.dst, link: links[0], plain: plain}
	local, ok := p.link.source(s.dst.Addr())
	if !ok {
		return nil, p, errFamily
	}
	deadline := time.Now().Add(s.set.ConnectTimeout)
	up, err := s.dial(context.Background(), &p, local, false, deadline)
	if err != nil {
		return nil, p, err
	}
	if o, err := mptcp.Inspect(up); err == nil && !o.MPTCP {
		s.r.native.forget(s.dst) // served, but no more without upstream
	}
	if len(s.early.b) > 0 {
		up.SetWriteDeadline(deadline)
		if _, err := up.Write(s.early.b); err != nil {
			engine.ResetConn(up)
			return nil, p, err
		}
	}
	s.r.count.direct.Add(1)
	return up, p, nil
}

// pair says how the engine shall copy.
func (s *session) pair(f *flow) engine.Pair {
	return engine.Pair{Idle: s.set.IdleTimeout, HalfClosed: s.set.HalfClosedTimeout, Done: f.ended}
}

// handOver gives both sockets to the engine. On an error both are closed.
func (s *session) handOver(up *net.TCPConn, p path) (err error) {
	f := s.flow(p, len(s.early.b))
	defer func() {
		if err != nil {
			f.uncount()
		}
	}()
	a, err := engine.Detach(s.lan)
	if err != nil {
		engine.ResetConn(up)
		return err
	}
	b, err := engine.Detach(up)
	if err != nil {
		engine.Reset(a)
		return err
	}
	s.r.flows.add(f)
	pair := s.pair(f)
	pair.LAN, pair.Up, pair.Fell = a, b, s.fellBack(b, p)
	c, err := s.r.engine.Add(pair)
	if err != nil {
		s.r.flows.remove(f)
		return err
	}
	f.conn.Store(c)
	s.r.count.relayed.Add(1)
	return nil
}
