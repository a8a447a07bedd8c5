// SPDX-License-Identifier: Apache-2.0

package concentrator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"spillway/convert"
)

// accept serves one listener. Want of descriptors or memory is waited out: clients queue in the kernel meanwhile.
func (s *Server) accept(ctx, work context.Context, l *net.TCPListener) error {
	for pause := time.Duration(0); ; {
		c, err := l.AcceptTCP()
		switch {
		case err == nil:
			pause = 0
			s.admit(work, c)
		case ctx.Err() != nil:
			return nil
		case passing(err):
			if pause == 0 {
				s.log.Warn("concentrator: accept", "err", err)
			}
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			time.Sleep(pause)
		default:
			return fmt.Errorf("accept on %v: %w", l.Addr(), err)
		}
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
func (s *Server) admit(work context.Context, c *net.TCPConn) {
	from := c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap().WithZone("")
	ses := &session{s: s, client: c, from: from, key: clientKey(from), accepted: time.Now()}
	s.stats.accepted.Add(1)
	active := int(s.stats.active.Add(1))
	if active > s.cfg.MaxSessions+refusing {
		s.stats.active.Add(-1)
		s.stats.unsent.Add(1)
		abort(c)
		return
	}
	entered := active <= s.cfg.MaxSessions && s.clients.enter(ses.key)
	ses.pending = entered
	ses.warm.Store(entered)
	ses.quiet = ses.accepted
	s.mu.Lock()
	s.live[ses] = struct{}{}
	s.mu.Unlock()
	s.sessions.Go(func() {
		defer s.forget(ses, entered)
		if entered {
			ses.serve(work)
			return
		}
		defer c.Close()
		ses.refuse(&convert.Error{Code: convert.CodeResourceExceeded, Value: []byte{uint8(s.cfg.RetryAfter / time.Second)}})
	})
}

// forget counts a session out.
func (s *Server) forget(ses *session, entered bool) {
	ses.connected()
	if entered {
		s.clients.leave(ses.key)
	}
	s.mu.Lock()
	delete(s.live, ses)
	s.stats.up.Add(ses.up.Load()) // with the mutex held, so that Stats sees the octets once
	s.stats.down.Add(ses.down.Load())
	s.mu.Unlock()
	s.stats.active.Add(-1)
}
