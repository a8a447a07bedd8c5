// SPDX-License-Identifier: Apache-2.0

package concentrator

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"spillway/convert"
	"spillway/mptcp"
	"spillway/relay/engine"
	"spillway/sockopt"
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
	begin  func(netip.AddrPort, mptcp.DialOptions, []byte) (fd, sent int, err error) // dial without waiting, for the lane

	listeners []*net.TCPListener // until the engine has them
	addrs     []netip.AddrPort
	engine    *engine.Engine
	sendMost  int // engine.Pair.SendMost
	young     keeper
	work      context.Context // ends when sessions must
	scarce    atomic.Bool     // the last accept lacked descriptors or memory
	failed    func(error)     // ends Run

	mu      sync.Mutex
	live    map[*session]struct{}
	unheard list.List     // of them, *session: with a goroutine, and without a message from somebody who may ask; see giveWay
	empty   chan struct{} // when stopping: closed when the last session has ended
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
		clients: clients{seats: cfg.MaxSessions, maxSessions: cfg.MaxPerClient, maxPending: cfg.MaxPending, errorsASec: cfg.ErrorRate,
			all: map[netip.Addr]*client{}},
		supported: []uint8{convert.OptionMPTCP, convert.OptionTimestamps, convert.OptionSACKPermitted},
		listen:    mptcp.Listen,
		dial:      mptcp.Dial,
		begin:     mptcp.Start,
		live:      map[*session]struct{}{},
		sendMost:  sendMost(),
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
		s.addrs = append(s.addrs, l.Addr().(*net.TCPAddr).AddrPort())
	}
	return nil
}

// Addrs are the addresses the server listens on, with the ports the kernel chose.
func (s *Server) Addrs() []netip.AddrPort { return slices.Clone(s.addrs) }

// Run serves until ctx ends, then accepts no more and gives the sessions StopTimeout to finish.
func (s *Server) Run(ctx context.Context) error {
	if s.addrs == nil {
		if err := s.Open(ctx); err != nil {
			return err
		}
	}
	for _, at := range s.Addrs() {
		s.log.Info("concentrator: listening", "address", at)
	}
	var stop context.CancelFunc
	s.work, stop = context.WithCancel(context.WithoutCancel(ctx)) // sessions outlive ctx for a while
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.failed = cancel
	var err error
	if s.engine, err = engine.New(runtime.NumCPU()); err != nil {
		s.closeListeners()
		return err
	}
	defer s.engine.Close()
	shut, err := s.attend()
	if err != nil {
		shut()
		return err
	}
	var sweeping sync.WaitGroup
	sweeping.Go(func() { s.sweep(ctx) })
	<-ctx.Done()
	shut()
	sweeping.Wait()
	s.drain(stop)
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// attend has the engine accept. shut closes all listening sockets.
func (s *Server) attend() (shut func(), err error) {
	var doors []*engine.Listener
	shut = func() {
		for _, d := range doors {
			d.Close()
		}
		s.closeListeners()
	}
	for _, l := range s.listeners {
		fd, err := engine.Duplicate(l)
		if err != nil {
			return shut, fmt.Errorf("listen on %v: %w", l.Addr(), err)
		}
		// Accepted sockets inherit it: a session's messages are small, and each is awaited.
		sockopt.SetInt(fd, unix.SOL_TCP, unix.TCP_NODELAY, 1)
		d, err := s.engine.Listen(fd, s.arrive)
		if err != nil {
			unix.Close(fd)
			return shut, fmt.Errorf("listen on %v: %w", l.Addr(), err)
		}
		doors = append(doors, d)
		l.Close() // the runtime's poller would wake a thread for each connection
	}
	s.listeners = nil
	return shut, nil
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
