// SPDX-License-Identifier: Apache-2.0

package concentrator

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"spillway/convert"
	"spillway/mptcp"
	"spillway/relay/engine"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBadMessages(t *testing.T) {
	r := start(t, nil, nil)
	for _, c := range []struct {
		name, hex string
		code      convert.Code
	}{
		{"version 2", "020622630a05005000000000000000000000ffffc0000201", convert.CodeUnsupportedVersion},
		{"version 0", "000622630a05005000000000000000000000ffffc0000201", convert.CodeUnsupportedVersion},
		{"TLV of length 0", "010622630a00005000000000000000000000ffffc0000201", convert.CodeMalformed},
		{"TLV beyond the message", "010222630a050050", convert.CodeMalformed},
		{"two connects", "010b22630a05005000000000000000000000ffffc00002010a0501bb20010db8000000000000000000000001", convert.CodeMalformed},
		{"type 0", "0102226300010000", convert.CodeUnsupportedMessage},
		{"unknown type", "010222637f010000", convert.CodeUnsupportedMessage},
		{"a converter's TLV", "01032263150200001e000000", convert.CodeUnsupportedMessage},
		{"multicast", "010622630a05005000000000000000000000ffffe0000001", convert.CodeMalformed},
		{"IPv6 multicast", "010622630a050050ff020000000000000000000000000001", convert.CodeMalformed},
		{"broadcast", "010622630a05005000000000000000000000ffffffffffff", convert.CodeMalformed},
		{"short connect", "010522630a04005000000000000000000000ffff", convert.CodeMalformed},
		{"option of length 0", "010722630a06005000000000000000000000ffffc00002011e000000", convert.CodeMalformed},
		{"option too long", "010722630a06005000000000000000000000ffffc00002011e0c0000", convert.CodeMalformed},
		{"port 0", "010622630a05000000000000000000000000ffffc0000201", convert.CodeMalformed},
		{"nothing", "01012263", convert.CodeMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := *r
			r.t = t
			b := unhex(t, c.hex)
			e := r.refused(b, c.code)
			switch c.code {
			case convert.CodeUnsupportedVersion:
				if v := e.Versions(); !bytes.Equal(v, []byte{1}) {
					t.Errorf("versions %v", v)
				}
			default:
				if !bytes.Equal(e.Value, append([]byte{0}, b...)) {
					t.Errorf("echo %x of %x", e.Value, b)
				}
			}
		})
	}
}

func TestLoopbackIsForbiddenUnlessAllowed(t *testing.T) {
	r := start(t, func(c *Config) { c.AllowDestinations = nil }, nil)
	r.refused(to(t, netip.MustParseAddrPort("127.0.0.1:80")), convert.CodeMalformed)
	r.refused(to(t, netip.MustParseAddrPort("[::1]:80")), convert.CodeMalformed)
	r.refused(to(t, netip.MustParseAddrPort("169.254.169.254:80")), convert.CodeNotAuthorized)
}

func TestNotConvertIsClosedInSilence(t *testing.T) {
	r := start(t, nil, nil)
	for _, b := range []string{"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x00\xc8", "\x01\x00\x22\x63"} {
		c := r.connect()
		c.Write([]byte(b))
		if got, err := io.ReadAll(c); len(got) != 0 || err != nil && !isReset(err) {
			t.Errorf("%q: answered %x, %v", b, got, err)
		}
	}
	eventually(t, "counted", func() bool { return r.server.Stats().NotConvert == 3 })
}

func TestAnErrorIsNeverAnswered(t *testing.T) {
	r := start(t, nil, nil)
	c := r.connect()
	c.Write(unhex(t, "010222631e010001"))
	if got, err := io.ReadAll(c); len(got) != 0 || err != nil && !isReset(err) {
		t.Errorf("answered %x, %v", got, err)
	}
}

func TestStrangersAreNotAuthorized(t *testing.T) {
	r := start(t, func(c *Config) { c.AllowClients = prefixes("192.0.2.0/24") }, nil)
	r.refused(to(t, netip.MustParseAddrPort("127.0.0.1:9")), convert.CodeNotAuthorized)
	r.refused(message(t, &convert.Message{Info: true}), convert.CodeNotAuthorized)
}

