// SPDX-License-Identifier: Apache-2.0

package concentrator

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"spillway/convert"
	"spillway/mptcp"
	"spillway/relay/engine"
	"spillway/testbed/await"
)

// laned has the kernel hand connections over with their first octets, as those whose message is in the SYN come, so that all are
// for the lane; and fails the test when a goroutine dials.
func laned(t *testing.T) func(*Server) {
	return func(s *Server) {
		s.listen = func(ctx context.Context, at netip.AddrPort, _ mptcp.ListenOptions) (*net.TCPListener, error) {
			l, err := mptcp.Listen(ctx, at, mptcp.ListenOptions{})
			if err == nil {
				onSocket(t, l, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_TCP, unix.TCP_DEFER_ACCEPT, 30) })
			}
			return l, err
		}
		s.dial = func(context.Context, netip.AddrPort, mptcp.DialOptions) (*net.TCPConn, error) {
			t.Error("a goroutine has dialled")
			return nil, unix.ECONNREFUSED
		}
	}
}

func onSocket(t *testing.T, l *net.TCPListener, fn func(fd int) error) {
	rc, err := l.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	if err := rc.Control(func(fd uintptr) { failed = fn(int(fd)) }); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
}

// echoes tells whether the only session so far is answered, has its data echoed whole, and is counted.
func (r *rig) echoes(c *net.TCPConn, data []byte) {
	r.t.Helper()
	if m := answer(r.t, c); m.Error != nil {
		r.t.Fatal(m.Error)
	}
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, data) {
		r.t.Errorf("%d octets echoed, %v; want %d", len(got), err, len(data))
	}
	eventually(r.t, "the session ends", func() bool { return r.server.Stats().Active == 0 })
	if st := r.server.Stats(); st.Sessions != 1 || st.Up != uint64(len(data)) || st.Down != uint64(len(data)) {
		r.t.Errorf("counted %+v", st)
	}
}

func TestLaneCarriesFromMessageToEnd(t *testing.T) {
	r := start(t, nil, laned(t))
	at := origin(t, false, echo)
	data := random(300 << 10)
	c := r.connect()
	go func() {
		c.Write(append(to(t, at), data...)) // the first with the message
		c.CloseWrite()
	}()
	r.echoes(c, data)
}

// The answer waits a moment for what the server says to a request, and comes alone where the server says nothing, or the client has more to say.
func TestLaneHoldsTheAnswerBack(t *testing.T) {
	r := start(t, nil, laned(t))
	c, m := r.ask(append(to(t, origin(t, false, echo)), "request"...))
	got := make([]byte, 7)
	if _, err := io.ReadFull(c, got); m.Error != nil || string(got) != "request" || err != nil {
		t.Errorf("%+v, %q, %v", m, got, err)
	}
	c.CloseWrite()
	heard := make(chan []byte, 1)
	silent := origin(t, false, func(c *net.TCPConn) {
		b, _ := io.ReadAll(c)
		heard <- b
	})
	c, m = r.ask(append(to(t, silent), "request"...))
	if m.Error != nil {
		t.Error(m.Error)
	}
	c.Write([]byte(" and more"))
	c.CloseWrite()
	if b, err := io.ReadAll(c); len(b) > 0 || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if b := await.Value(t, "what the silent server heard", heard); string(b) != "request and more" {
		t.Errorf("the silent server heard %q", b)
	}
	eventually(t, "all have ended", func() bool { return r.server.Stats().Active == 0 })
	if st := r.server.Stats(); st.Sessions != 2 || st.Up != 7+16 || st.Down != 7 {
		t.Errorf("counted %+v", st)
	}
}

// after has the loop wait, with a connection to a server that it has begun, until two values were taken.
func after(two <-chan bool, begin func(netip.AddrPort, mptcp.DialOptions, []byte) (int, int, error)) func(netip.AddrPort, mptcp.DialOptions, []byte) (int, int, error) {
	return func(at netip.AddrPort, o mptcp.DialOptions, hello []byte) (int, int, error) {
		fd, sent, err := begin(at, o, hello)
		<-two
		<-two
		return fd, sent, err
	}
}

// A request that comes after the message, as the router's do, goes to the server at once, and the answer waits for what the server says to it: a server
// in this process is not always faster than 10 ms, so there are some tries.
func TestLaneHearsTheRequestBeforeItAnswers(t *testing.T) {
	at, goOn := origin(t, false, echo), make(chan bool)
	r := start(t, nil, func(s *Server) { laned(t)(s); s.begin = after(goOn, s.begin) })
	together, tries := false, 0
	for ; !together && tries < 20; tries++ {
		c := r.connect()
		c.Write(to(t, at))
		goOn <- true // it was accepted
		c.Write([]byte("request"))
		goOn <- true
		c.CloseWrite()
		m := answer(t, c)
		if b, err := io.ReadAll(c); m.Error != nil || string(b) != "request" || err != nil {
			t.Fatalf("%+v, %q, %v", m, b, err)
		}
		together = dataSegments(t, c) == 1
	}
	if !together {
		t.Error("the answer always came alone")
	}
	eventually(t, "all have ended", func() bool { return r.server.Stats().Active == 0 })
	if st := r.server.Stats(); st.Up != uint64(7*tries) || st.Down != uint64(7*tries) {
		t.Errorf("counted %+v after %d connections", st, tries)
	}
}

