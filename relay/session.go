// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"spillway/convert"
	"spillway/mptcp"
	"spillway/relay/engine"
)

const (
	mostTries = 4           // attempts for one LAN connection
	silence   = time.Second // without a SYN-ACK, after which another link is tried (Config.Race)
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
	warm   bool        // the attempt goes over a warm connection
	cold   bool        // no warm connection: one was dead already
	moved  atomic.Bool // the attempt's link has another address by now
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
	lan, err := connOf(fd)
	if err != nil {
		held.discard()
		if b := s.begun; b != nil {
			reset(b.up)
		}
	} else {
		s.lan, s.early.lan = lan, lan
		if up, p, err = s.connectOr(held); err == nil {
			err = s.handOver(up, p)
		} else {
			lan.SetLinger(0)
			lan.Close()
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
	if convert.Forbidden(s.dst.Addr()) {
		s.r.count.destination.Add(1)
		return false
	}
	if !s.r.guests.seat(s.src.Addr(), s.set.MaxPerHost) {
		s.r.count.hostLimited.Add(1)
		return false
	}
	return true
}

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
		p := s.begun.p
		ups = slices.DeleteFunc(slices.Clone(ups), func(u *upstream) bool { return u == p.u })
		if !slices.Contains(links, p.link) { // it was when the lane began
			links = append([]*PlanLink{p.link}, links...)
		}
		return s.settle(slices.Insert(ups, 0, p.u), links)
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
	for range mostTries {
		p = path{u: ups[u], link: links[link]}
		if s.begun != nil {
			p = s.begun.p
		}
		began := time.Now()
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
		case re.retry == sameUpstream && same < 2: // an old cookie, then none
			same++
		case re.retry == otherLink && link+1 < len(links) && ups[u].up():
			link++
		case re.retry != never && u+1 < len(ups):
			u, link, same = u+1, 0, 0
			links = ups[u].clean(all)
		default:
			return nil, p, err
		}
		s.r.count.retried.Add(1)
	}
	return nil, p, err
}

// attempt gets a connection to one upstream over one link and waits for its consent. others are links to try when this
// one gives no SYN-ACK soon.
func (s *session) attempt(p *path, others []*PlanLink) (*net.TCPConn, error) {
	b := s.begun
	s.begun = nil
	if b == nil && !p.u.certain(s.set.ConnectTimeout) {
		return nil, errOut
	}
	s.early.sent.Store(b != nil && b.sent)
	if b != nil && !b.sent && !p.u.up() {
		reset(b.up)
		return nil, os.ErrDeadlineExceeded // as those who were listed when it went out
	}
	if b == nil {
		s.cookie = p.u.theCookie()
	}
	opening, follow, err := p.u.opening(s.dst, s.ask)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if b != nil {
		began, opening = b.began, b.rest
	}
	deadline := began.Add(s.set.ConnectTimeout)
	patience := deadline
	if len(others) > 0 && s.set.Race != "off" && s.set.ConnectTimeout > silence {
		patience = began.Add(silence)
	}
	ctx, leave := p.u.enlist()
	defer leave()
	doubt := time.AfterFunc(time.Until(began.Add(silence)), func() {
		if !p.u.heardSince(began) {
			s.r.suspect(p.u)
		}
	})
	defer doubt.Stop()
	var up *net.TCPConn
	var fast bool
	if b != nil {
		up, fast, s.warm = b.up, b.fast, false
	} else if up, fast, err = s.reach(ctx, p, others, len(opening) > 0, patience); err != nil {
		return nil, err
	}
	defer time.AfterFunc(time.Until(began.Add(p.u.impatience())), func() {
		if !p.u.heardSince(began) && shaken(up) {
			s.r.examine(p.u, true)
		}
	}).Stop()
	if p.u.Protocol != Transparent {
		s.moved.Store(false)
		defer s.r.planned.enter(s, up, p.link)()
	}
	before := unknown
	if s.warm {
		before = taken(up)
	}
	if err := s.converse(ctx, up, p.u, opening, follow, fast, b, patience, deadline); err != nil {
		if o, e := mptcp.Inspect(up); e == nil && errors.Is(err, os.ErrDeadlineExceeded) {
			switch {
			case !o.Established:
				err = errSilent
			case ctx.Err() == nil && p.u.heardSince(began): // it was asked meanwhile
				err = errQuiet
			}
		}
		ended := errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE) || errors.Is(err, io.ErrUnexpectedEOF)
		if ended && before != unknown && taken(up) == before {
			// Nobody has got an octet, else the last packet of the other side would have said so: a new connection may ask again.
			err, s.cold = errCold, true
		}
		if s.moved.Load() {
			err = errMoved
		}
		reset(up)
		return nil, err
	}
	if fast {
		if o, err := mptcp.Inspect(up); err == nil {
			s.judge(o, *p)
		}
	}
	p.u.answered(time.Since(began))
	return up, nil
}