func TestCookieIsHandedOutAndAccepted(t *testing.T) {
	r := start(t, func(c *Config) { c.CookieSecret = []byte("0123456789abcdef") }, nil)
	connect := &convert.Connect{Addr: origin(t, false, echo)}
	cookie := r.refused(message(t, &convert.Message{Connect: connect}), convert.CodeMissingCookie).Cookie()
	if len(cookie) != cookieLen {
		t.Fatalf("cookie %x", cookie)
	}
	if _, m := r.ask(message(t, &convert.Message{Connect: connect, Cookie: cookie})); m.Error != nil {
		t.Errorf("with the cookie: %v", m.Error)
	}
	cookie[3] ^= 1
	r.refused(message(t, &convert.Message{Connect: connect, Cookie: cookie}), convert.CodeNotAuthorized)
	r.refused(message(t, &convert.Message{Connect: connect, Cookie: []byte{}}), convert.CodeNotAuthorized)
}

func TestToken(t *testing.T) {
	r := start(t, func(c *Config) { c.AllowClients, c.Token = nil, []byte("swordfish") }, nil)
	connect := &convert.Connect{Addr: origin(t, false, echo)}
	if _, m := r.ask(message(t, &convert.Message{Connect: connect, Cookie: []byte("swordfish")})); m.Error != nil {
		t.Errorf("with the token: %v", m.Error)
	}
	r.refused(message(t, &convert.Message{Connect: connect}), convert.CodeNotAuthorized)
	r.refused(message(t, &convert.Message{Connect: connect, Cookie: []byte("swordfisch")}), convert.CodeNotAuthorized)
}

func TestUnsupportedOptions(t *testing.T) {
	r := start(t, nil, nil)
	at := origin(t, false, echo)
	for _, c := range []struct{ options, kinds string }{
		{"1d04abcd", "1d"},
		{"1d0222021e02", "1d22"},
		{"1e0c00011122334455667788", "1e"}, // MPTCP with content
		{"220ac1c2c3c4c5c6c7c8", "22"},
		{"080a0000000100000000", "08"}, // timestamps with values
	} {
		e := r.refused(message(t, &convert.Message{Connect: &convert.Connect{Addr: at, Options: unhex(t, c.options)}}), convert.CodeUnsupportedOption)
		if got := hex.EncodeToString(e.Options()); got != c.kinds {
			t.Errorf("%s: kinds %s, want %s", c.options, got, c.kinds)
		}
	}
	for _, o := range []string{"020405b4", "030307", "0402", "0802", "1e02", "0101040208021e02", ""} {
		_, m := r.ask(message(t, &convert.Message{Connect: &convert.Connect{Addr: at, Options: unhex(t, o)}}))
		if m.Error != nil || m.ExtendedHeader == nil {
			t.Errorf("%s: answer %+v, %v", o, m, m.Error)
		}
	}
}

func TestTooManySessions(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"of one client": func(c *Config) { c.MaxPerClient = 1 },
		"at all":        func(c *Config) { c.MaxSessions = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, func(c *Config) { change(c); c.RetryAfter = 7 * time.Second }, nil)
			at := origin(t, false, echo)
			first, m := r.ask(to(t, at))
			if m.Error != nil {
				t.Fatal(m.Error)
			}
			if e := r.refused(to(t, at), convert.CodeResourceExceeded); e.Wait() != 7*time.Second {
				t.Errorf("wait %v", e.Wait())
			}
			engine.ResetConn(first)
			eventually(t, "room again", func() bool { return r.server.Stats().Active == 0 })
			if _, m := r.ask(to(t, at)); m.Error != nil {
				t.Errorf("when there is room again: %v", m.Error)
			}
		})
	}
}

// A client that takes what it gets leaves seats to others, and takes them when the others have gone.
func TestOneClientLeavesSeatsToOthers(t *testing.T) {
	for name, prepare := range map[string]func(*Server){"lane": laned(t), "goroutine": offLane} {
		t.Run(name, func(t *testing.T) {
			r := start(t, func(c *Config) { c.MaxSessions = 10 }, prepare)
			at := origin(t, false, echo)
			for k := range 8 {
				if _, m := r.ask(to(t, at)); m.Error != nil {
					t.Fatalf("connection %d: %v", k, m.Error)
				}
			}
			r.refused(to(t, at), convert.CodeResourceExceeded)
			eventually(t, "it has left", func() bool { return r.server.Stats().Active == 8 })
			other := r.dialFrom(netip.MustParseAddr("127.0.0.2"))
			other.Write(to(t, at))
			if m := answer(t, other); m.Error != nil {
				t.Errorf("another client: %v", m.Error)
			}
		})
	}
}

// offLane leaves what the lane would do to goroutines.
func offLane(s *Server) {
	s.begin = func(netip.AddrPort, mptcp.DialOptions, []byte) (int, int, error) { return -1, 0, unix.EAGAIN }
}

