// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"spillway/convert"
	"spillway/testbed/await"
)

func TestConnectNamesTheDestinationAndBytesCross(t *testing.T) {
	asked := make(chan convert.Connect, 1)
	f := newFake(t, func(c *net.TCPConn, m *convert.Message) {
		asked <- *m.Connect
		accepted(c, m)
	})
	r := newRelay(t, Config{Upstreams: upstreams(f)})
	c := lanDial(t, r, server)
	want := make([]byte, 3<<20)
	rand.NewChaCha8([32]byte{1}).Read(want)
	go func() {
		c.Write(want)
		c.CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || sha256.Sum256(got) != sha256.Sum256(want) {
		t.Fatalf("%d of %d octets, %v", len(got), len(want), err)
	}
	if m := await.Value(t, "the Connect", asked); m.Addr != server {
		t.Fatalf("asked for %v", m.Addr)
	}
	until(t, "the connection's end", func() bool { return r.Stats().Sessions == 0 })
	if s := r.Stats(); s.Relayed != 1 || s.Reset != 0 || s.Up != uint64(len(want)) || s.Down != uint64(len(want)) {
		t.Fatalf("%+v", s)
	}
}

// isReset reads until the end and wants it to be a RST.
func isReset(t *testing.T, c *net.TCPConn) {
	t.Helper()
	if _, err := io.ReadAll(c); !errors.Is(err, unix.ECONNRESET) {
		t.Fatalf("the LAN host saw %v, not a reset", err)
	}
}

// TestAnswerInPieces has the converter's answer come octet by octet, and with its last one what the server has said: the lane has read some of
// it when it hands over.
func TestAnswerInPieces(t *testing.T) {
	for _, pause := range []time.Duration{0, 30 * time.Millisecond, 150 * time.Millisecond} {
		f := newFake(t, func(c *net.TCPConn, _ *convert.Message) {
			c.SetNoDelay(true)
			for _, b := range []string{"\x01", "\x01\x22", "\x63hello"} {
				time.Sleep(pause)
				c.Write([]byte(b))
			}
			io.Copy(c, c)
			c.CloseWrite()
		})
		r := newRelay(t, Config{Upstreams: upstreams(f)})
		c := lanDial(t, r, server)
		c.Write([]byte(", I say"))
		c.CloseWrite()
		if got, err := io.ReadAll(c); string(got) != "hello, I say" || err != nil {
			t.Errorf("with pauses of %v: %q, %v", pause, got, err)
		}
		until(t, "the connection's end", func() bool { return r.Stats().Sessions == 0 })
		if s := r.Stats(); s.Relayed != 1 || s.Retried != 0 || s.Up != 7 || s.Down != 12 {
			t.Errorf("with pauses of %v: %+v", pause, s)
		}
	}
}

// TestServersResetBehindTheAnswer: what was read with the answer reaches the LAN host, and then it is reset.
func TestServersResetBehindTheAnswer(t *testing.T) {
	f := newFake(t, func(c *net.TCPConn, _ *convert.Message) {
		c.Write([]byte("\x01\x01\x22\x63"))
		c.SetLinger(0)
	})
	c := lanDial(t, newRelay(t, Config{Upstreams: upstreams(f)}), server)
	isReset(t, c)
}

func TestHalfCloseByTheServer(t *testing.T) {
	up := make(chan []byte, 1)
	f := newFake(t, say(convert.Message{}, func(c *net.TCPConn) {
		c.Write([]byte("all I had"))
		c.CloseWrite()
		b, _ := io.ReadAll(c)
		up <- b
	}))
	c := lanDial(t, newRelay(t, Config{Upstreams: upstreams(f)}), server)
	got, err := io.ReadAll(c)
	if string(got) != "all I had" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	c.Write([]byte("and still I send"))
	c.CloseWrite()
	if b := await.Value(t, "what the server read", up); string(b) != "and still I send" {
		t.Fatalf("%q", b)
	}
}

func TestResetsCross(t *testing.T) {
	t.Run("server", func(t *testing.T) {
		f := newFake(t, say(convert.Message{}, func(c *net.TCPConn) {
			io.ReadFull(c, make([]byte, 4))
			c.SetLinger(0)
		}))
		c := lanDial(t, newRelay(t, Config{Upstreams: upstreams(f)}), server)
		c.Write([]byte("ping"))
		isReset(t, c)
	})
	t.Run("LAN host", func(t *testing.T) {
		saw := make(chan error, 1)
		f := newFake(t, say(convert.Message{}, func(c *net.TCPConn) {
			c.Write([]byte("pong"))
			_, err := io.Copy(io.Discard, c)
			saw <- err
		}))
		c := lanDial(t, newRelay(t, Config{Upstreams: upstreams(f)}), server)
		io.ReadFull(c, make([]byte, 4))
		c.SetLinger(0)
		c.Close()
		if err := await.Value(t, "the server's read", saw); !errors.Is(err, unix.ECONNRESET) {
			t.Fatalf("the server saw %v", err)
		}
	})
}

func TestErrorCodes(t *testing.T) {
	for _, v := range []struct {
		name     string
		code     convert.Code
		value    []byte
		second   bool // the next upstream serves the same connection
		up       bool // still in use afterwards
		minUntil time.Duration
	}{
		{"unsupported version", convert.CodeUnsupportedVersion, []byte{2, 3, 0}, true, false, 9 * time.Minute},
		{"malformed", convert.CodeMalformed, []byte{0}, true, true, 0},
		{"unsupported message", convert.CodeUnsupportedMessage, []byte{0}, true, true, 0},
		{"missing cookie without one", convert.CodeMissingCookie, []byte{0}, true, false, 50 * time.Second},
		{"missing cookie that fits no message", convert.CodeMissingCookie, make([]byte, mostCookie+2), true, false, 50 * time.Second},
		{"not authorized", convert.CodeNotAuthorized, []byte{0}, true, true, 0},
		{"resource exceeded", convert.CodeResourceExceeded, []byte{200}, true, false, 190 * time.Second},
		{"resource exceeded, default", convert.CodeResourceExceeded, []byte{0}, true, false, 25 * time.Second},
		{"network failure", convert.CodeNetworkFailure, []byte{100}, true, false, 95 * time.Second},
		{"reset", convert.CodeConnectionReset, []byte{0}, false, true, 0},
		{"unreachable", convert.CodeUnreachable, []byte{1}, false, true, 0},
		{"unknown of the destination", 100, []byte{0}, false, true, 0},
		{"unknown of the converter", 80, []byte{0}, true, false, 25 * time.Second},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			first, second := newFake(t, refuse(v.code, v.value...)), newFake(t, accepted)
			r := newRelay(t, Config{Upstreams: upstreams(first, second)})
			c := lanDial(t, r, server)
			if v.second {
				c.Write([]byte("hello"))
				c.CloseWrite()
				if got, err := io.ReadAll(c); string(got) != "hello" || err != nil {
					t.Fatalf("%q, %v", got, err)
				}
			} else {
				isReset(t, c)
			}
			st := r.Upstreams()[0]
			if st.Up != v.up || v.minUntil > 0 && time.Until(st.Until) < v.minUntil {
				t.Fatalf("%+v", st)
			}
			if n := r.Stats().Errors[uint8(v.code)]; n != 1 {
				t.Fatalf("counted %d", n)
			}
			if n := second.conns.Load(); (n > 0) != v.second {
				t.Fatalf("the second upstream was asked %d times", n)
			}
			if _, _, err := r.settings.Load().upstreams[0].opening(server, true); err != nil {
				t.Fatalf("it can be asked no more: %v", err)
			}
		})
	}
}