// shaken tells whether a connection's handshake is complete: then it is not the link that keeps us waiting.
func shaken(up *net.TCPConn) bool {
	o, err := mptcp.Inspect(up)
	return err == nil && o.Established
}

// reach gets a connection that the opening can be said on: a warm one, the winner of a race, or a new one, whose SYN will
// take the opening along when fast is true.
func (s *session) reach(ctx context.Context, p *path, others []*PlanLink, opening bool, patience time.Time) (up *net.TCPConn, fast bool, err error) {
	s.warm = false
	if s.act == Bond && s.dscp == 0 && !s.cold && (s.rule == nil || !s.set.Apart) {
		if up, a, ok := p.u.take(p.link); ok {
			s.r.count.warm.Add(1)
			s.warm, p.addr = true, a
			return up, false, nil
		}
	}
	local, err := s.address(p)
	if err != nil {
		return nil, false, err
	}
	if s.set.Race == "always" && s.act == Bond && len(others) > 0 {
		up, err = s.race(ctx, p, others[0], patience)
		return up, false, err
	}
	fast = opening && s.fastOpen(*p)
	up, err = s.dial(ctx, p, local, fast, patience)
	return up, fast, err
}

// fastOpen decides whether the opening leaves in the SYN.
func (s *session) fastOpen(p path) bool {
	fast := s.act == Bond && p.u.fastOpen(p.link.Name, time.Now()) && (p.u.FastOpen == "always" || !s.r.plan.Load().NoSYNData)
	if !fast && p.u.FastOpen == "auto" && p.u.Protocol == Convert {
		s.r.count.avoided.Add(1)
	}
	return fast
}

func (s *session) address(p *path) (local netip.Addr, err error) {
	if p.u.Protocol == Transparent {
		p.addr = s.dst
		return s.src.Addr(), nil
	}
	var ok bool
	if p.addr, local, ok = p.u.pick(p.link); !ok {
		return local, errFamily
	}
	return local, nil
}

func (s *session) plainTCP(p path) bool { return s.act != Bond && !s.set.Apart || p.plain }

func (s *session) options(p path, local netip.Addr, fast bool) mptcp.DialOptions {
	o := mptcp.DialOptions{Local: local, Device: p.link.Device, Mark: s.set.Mark, FastOpen: fast, DSCP: s.dscp,
		PlainTCP: s.plainTCP(p), NotSentLowat: s.set.NotSentLowat}
	if s.set.Apart && s.rule != nil {
		o.Mark |= s.rule.Class
	}
	return o
}

// dial starts the connection. Without fast open it ends when the handshake has: errSilent when that takes longer than
// patience allows.
func (s *session) dial(ctx context.Context, p *path, local netip.Addr, fast bool, patience time.Time) (*net.TCPConn, error) {
	o := s.options(*p, local, fast)
	ctx, cancel := context.WithDeadline(ctx, patience)
	defer cancel()
	if p.u != nil && p.u.Protocol == Transparent {
		o.Transparent, o.LocalPort = true, guestPort()
	}
	up, err := mptcp.Dial(ctx, p.addr, o)
	for tries := 0; o.Transparent && errors.Is(err, unix.EADDRINUSE) && tries < 8; tries++ {
		o.LocalPort = guestPort()
		up, err = mptcp.Dial(ctx, p.addr, o)
	}
	if err != nil && !o.PlainTCP && noMPTCP(err) {
		o.PlainTCP = true
		up, err = mptcp.Dial(ctx, p.addr, o)
	}
	if err != nil && ctx.Err() != nil {
		return nil, errSilent
	}
	return up, err
}

// guestPort is a port for a connection that has a LAN host's own address: none that a host would choose itself (Linux from
// 32768 on, others from 49152), as two connections between the same ports would be one to conntrack and NAT.
func guestPort() uint16 { return 10000 + rand.N[uint16](22768) }

// noMPTCP tells a kernel without MPTCP, or with it switched off.
func noMPTCP(err error) bool {
	return errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.ENOPROTOOPT) || errors.Is(err, unix.EINVAL)
}

