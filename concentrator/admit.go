// SPDX-License-Identifier: Apache-2.0

package concentrator

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"spillway/relay/engine"
)

// arrive is called by one of the engine's loops for each connection. Want of descriptors or memory is waited out: clients queue in the
// kernel meanwhile.
func (s *Server) arrive(a engine.Arrival) {
	switch {
	case a.Err == nil:
		s.scarce.Store(false)
		s.admit(a)
	case passing(a.Err):
		if !s.scarce.Swap(true) {
			s.log.Warn("concentrator: accept", "err", a.Err)
		}
	default:
		s.failed(fmt.Errorf("accept: %w", a.Err))
	}
}

func passing(err error) bool {
	for _, e := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EPERM, syscall.EPROTO} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// refusing is how many connections above MaxSessions get an Error TLV; more are reset, which costs nothing.
const refusing = 256

// admit counts a connection in and starts its session.
func (s *Server) admit(a engine.Arrival) {
	from := a.From.Addr().Unmap().WithZone("")
	ses := &session{s: s, peer: a.From, from: from, key: clientKey(from, s.cfg.ClientPrefix), accepted: time.Now()}
	s.stats.accepted.Add(1)
	active := int(s.stats.active.Add(1))
	full := active > s.cfg.MaxSessions && !s.giveWay()
	if full && active > s.cfg.MaxSessions+refusing || !s.enlist(ses) {
		s.stats.active.Add(-1)
		s.stats.unsent.Add(1)
		engine.Reset(a.FD)
		return
	}
	ses.entered = !full && s.clients.enter(ses.key)
	ses.pending = ses.entered
	ses.quiet = ses.accepted
	if ses.entered && a.InLoop() && ses.onLane(a) {
		return
	}
	go ses.proceed(a.FD)
}

// messageComes is how long a connection has for its message before it may have to give way: one follows the third ACK at once, unless it was lost.
const messageComes = 200 * time.Millisecond

// giveWay makes room, so that strangers, and those who say nothing, keep no seat from others: who has waited longest without a message from somebody
// who may ask is reset. false: nobody has waited for long.
func (s *Server) giveWay() bool {
	s.mu.Lock()
	first := s.unheard.Front()
	if first == nil || time.Since(first.Value.(*session).accepted) < messageComes {
		s.mu.Unlock()
		return false
	}
	ses := s.unheard.Remove(first).(*session)
	ses.gaveWay = true
	s.mu.Unlock()
	s.stats.gaveWay.Add(1)
	engine.ResetConn(ses.client)
	return true
}

// seat gives the session a seat that it keeps, as its client may ask; false: the client has its share, or the session has just given way.
func (ses *session) seat() bool {
	if ses.seated {
		return true
	}
	if !ses.s.clients.seat(ses.key) {
		return false
	}
	ses.seated = true
	ses.s.mu.Lock()
	defer ses.s.mu.Unlock()
	ses.s.unlist(ses)
	return !ses.gaveWay
}

// unlist takes a session from those that may have to give way. mu is held.
func (s *Server) unlist(ses *session) {
	if ses.turn != nil {
		s.unheard.Remove(ses.turn) // which does nothing if it is there no more
		ses.turn = nil
	}
}

// enlist counts a session among the living; false when none may begin any more.
func (s *Server) enlist(ses *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.empty != nil {
		return false
	}
	s.live[ses] = struct{}{}
	return true
}

// forget counts a session out.
func (s *Server) forget(ses *session) {
	ses.connected()
	if ses.entered {
		s.clients.leave(ses.key, ses.seated)
	}
	s.mu.Lock()
	delete(s.live, ses)
	s.unlist(ses)
	up, down := ses.moved()
	s.stats.up.Add(up) // with the mutex held, so that Stats sees the octets once
	s.stats.down.Add(down)
	if s.empty != nil && len(s.live) == 0 {
		close(s.empty)
	}
	s.mu.Unlock()
	s.stats.active.Add(-1)
}