// In a full house who says nothing, and who may not ask, gives way to who comes; who is served does not.
func TestFullHouseGivesWay(t *testing.T) {
	r := start(t, func(c *Config) { c.MaxSessions, c.AllowClients = 3, prefixes("127.0.0.1/32") }, nil)
	at := origin(t, false, echo)
	served, m := r.ask(to(t, at))
	if m.Error != nil {
		t.Fatal(m.Error)
	}
	silent := r.connect()
	eventually(t, "it waits", func() bool { return r.server.Stats().Active == 2 })
	stranger := r.dialFrom(netip.MustParseAddr("127.0.0.2"))
	stranger.Write(to(t, at))
	if m := answer(t, stranger); m.Error == nil || m.Error.Code != convert.CodeNotAuthorized {
		t.Fatalf("the stranger: %+v", m)
	}
	r.refused(to(t, at), convert.CodeResourceExceeded) // nobody has waited for long
	time.Sleep(messageComes)
	for k := range 2 {
		if _, m := r.ask(to(t, at)); m.Error != nil {
			t.Errorf("connection %d: %v", k, m.Error)
		}
	}
	r.refused(to(t, at), convert.CodeResourceExceeded)
	if _, err := silent.Read(make([]byte, 1)); !isReset(err) {
		t.Errorf("who said nothing read %v, want a reset", err)
	}
	served.Write([]byte("x"))
	if _, err := io.ReadFull(served, make([]byte, 1)); err != nil {
		t.Errorf("who is served: %v", err)
	}
	if st := r.server.Stats(); st.GaveWay != 2 {
		t.Errorf("%d gave way, want 2", st.GaveWay)
	}
}

func TestTooManyPending(t *testing.T) {
	r := start(t, func(c *Config) { c.MaxPending = 2 }, nil)
	at := origin(t, false, echo)
	for range 4 { // connected ones don't count
		if _, m := r.ask(to(t, at)); m.Error != nil {
			t.Fatal(m.Error)
		}
	}
	warm := []*net.TCPConn{r.connect(), r.connect()}
	eventually(t, "both wait", func() bool { return r.server.Stats().Active == 6 })
	r.refused(to(t, at), convert.CodeResourceExceeded)
	warm[0].Write(to(t, at))
	if m := answer(t, warm[0]); m.Error != nil {
		t.Errorf("a waiting connection: %v", m.Error)
	}
	if _, m := r.ask(to(t, at)); m.Error != nil {
		t.Errorf("when one is connected: %v", m.Error)
	}
}

func TestRefusedPort(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().(*net.TCPAddr).AddrPort()
	l.Close()
	start(t, nil, nil).refused(to(t, at), convert.CodeConnectionReset)
}

func TestDialFailures(t *testing.T) {
	v4, v6 := netip.MustParseAddrPort("192.0.2.1:80"), netip.MustParseAddrPort("[2001:db8::1]:80")
	for _, c := range []struct {
		err  error
		at   netip.AddrPort
		code convert.Code
		icmp uint8
	}{
		{syscall.ENETUNREACH, v4, convert.CodeUnreachable, 0},
		{syscall.EHOSTUNREACH, v4, convert.CodeUnreachable, 1},
		{syscall.EHOSTUNREACH, v6, convert.CodeUnreachable, 3},
		{syscall.EACCES, v4, convert.CodeUnreachable, 13},
		{syscall.EACCES, v6, convert.CodeUnreachable, 1},
		{syscall.ETIMEDOUT, v4, convert.CodeUnreachable, 1},
		{context.DeadlineExceeded, v6, convert.CodeUnreachable, 3},
		{syscall.ECONNRESET, v4, convert.CodeConnectionReset, 0},
		{syscall.EMFILE, v4, convert.CodeResourceExceeded, 0},
		{syscall.EADDRNOTAVAIL, v4, convert.CodeResourceExceeded, 0},
		{syscall.EADDRNOTAVAIL, v6, convert.CodeUnreachable, 0}, // net.ipv6.conf.all.disable_ipv6=1
		{syscall.EAFNOSUPPORT, v6, convert.CodeUnreachable, 0},  // ipv6.disable=1
		{syscall.EPROTO, v4, convert.CodeUnreachable, 1},        // ICMP parameter problem, which any server can send
		{syscall.EPROTO, v6, convert.CodeUnreachable, 3},
		{syscall.EINVAL, v4, convert.CodeUnreachable, 1}, // a blackhole route
		{syscall.ENETDOWN, v4, convert.CodeNetworkFailure, 0},
		{syscall.EHOSTDOWN, v6, convert.CodeNetworkFailure, 0},
	} {
		t.Run(fmt.Sprint(c.err, c.at), func(t *testing.T) {
			r := start(t, nil, func(s *Server) {
				err := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", c.err)}
				s.dial = func(context.Context, netip.AddrPort, mptcp.DialOptions) (*net.TCPConn, error) { return nil, err }
				s.begin = func(netip.AddrPort, mptcp.DialOptions, []byte) (int, int, error) { return -1, 0, err }
			})
			e := r.refused(to(t, c.at), c.code)
			if e.ICMPCode() != c.icmp {
				t.Errorf("ICMP code %d, want %d", e.ICMPCode(), c.icmp)
			}
			if e.Wait() != 0 && e.Wait() != r.server.cfg.RetryAfter {
				t.Errorf("wait %v", e.Wait())
			}
		})
	}
}