// converse says the opening and waits for the answer, while the LAN host's first octets already follow where the
// protocol permits. They never leave in a SYN (fast): one that gets no answer may have been taken all the same, and what the LAN host
// said could not be said to another then. Once they are sent the wait does not end with ctx, for no other can help. With b the
// lane has begun: the opening is what it had not said yet, some of the LAN host's octets perhaps, and waits for the handshake.
func (s *session) converse(ctx context.Context, up *net.TCPConn, u *upstream, opening []byte, follow, fast bool, b *begun, patience, deadline time.Time) error {
	up.SetWriteDeadline(deadline)
	defer context.AfterFunc(ctx, func() {
		if !s.early.sent.Load() {
			up.SetDeadline(time.Unix(1, 0))
		}
	})()
	first := len(s.early.b)
	s.early.open = !fast && b == nil
	switch {
	case b != nil:
		first = 0
		up.SetWriteDeadline(patience)
	case follow && !fast && first > 0:
		s.early.sent.Store(true)
		opening, first = append(opening, s.early.b...), 0
	}
	if len(opening) > 0 {
		n, err := up.Write(opening)
		if b != nil && errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil && shaken(up) {
			// A SYN's repetition was answered while patience ended, as both are a second after the first.
			up.SetWriteDeadline(deadline)
			var more int
			more, err = up.Write(opening[n:])
			n += more
		}
		if b != nil && n > 0 {
			s.early.sent.Store(b.sent || b.hears)
		}
		if err != nil {
			return err
		}
	}
	if b != nil && ctx.Err() == nil {
		up.SetWriteDeadline(deadline)
	}
	if follow {
		s.early.start(up, first)
	}
	server, err := s.await(ctx, up, u, patience, deadline)
	if err != nil {
		up.SetWriteDeadline(time.Unix(1, 0)) // the pump may be waiting for a handshake that will not come
		s.early.stop()
		return err
	}
	if server {
		s.r.native.learn(s.dst, time.Now().Add(s.set.NativeLife))
	}
	s.early.stop()
	if err := errors.Join(s.early.err, s.early.lost); err != nil {
		return err
	}
	if !follow && len(s.early.b) > 0 {
		s.early.sent.Store(true)
		_, err = up.Write(s.early.b)
	}
	return err
}

// await is answer with all deadlines: patience holds only until the handshake is complete, and a converter that answers others meanwhile may
// wait for a slow server longer than deadline.
func (s *session) await(ctx context.Context, up *net.TCPConn, u *upstream, patience, deadline time.Time) (bool, error) {
	if patience.Before(deadline) {
		if came, err := s.readable(ctx, up, patience); err != nil {
			return false, err
		} else if !came && !shaken(up) {
			return false, errSilent
		}
	}
	if u.Protocol == Convert && s.lan != nil { // whose SYN is held repeats it, and asks anew
		var err error
		if deadline, err = s.awaitServer(ctx, up, u, deadline); err != nil {
			return false, err
		}
	}
	s.readUntil(ctx, up, deadline)
	return u.answer(up, s.dst)
}

// awaitServer waits for a converter's answer beyond the deadline while the converter is well, so that it is the server that is slow: as
// long as a host would repeat its SYN. It tells until when the answer is to be read. A LAN host that has ended its side, as one
// does that has given up, is waited for only once more.
func (s *session) awaitServer(ctx context.Context, up *net.TCPConn, u *upstream, deadline time.Time) (time.Time, error) {
	began := deadline.Add(-s.set.ConnectTimeout)
	asked := false
	defer func() {
		if asked {
			up.SetKeepAlive(false)
		}
	}()
	last, ended := began.Add(s.set.ServerTimeout), began.Add(2*s.set.ConnectTimeout)
	for deadline.Before(last) {
		for _, t := range [2]time.Time{deadline.Add(-s.set.ConnectTimeout / 2), deadline} {
			if came, err := s.readable(ctx, up, t); came || err != nil {
				return deadline, err
			}
			if t == deadline {
				continue
			}
			up.SetKeepAliveConfig(patient)
			asked = true
			if !u.heardSince(began) {
				go s.r.suspect(u) // others may have asked by then
			}
		}
		if !u.heardSince(began) || !shaken(up) || s.early.ended.Load() && !deadline.Before(ended) || s.moved.Load() {
			break
		}
		began, deadline = deadline, deadline.Add(s.set.ConnectTimeout)
		if deadline.After(last) {
			deadline = last
		}
	}
	return deadline, nil
}

// patient has the kernel ask whether the converter still knows a connection on which nothing moves: one that was started again, while the line was
// cut, says no. Kernels that cannot do that with MPTCP (before 6.14) ask nobody; the connection then waits for its deadline.
var patient = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 5 * time.Second, Count: 9}

// readUntil sets the deadline for reading: now, if nobody waits any more.
func (s *session) readUntil(ctx context.Context, up *net.TCPConn, t time.Time) {
	up.SetReadDeadline(t)
	if s.early.gone.Load() || s.moved.Load() || ctx.Err() != nil && !s.early.sent.Load() { // perhaps before the line above
		up.SetReadDeadline(time.Unix(1, 0))
	}
}

