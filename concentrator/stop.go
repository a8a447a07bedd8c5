// SPDX-License-Identifier: Apache-2.0

package concentrator

import (
	"context"
	"time"
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
		server := ses.server.Load()
		if server == nil {
			continue // bounded by its own deadlines
		}
		if moved := ses.up.Load() + ses.down.Load(); moved != ses.moved {
			ses.moved, ses.quiet = moved, now
		}
		if now.Sub(ses.quiet) >= s.cfg.IdleTimeout {
			s.stats.idle.Add(1)
			abort(ses.client)
			abort(server)
		}
	}
}

// drain ends the connections without message, waits for the sessions to finish and resets those that don't.
func (s *Server) drain(stop context.CancelFunc) {
	s.mu.Lock()
	for ses := range s.live {
		if ses.warm.CompareAndSwap(true, false) {
			abort(ses.client)
		}
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() { s.sessions.Wait(); close(done) }()
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
		abort(ses.client)
		if server := ses.server.Load(); server != nil {
			abort(server)
		}
	}
	s.mu.Unlock()
	<-done
}
