// SPDX-License-Identifier: Apache-2.0

package concentrator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"spillway/convert"
	"spillway/mptcp"
)

// fastOpenQueue is how many connections may be between SYN data and third ACK; above, the kernel takes SYNs without data.
const fastOpenQueue = 1024

// Server is a converter. New makes it, Open opens its sockets, Run serves.
type Server struct {
	cfg          Config
	log          *slog.Logger
	jar          jar
	destinations destinations
	clients      clients
	stats        counters
	supported    []uint8 // TCP option kinds named to Info, MPTCP first
	waits        bool    // for the third ACK before writing; false only in the test that shows why

	listen func(context.Context, netip.AddrPort, mptcp.ListenOptions) (*net.TCPListener, error)
	dial   func(context.Context, netip.AddrPort, mptcp.DialOptions) (*net.TCPConn, error)

	listeners []*net.TCPListener
	mu        sync.Mutex
	live      map[*session]struct{}
	sessions  sync.WaitGroup
}

// New checks the configuration.
func New(cfg Config, log *slog.Logger) (*Server, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	return &Server{
		cfg: cfg, log: log, waits: true,
		jar:          jar{secret: cfg.CookieSecret, life: cfg.CookieLife},
		destinations: destinations{allow: cfg.AllowDestinations, deny: cfg.DenyDestinations},
		clients: clients{maxSessions: cfg.MaxPerClient, maxPending: cfg.MaxPending, errorsASec: cfg.ErrorRate,
			all: map[netip.Addr]*client{}},
		supported: []uint8{convert.OptionMPTCP, convert.OptionTimestamps, convert.OptionSACKPermitted},
		listen:    mptcp.Listen,
		dial:      mptcp.Dial,
		live:      map[*session]struct{}{},
	}, nil
}

// Open opens the listening sockets, all or none. Run does it if the caller didn't.
func (s *Server) Open(ctx context.Context) error {
	if !mptcp.Probe().MPTCP {
		s.log.Warn("concentrator: this kernel has no Multipath TCP: clients get plain TCP, without bonding",
			"remedy", "a kernel with CONFIG_MPTCP (5.6 or later), and sysctl -w net.mptcp.enabled=1")
		s.supported = s.supported[1:]
	}
	for _, at := range s.cfg.Listen {
		l, err := s.listen(ctx, at, mptcp.ListenOptions{MPTCP: true, FastOpenQueue: fastOpenQueue, NoCookie: true})
		if err != nil {
			s.closeListeners()
			return fmt.Errorf("listen on %v: %w", at, err)
		}
		s.listeners = append(s.listeners, l)
	}
	return nil
}

// Addrs are the addresses the server listens on, with the ports the kernel chose.
func (s *Server) Addrs() []netip.AddrPort {
	var list []netip.AddrPort
	for _, l := range s.listeners {
		list = append(list, l.Addr().(*net.TCPAddr).AddrPort())
	}
	return list
}

// Run serves until ctx ends, then accepts no more and gives the sessions StopTimeout to finish.
func (s *Server) Run(ctx context.Context) error {
	if s.listeners == nil {
		if err := s.Open(ctx); err != nil {
			return err
		}
	}
	for _, at := range s.Addrs() {
		s.log.Info("concentrator: listening", "address", at)
	}
	work, stop := context.WithCancel(context.WithoutCancel(ctx)) // sessions outlive ctx for a while
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var accepting sync.WaitGroup
	for _, l := range s.listeners {
		accepting.Go(func() {
			if err := s.accept(ctx, work, l); err != nil {
				cancel(err)
			}
		})
	}
	accepting.Go(func() { s.sweep(ctx) })
	<-ctx.Done()
	s.closeListeners()
	accepting.Wait()
	s.drain(stop)
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (s *Server) closeListeners() {
	for _, l := range s.listeners {
		l.Close()
	}
}

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
	s.mu.Lock()
	ses.quiet = ses.accepted
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
	s.mu.Unlock()
	s.stats.up.Add(ses.up.Load())
	s.stats.down.Add(ses.down.Load())
	s.stats.active.Add(-1)
}

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

// drain waits for the sessions to finish and resets those that don't.
func (s *Server) drain(stop context.CancelFunc) {
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

func (s *Server) debug(msg string, args ...any) {
	s.log.Debug("concentrator: "+msg, args...)
}
