// SPDX-License-Identifier: Apache-2.0

package concentrator

import (
	"context"
	"time"

	"spillway/relay/engine"
)

// sweep ends the sessions in which nothing moved for IdleTimeout and forgets clients long gone.
func (s *Server) sweep(ctx context.Context) {
	tick := time.NewTicker(min(time.Minute, s.cfg.IdleTimeout/4))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			s.clients.forget(now)
			s.endIdle(now)
		}
	}
}

func (s *Server) endIdle(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ses := range s.live {
		c := ses.conn.Load()
		if c == nil {
			continue // bounded by its own deadlines
		}
		up, down := ses.moved()
		if up+down != ses.seen {
			ses.seen, ses.quiet = up+down, now
		}
		if now.Sub(ses.quiet) >= s.cfg.IdleTimeout {
			s.stats.idle.Add(1)
			c.Abort()
		}
	}
}

// drain ends the connections without message, waits for the sessions to finish and resets those that don't. No session begins any more.
func (s *Server) drain(stop context.CancelFunc) {
	done := make(chan struct{})
	s.mu.Lock()
	s.empty = done
	if len(s.live) == 0 {
		close(done)
	}
	for e := s.unheard.Front(); e != nil; e = e.Next() {
		ses := e.Value.(*session)
		ses.gaveWay = true
		engine.ResetConn(ses.client)
	}
	s.mu.Unlock()
	limit := time.NewTimer(s.cfg.StopTimeout)
	defer limit.Stop()
	select {
	case <-done:
		return
	case <-limit.C:
	}
	stop()
	s.mu.Lock()
	if n := len(s.live); n > 0 {
		s.log.Warn("concentrator: reset the sessions that did not end", "sessions", n, "after", s.cfg.StopTimeout)
	}
	for ses := range s.live {
		if ses.client != nil {
			engine.ResetConn(ses.client)
		}
		if ses.server != nil {
			engine.ResetConn(ses.server)
		}
	}
	s.mu.Unlock()
	s.engine.Close()
	<-done
}