// dataSegments tells how many segments with data a TCP connection was sent.
func dataSegments(t *testing.T, c *net.TCPConn) (n uint32) {
	rc, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := rc.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.SOL_TCP, unix.TCP_INFO); err == nil {
			n = info.Data_segs_in
		}
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// What is said before the server is there, and is more than the lane reads, comes whole and in order.
func TestLaneHearsNoMoreThanItHasRoomFor(t *testing.T) {
	at, goOn := origin(t, false, echo), make(chan bool)
	r := start(t, nil, func(s *Server) { laned(t)(s); s.begin = after(goOn, s.begin) })
	c := r.connect()
	c.Write(to(t, at))
	goOn <- true
	data := random(50 << 10)
	go func() {
		c.Write(data[:1000])
		goOn <- true
		data := data[1000:]
		for b := data; len(b) > 0; b = b[min(len(b), 1000):] { // several events before and after the answer
			c.Write(b[:min(len(b), 1000)])
			time.Sleep(3 * time.Millisecond)
		}
		c.CloseWrite()
	}()
	r.echoes(c, data)
}

// What the lane can't do a goroutine finishes, and says the same as ever.
func TestLaneGivesUp(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().(*net.TCPAddr).AddrPort()
	l.Close()
	r := start(t, func(c *Config) { c.DenyDestinations = prefixes("127.0.0.9/32") }, laned(t))
	r.refused(to(t, nobody), convert.CodeConnectionReset)
	r.refused(to(t, netip.MustParseAddrPort("127.0.0.9:80")), convert.CodeNotAuthorized)
	r.refused(unhex(t, "010222637f010000"), convert.CodeUnsupportedMessage)
	if _, m := r.ask(message(t, &convert.Message{Info: true})); m.Supported == nil {
		t.Errorf("info: %+v", m)
	}
	c := r.connect()
	half := to(t, origin(t, false, echo))
	c.Write(half[:5])
	eventually(t, "it is accepted", func() bool { return r.server.Stats().Active > 0 })
	engine.ResetConn(c)
	eventually(t, "all have ended", func() bool { return r.server.Stats().Active == 0 })
}

// slowServer has each connection to the server begin only after a while that the lane does not wait.
func slowServer(at netip.AddrPort) func(netip.AddrPort, mptcp.DialOptions, []byte) (int, int, error) {
	return func(netip.AddrPort, mptcp.DialOptions, []byte) (int, int, error) {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return -1, 0, err
		}
		late, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			unix.Close(fd)
			return -1, 0, err
		}
		time.AfterFunc(400*time.Millisecond, func() {
			if at.IsValid() {
				unix.Connect(late, mptcp.Sockaddr(at, false))
			}
			unix.Close(late)
		})
		return fd, 0, nil
	}
}

func TestLaneHandsASlowServerOver(t *testing.T) {
	at := origin(t, false, echo)
	r := start(t, nil, func(s *Server) { laned(t)(s); s.begin = slowServer(at) })
	c, m := r.ask(append(to(t, at), "slow"...))
	c.CloseWrite()
	if got, err := io.ReadAll(c); m.Error != nil || string(got) != "slow" || err != nil {
		t.Errorf("answer %+v, %q, %v", m, got, err)
	}
	eventually(t, "the session ends", func() bool { return r.server.Stats().Active == 0 })
}

func TestLaneHandsASilentServerOver(t *testing.T) {
	r := start(t, func(c *Config) { c.DialTimeout = 300 * time.Millisecond }, func(s *Server) { laned(t)(s); s.begin = slowServer(netip.AddrPort{}) })
	if e := r.refused(to(t, netip.MustParseAddrPort("127.0.0.1:9")), convert.CodeUnreachable); e.ICMPCode() != 1 {
		t.Errorf("ICMP code %d", e.ICMPCode())
	}
}

// As TestHangingUpEndsTheWaitForAServer, for a server that the lane has asked.
func TestHangingUpAfterTheLane(t *testing.T) {
	r := start(t, func(c *Config) { c.DialTimeout = time.Hour }, func(s *Server) { laned(t)(s); s.begin = slowServer(netip.AddrPort{}) })
	c := r.connect()
	c.Write(to(t, netip.MustParseAddrPort("127.0.0.1:9")))
	eventually(t, "it is accepted", func() bool { return r.server.Stats().Active == 1 })
	c.CloseWrite()
	time.Sleep(2*hangUpEvery + hangUpEvery/2)
	if n := r.server.Stats().Active; n != 1 {
		t.Fatalf("%d sessions though the client waits", n)
	}
	engine.ResetConn(c)
	eventually(t, "its place is free", func() bool { return r.server.Stats().Active == 0 })
}

func TestLaneKeepsTheLimits(t *testing.T) {
	r := start(t, func(c *Config) { c.MaxPerClient = 1 }, laned(t))
	at := origin(t, false, echo)
	first, m := r.ask(to(t, at))
	if m.Error != nil {
		t.Fatal(m.Error)
	}
	r.refused(to(t, at), convert.CodeResourceExceeded)
	engine.ResetConn(first)
	eventually(t, "room again", func() bool { return r.server.Stats().Active == 0 })
	if _, m := r.ask(to(t, at)); m.Error != nil {
		t.Errorf("when there is room again: %v", m.Error)
	}
}

// A server that accepts and then resets is no server, though the lane has heard of the reset already: the kernel tells it once.
func TestAServerThatWasResetIsNotWaitedFor(t *testing.T) {
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.DialTCP("tcp4", nil, l.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	server, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	server.SetLinger(0)
	server.Close()
	eventually(t, "reset", func() bool { _, err := c.Write([]byte("x")); return err != nil })
	c.SetWriteDeadline(time.Now().Add(2 * time.Second))
	if err := whenConnected(c); !errors.Is(err, unix.ECONNRESET) {
		t.Error(err)
	}
}
