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
		l, err := s.listen(ctx, at, mptcp.ListenOptions{MPTCP: true, FastOpenQueue: fastOpenQueue, NoCookie: true, NotSentLowat: notSent})
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

// debug writes what concerns one connection.
func (s *Server) debug(msg string, args ...any) {
	s.log.Debug("concentrator: "+msg, args...)
}