func TestTheLongestCookieFits(t *testing.T) {
	u := &upstream{Upstream{Protocol: Convert}, &learnt{}}
	for more, want := range []bool{true, false} {
		u.setCookie(make([]byte, mostCookie+more))
		if _, _, err := u.opening(server, true); (err == nil) != want {
			t.Errorf("a cookie of %d octets: %v", mostCookie+more, err)
		}
	}
}

// A cookie that the converter gave is refused when it has grown old, or somebody has set the converter's clock. The same connection is
// served with another one.
func TestOldCookieIsReplacedAtOnce(t *testing.T) {
	var good atomic.Pointer[string]
	f := newFake(t, func(c *net.TCPConn, m *convert.Message) {
		switch want := *good.Load(); {
		case m.Cookie == nil:
			refuse(convert.CodeMissingCookie, append([]byte{0}, want...)...)(c, m)
		case string(m.Cookie) != want:
			refuse(convert.CodeNotAuthorized)(c, m)
		default:
			accepted(c, m)
		}
	})
	r := newRelay(t, Config{Upstreams: upstreams(f), Block: true})
	for i, cookie := range []string{"today's cookie..", "yesterday's.....", "of next month..."} { // 16 octets: whole words, no padding
		good.Store(&cookie)
		echoes(t, r)
		if s, u := r.Stats(), r.Upstreams()[0]; !u.Up || u.Failures != 0 || s.Retried != []int64{1, 3, 5}[i] {
			t.Fatalf("%q: %+v, tried again %d times", cookie, u, s.Retried)
		}
	}
}

