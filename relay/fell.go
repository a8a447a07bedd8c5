// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"time"

	"spillway/mptcp"
	"spillway/sockopt"
)

const (
	fellLimit = 4                // connections in a row that lost MPTCP before their first octet, after which others are plain TCP from the beginning
	fellRest  = 10 * time.Second // until one of them tries again
)

// stripped tells whether MPTCP is lost between a link and this upstream, so that a connection should be plain TCP from the beginning: an
// MPTCP socket that is none can lose octets (engine.Pair.Fell). Every fellRest one connection is to find out whether that still holds.
func (u *upstream) stripped(link string, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	v := u.syn[link]
	if !v.lost() || u.Protocol == Transparent {
		return false
	}
	if now.Before(v.again) {
		return true
	}
	v.again = now.Add(fellRest)
	return false
}

// loses is stripped of who does not begin a connection.
func (u *upstream) loses(link string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.syn[link].lost()
}

func (v *synVerdict) lost() bool { return v != nil && v.fell >= fellLimit }

// sawMPTCP remembers whether a connection kept MPTCP.
func (u *upstream) sawMPTCP(link string, kept bool, now time.Time) {
	u.mu.Lock()
	v := u.verdict(link)
	was := v.lost()
	if kept {
		v.fell = 0
	} else if v.fell++; v.fell >= fellLimit {
		v.fell, v.again = fellLimit, now.Add(fellRest)
	}
	is := v.lost()
	u.mu.Unlock()
	if is != was {
		u.relay.log.Info("relay: MPTCP on this link", "upstream", u.Name, "link", link, "lost", is)
	}
}

// choose says how an attempt over a link goes: without MPTCP where that is lost, and for the rest of a second in which the kernel had no
// token: five draws for each connection cost more than all else of it.
func (s *session) choose(u *upstream, link *PlanLink) path {
	now := time.Now()
	return path{u: u, link: link, plain: s.act == Bond && (now.Unix() == s.r.spent.Load() || u.stripped(link.Name, now))}
}

// noToken notes that the kernel had none for a connection over p, which goes without.
func (s *session) noToken(p *path) {
	p.plain = true
	s.r.spent.Store(time.Now().Unix())
}

// fellBack looks whether a connection that was to be MPTCP is plain TCP by now.
func (s *session) fellBack(up int, p path) bool {
	switch {
	case s.plainTCP(p):
		return false
	case p.u == nil:
		return mptcp.FellBack(up)
	}
	return p.u.fellBack(up, p.link.Name)
}

// fellBack looks whether a connection that was to be MPTCP is plain TCP by now, and remembers it of the link. One whose SYN had to be repeated
// proves nothing of the line: the kernel leaves the option out after two repetitions (net.mptcp.syn_retrans_before_tcp_fallback).
func (u *upstream) fellBack(up int, link string) bool {
	fell, proves := mptcp.FellBack(up), u.Protocol != Transparent
	if fell && proves {
		info, err := sockopt.TCPInfo(up)
		proves = err == nil && info.Total_retrans == 0
	}
	if proves {
		u.sawMPTCP(link, !fell, time.Now())
	}
	return fell
}