func TestSilentServerIsUnreachable(t *testing.T) {
	r := start(t, func(c *Config) { c.DialTimeout = 50 * time.Millisecond }, func(s *Server) {
		s.dial = func(ctx context.Context, _ netip.AddrPort, _ mptcp.DialOptions) (*net.TCPConn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		s.begin = func(netip.AddrPort, mptcp.DialOptions, []byte) (int, int, error) { return -1, 0, unix.EAGAIN }
	})
	r.refused(to(t, netip.MustParseAddrPort("192.0.2.1:80")), convert.CodeUnreachable)
}

// A client that hangs up while its server keeps it waiting gives its place back; one that has only ended its side waits on.
func TestHangingUpEndsTheWaitForAServer(t *testing.T) {
	dialling, given := make(chan struct{}), make(chan error, 1)
	r := start(t, func(c *Config) { c.DialTimeout = time.Hour }, func(s *Server) {
		s.begin = func(netip.AddrPort, mptcp.DialOptions, []byte) (int, int, error) { return -1, 0, unix.EAGAIN } // the lane leaves it to dial
		s.dial = func(ctx context.Context, _ netip.AddrPort, _ mptcp.DialOptions) (*net.TCPConn, error) {
			close(dialling)
			<-ctx.Done()
			given <- context.Cause(ctx)
			return nil, ctx.Err()
		}
	})
	c := r.connect()
	c.Write(to(t, netip.MustParseAddrPort("192.0.2.1:80")))
	select {
	case <-dialling:
	case <-time.After(patience):
		t.Fatal("the server is not asked")
	}
	c.CloseWrite()
	select {
	case err := <-given:
		t.Fatalf("given up though the client waits: %v", err)
	case <-time.After(2*hangUpEvery + hangUpEvery/2):
	}
	c.SetLinger(0)
	c.Close()
	select {
	case <-given:
	case <-time.After(patience):
		t.Fatal("still waits for the server")
	}
	eventually(t, "its place is free", func() bool { return r.server.Stats().Active == 0 })
}

func TestErrorsAreRateLimited(t *testing.T) {
	r := start(t, func(c *Config) { c.ErrorRate = 1 }, nil)
	bad := unhex(t, "010222637f010000")
	told, reset := 0, 0
	for range 20 {
		c := r.connect()
		c.Write(bad)
		switch _, err := io.ReadFull(c, make([]byte, 4)); {
		case err == nil:
			told++
		case isReset(err):
			reset++
		default:
			t.Fatal(err)
		}
		c.Close()
	}
	if told < 4 || reset == 0 { // a burst of 4, and one more for each second this takes
		t.Errorf("%d errors told, %d connections reset", told, reset)
	}
	if st := r.server.Stats(); st.Unsent != int64(reset) || st.Errors[convert.CodeUnsupportedMessage] != int64(told) {
		t.Errorf("counted %d unsent and %d told", st.Unsent, st.Errors[convert.CodeUnsupportedMessage])
	}
}

// What is wrong with destinations is told to those who may ask, however often: a reset in its place is a sign against us.
func TestRefusalsOfDestinationsAreToldAlways(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().(*net.TCPAddr).AddrPort()
	l.Close()
	r := start(t, func(c *Config) { c.ErrorRate = 1 }, nil)
	for range 20 {
		r.refused(to(t, at), convert.CodeConnectionReset)
		r.refused(to(t, netip.MustParseAddrPort("10.1.2.3:80")), convert.CodeNotAuthorized)
	}
}

// The client may take its time: our close must not overtake the error.
func TestTheErrorWaitsForTheClient(t *testing.T) {
	r := start(t, nil, nil)
	c := r.connect()
	c.Write(append(unhex(t, "010222637f010000"), make([]byte, 64<<10)...)) // unread octets would turn a close into a reset
	time.Sleep(100 * time.Millisecond)
	if m := answer(t, c); m.Error == nil {
		t.Errorf("answer %+v", m)
	}
	if got := r.server.Stats().Active; got != 1 {
		t.Errorf("%d connections open while the client hasn't closed", got)
	}
	c.Close()
	eventually(t, "closed", func() bool { return r.server.Stats().Active == 0 })
}
