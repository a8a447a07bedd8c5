// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"spillway/mptcp"
	"spillway/relay/engine"
)

// attempt gets a connection to one upstream over one link and waits for its consent. others are links to try when this
// one gives no SYN-ACK soon.
func (s *session) attempt(p *path, others []*PlanLink) (*net.TCPConn, error) {
	b := s.begun
	s.begun, s.heard = nil, nil
	if b != nil {
		s.heard = b.heard
	}
	if b == nil && !p.u.certain(s.set.ConnectTimeout) {
		return nil, errOut
	}
	s.early.sent.Store(b != nil && b.sent)
	if b != nil && !b.sent && !p.u.up() {
		engine.ResetConn(b.up)
		return nil, os.ErrDeadlineExceeded // as those who were listed when it went out
	}
	began := time.Now()
	var opening []byte
	var err error
	follow := true // the lane speaks Convert alone
	if b != nil {
		began, opening = b.began, b.rest
	} else {
		s.cookie = p.u.theCookie()
		if opening, follow, err = p.u.opening(s.dst, s.ask); err != nil {
			return nil, err
		}
	}
	deadline := began.Add(s.set.ConnectTimeout)
	patience := deadline
	if len(others) > 0 && s.set.Race != "off" && s.set.ConnectTimeout > silence {
		patience = began.Add(silence)
	}
	ctx, leave := p.u.enlist()
	defer leave()
	u := p.u // a late timer must not look at p, which is the next attempt's by then
	doubt := time.AfterFunc(time.Until(began.Add(silence)), func() {
		if !u.heardSince(began) {
			s.r.suspect(u)
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
	defer time.AfterFunc(time.Until(began.Add(u.impatience())), func() {
		if !u.heardSince(began) && shaken(up) {
			s.r.examine(u, true)
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
		err = s.whyNot(err, up, before, ctx.Err() == nil && p.u.heardSince(began))
		engine.ResetConn(up)
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

// whyNot is what a failed exchange comes to, by what the kernel tells of the connection. before is what it had taken then; asked tells that
// the upstream has answered others since.
func (s *session) whyNot(err error, up *net.TCPConn, before uint64, asked bool) error {
	if o, e := mptcp.Inspect(up); e == nil && errors.Is(err, os.ErrDeadlineExceeded) {
		switch {
		case !o.Established && !s.early.sent.Load():
			err = errSilent
		case asked:
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
	return err
}

// shaken tells whether a connection's handshake is complete, and its first subflow there: then it is not the link that keeps us waiting.
func shaken(up *net.TCPConn) bool {
	o, err := mptcp.Inspect(up)
	return err == nil && o.Established
}

// shaken is the function shaken, also where the first subflow has been closed since: what the LAN host says is sent after the handshake.
func (s *session) shaken(up *net.TCPConn) bool { return s.early.sent.Load() || shaken(up) }

// reach gets a connection that the opening can be said on: a warm one, the winner of a race, or a new one, whose SYN will
// take the opening along when fast is true.
func (s *session) reach(ctx context.Context, p *path, others []*PlanLink, opening bool, patience time.Time) (up *net.TCPConn, fast bool, err error) {
	s.warm = false
	if s.act == Bond && s.dscp == 0 && !s.cold && (s.rule == nil || !s.set.Apart) {
		if w, ok := p.u.take(p.link, p.plain); ok {
			s.r.count.warm.Add(1)
			s.warm, p.addr, p.plain = true, w.addr, w.plain
			return w.c, false, nil
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
		PlainTCP: s.plainTCP(p), NotSentLowat: s.set.NotSentLowat, Sure: s.r.guests.total() > s.r.tokens}
	s.r.roomy(&o)
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
	if err == nil && o.Sure && !o.PlainTCP { // nothing was said yet
		if i, e := mptcp.Inspect(up); e == nil && !i.MPTCP {
			engine.ResetConn(up)
			s.noToken(p)
			up, err = nil, mptcp.ErrFallback
		}
	}
	if err != nil && !o.PlainTCP && noMPTCP(err) {
		o.PlainTCP, p.plain = true, true
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

// noMPTCP tells a kernel without MPTCP, or with it switched off, or without a token for one more connection.
func noMPTCP(err error) bool {
	return errors.Is(err, mptcp.ErrFallback) || errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.ENOPROTOOPT) || errors.Is(err, unix.EINVAL)
}

// judge tells the upstream how data in the SYN came out.
func (s *session) judge(o mptcp.Outcome, p path) {
	s.r.count.fastOpen(o)
	p.u.judge(p.link.Name, o.SYNDataAcked && (o.MPTCP || p.plain), s.set.FastOpenRetry)
}