// readable waits until there is something to read, an answer or an end, or until t.
func (s *session) readable(ctx context.Context, up *net.TCPConn, t time.Time) (bool, error) {
	rc, err := up.SyscallConn()
	if err != nil {
		return false, err
	}
	s.readUntil(ctx, up, t)
	var seen error
	err = rc.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, seen = unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return seen != unix.EAGAIN
	})
	if err == nil && seen != nil {
		return false, os.NewSyscallError("recvfrom", seen) // the kernel tells it once
	}
	return err == nil || s.early.gone.Load(), nil // the answer, whatever it is, is read next
}

// judge tells the upstream how data in the SYN came out.
func (s *session) judge(o mptcp.Outcome, p path) {
	s.r.count.fastOpen(o)
	p.u.judge(p.link.Name, o.SYNDataAcked && o.MPTCP, s.set.FastOpenRetry)
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
			reset(up)
			return nil, p, err
		}
	}
	s.r.count.direct.Add(1)
	return up, p, nil
}

// bondedRoom is the receive window of a bonded download, octets. It must hold what two links have under way when the second joins: 0.6 MB
// with 20 and 40 Mbit/s and 0.1 s of queue, and what comes by one while another keeps it waiting: with 1 MiB a line of 20 Mbit/s stood
// still for a link 0.3 s away (matrix rtt-1:10). With less the links wait for each other; and where data went in the SYN,
// Linux (6.18) at the other end sends more than is offered (kernel.LinkRoute says why), and what is beyond is thrown away and repeated
// late.
const bondedRoom = 2 << 20

// pair says how the engine shall copy.
func (s *session) pair(f *flow) engine.Pair {
	p := engine.Pair{Idle: s.set.IdleTimeout, HalfClosed: s.set.HalfClosedTimeout, Done: f.ended}
	if s.act == Bond {
		p.Room = bondedRoom
	}
	return p
}

// handOver gives both sockets to the engine. On an error both are closed.
func (s *session) handOver(up *net.TCPConn, p path) (err error) {
	f := s.flow(p, len(s.early.b))
	defer func() {
		if err != nil {
			f.uncount()
		}
	}()
	a, err := detach(s.lan)
	if err != nil {
		reset(up)
		return err
	}
	b, err := detach(up)
	if err != nil {
		engine.Reset(a)
		return err
	}
	s.r.flows.add(f)
	pair := s.pair(f)
	pair.LAN, pair.Up = a, b
	c, err := s.r.engine.Add(pair)
	if err != nil {
		s.r.flows.remove(f)
		return err
	}
	f.conn.Store(c)
	s.r.count.relayed.Add(1)
	return nil
}

// reset drops an upstream connection so that the peer sees it (RFC 8803 section 6.2.8: the client must reset).
func reset(c *net.TCPConn) {
	if rc, err := c.SyscallConn(); err == nil {
		rc.Control(func(fd uintptr) { engine.Abort(int(fd)) })
	}
	c.Close()
}

// getsockopt reads an option that is not a number. unix.GetsockoptString ends at a zero octet.
func getsockopt(fd, level, name int, b []byte) (int, error) {
	n := uint32(len(b))
	_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name),
		uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(unsafe.Pointer(&n)), 0)
	if e != 0 {
		return 0, os.NewSyscallError("getsockopt", e)
	}
	return min(int(n), len(b)), nil
}

// detach takes a socket out of the runtime's poller: a duplicate outlives the closed original. On an error the
// connection is reset.
func detach(c *net.TCPConn) (fd int, err error) {
	defer func() {
		if err != nil {
			c.SetLinger(0)
		}
		c.Close()
	}()
	rc, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	cerr := rc.Control(func(p uintptr) { fd, err = unix.FcntlInt(p, unix.F_DUPFD_CLOEXEC, 3) })
	if cerr != nil {
		err = cerr
	}
	if err != nil {
		return -1, fmt.Errorf("detach socket: %w", err)
	}
	return fd, nil
}

// savedDSCP reads the DSCP of the SYN that a transparent listener with TCP_SAVE_SYN kept; 0 without.
func savedDSCP(fd int) uint8 {
	var h [60]byte
	n, err := getsockopt(fd, unix.SOL_TCP, unix.TCP_SAVED_SYN, h[:])
	if err != nil {
		return 0
	}
	return dscpOf(h[:n])
}

// dscpOf takes the DSCP from an IPv4 or IPv6 header.
func dscpOf(h []byte) uint8 {
	switch {
	case len(h) < 2:
	case h[0]>>4 == 4:
		return h[1] >> 2
	case h[0]>>4 == 6:
		return (h[0]<<4 | h[1]>>4) >> 2
	}
	return 0
}