func TestCookieIsStoredAndUsedAtOnce(t *testing.T) {
	cookie := []byte("0123456789ab")
	f := newFake(t, func(c *net.TCPConn, m *convert.Message) {
		if !bytes.HasPrefix(m.Cookie, cookie) {
			refuse(convert.CodeMissingCookie, append([]byte{0}, cookie...)...)(c, m)
			return
		}
		accepted(c, m)
	})
	r := newRelay(t, Config{Upstreams: upstreams(f)})
	for i := range 3 {
		c := lanDial(t, r, server)
		c.Write([]byte("x"))
		c.CloseWrite()
		if got, err := io.ReadAll(c); string(got) != "x" || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
		if n := f.conns.Load(); n != int64(2+i) {
			t.Fatalf("connection %d needed %d", i, n)
		}
	}
}

func TestUnsupportedOptionEndsExtendedConnects(t *testing.T) {
	f := newFake(t, func(c *net.TCPConn, m *convert.Message) {
		if m.Connect.Options != nil {
			refuse(convert.CodeUnsupportedOption, convert.OptionMPTCP, 0, 0)(c, m)
			return
		}
		accepted(c, m)
	})
	r := newRelay(t, Config{Upstreams: upstreams(f), NativeBypass: true})
	c := lanDial(t, r, server)
	c.Write([]byte("x"))
	c.CloseWrite()
	if got, err := io.ReadAll(c); string(got) != "x" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestFaultyConverters(t *testing.T) {
	short := Config{ConnectTimeout: time.Second}
	for _, v := range []struct {
		name string
		s    script
		out  bool // after weakLimit connections
	}{
		{"garbage", func(c *net.TCPConn, _ *convert.Message) { c.Write([]byte("HTTP/1.1 400 Bad Request\r\n")) }, true},
		{"length 0", func(c *net.TCPConn, _ *convert.Message) { c.Write([]byte{1, 0, 0x22, 0x63}) }, true},
		{"half a header", func(c *net.TCPConn, _ *convert.Message) { c.Write([]byte{1, 1}) }, true},
		{"half a message", func(c *net.TCPConn, _ *convert.Message) { c.Write([]byte{1, 9, 0x22, 0x63, 30, 1}) }, true},
		{"half a message, held", func(c *net.TCPConn, _ *convert.Message) {
			c.Write([]byte{1, 9, 0x22, 0x63, 30, 1})
			io.Copy(io.Discard, c)
		}, true},
		{"silent", func(c *net.TCPConn, _ *convert.Message) { io.Copy(io.Discard, c) }, true},
		{"resetting", func(c *net.TCPConn, _ *convert.Message) { c.SetLinger(0) }, true},
		{"closing", func(*net.TCPConn, *convert.Message) {}, true},
		{"slow", func(c *net.TCPConn, m *convert.Message) {
			for _, b := range []byte{1, 1, 0x22, 0x63} {
				time.Sleep(20 * time.Millisecond)
				c.Write([]byte{b})
			}
			c.SetLinger(0)
		}, false},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			cfg := short
			if !v.out {
				cfg.ConnectTimeout = 30 * time.Second // a busy machine may be slow itself
			}
			cfg.Upstreams = upstreams(newFake(t, v.s))
			r := newRelay(t, cfg)
			for range weakLimit {
				isReset(t, lanDial(t, r, server))
			}
			if r.Upstreams()[0].Failures == 0 == v.out {
				t.Fatalf("%+v", r.Upstreams()[0])
			}
		})
	}
}

func TestRefusedUpstreamIsOutAtOnceAndComesBack(t *testing.T) {
	f := newFake(t, accepted)
	f.Close()
	r := newRelay(t, Config{Upstreams: upstreams(f), Block: true})
	isReset(t, lanDial(t, r, server))
	if st := r.Upstreams()[0]; st.Up {
		t.Fatalf("%+v", st)
	}
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(f.addr))
	if err != nil {
		t.Skip("somebody took the port: ", err)
	}
	defer l.Close()
	serveFake(l, accepted)
	until(t, "the upstream's return", func() bool { return r.Upstreams()[0].Up })
}

func TestEarlyOctetsAreNotRepeatedAfterSilence(t *testing.T) {
	first := newFake(t, func(c *net.TCPConn, _ *convert.Message) {
		io.ReadFull(c, make([]byte, 4)) // the request has reached this far; then it breaks
		c.SetLinger(0)
	})
	second := newFake(t, accepted)
	r := newRelay(t, Config{Upstreams: upstreams(first, second)})
	c := lanDial(t, r, server)
	c.Write([]byte("POST"))
	isReset(t, c)
	if n := second.conns.Load(); n != 0 {
		t.Fatalf("the request was sent to a second upstream")
	}
}
