// SPDX-License-Identifier: Apache-2.0

package concentrator

import (
	"bytes"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"spillway/convert"
	"spillway/relay/engine"
	"spillway/testbed/await"
)

func TestBytesAndHalfCloseBothWays(t *testing.T) {
	r := start(t, nil, nil)
	sum := make(chan [32]byte, 1)
	down := random(3 << 20)
	at := origin(t, false, func(c *net.TCPConn) {
		h := sha256.New()
		io.Copy(h, c) // until the client's FIN, which must come through
		sum <- [32]byte(h.Sum(nil))
		c.Write(down)
	})
	for _, multipath := range []bool{false, true} {
		c := r.dial(multipath)
		up := random(2 << 20)
		c.Write(append(to(t, at), up...))
		c.CloseWrite()
		if m := answer(t, c); m.Error != nil || m.ExtendedHeader != nil || m.Supported != nil {
			t.Fatalf("multipath %v: answer %+v", multipath, m)
		}
		got, err := io.ReadAll(c)
		if err != nil || !bytes.Equal(got, down) {
			t.Errorf("multipath %v: %d octets down, %v; want %d", multipath, len(got), err, len(down))
		}
		if await.Value(t, "the server's sum", sum) != sha256.Sum256(up) {
			t.Errorf("multipath %v: other octets came up", multipath)
		}
	}
	eventually(t, "both sessions end", func() bool { return r.server.Stats().Active == 0 })
	st := r.server.Stats()
	if st.Sessions != 2 || st.Up != 4<<20 || st.Down != 6<<20 || st.MPTCP+st.PlainTCP != 2 {
		t.Errorf("counted %+v", st)
	}
}

// The server's FIN must reach a client that still sends.
func TestServerClosesFirst(t *testing.T) {
	r := start(t, nil, nil)
	rest := make(chan string, 1)
	at := origin(t, false, func(c *net.TCPConn) {
		c.Write([]byte("bye"))
		c.CloseWrite()
		b, _ := io.ReadAll(c)
		rest <- string(b)
	})
	c, _ := r.ask(to(t, at))
	if got, err := io.ReadAll(c); string(got) != "bye" || err != nil {
		t.Fatalf("read %q, %v", got, err)
	}
	c.Write([]byte("more"))
	c.CloseWrite()
	if got := await.Value(t, "what comes after the FIN", rest); got != "more" {
		t.Errorf("the server got %q after its FIN", got)
	}
}

func TestMessageInPieces(t *testing.T) {
	r := start(t, nil, nil)
	at := origin(t, false, echo)
	c := r.connect()
	for _, b := range append(to(t, at), "hello"...) {
		c.Write([]byte{b})
		time.Sleep(time.Millisecond)
	}
	c.CloseWrite()
	answer(t, c)
	if got, err := io.ReadAll(c); string(got) != "hello" || err != nil {
		t.Errorf("echoed %q, %v", got, err)
	}
}

func TestMessageLongAfterTheHandshake(t *testing.T) {
	r := start(t, func(c *Config) { c.MessageTimeout = 50 * time.Millisecond }, nil)
	at := origin(t, false, echo)
	c := r.connect()
	time.Sleep(300 * time.Millisecond) // a warm connection waits longer than a half message may
	c.Write(to(t, at))
	if m := answer(t, c); m.Error != nil {
		t.Errorf("answer %v", m.Error)
	}
}

func TestHalfAMessageIsClosed(t *testing.T) {
	r := start(t, func(c *Config) { c.MessageTimeout = 50 * time.Millisecond }, nil)
	c := r.connect()
	c.Write([]byte{1, 6, 0x22, 0x63, 10, 5})
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("read %d, %v", n, err)
	}
	eventually(t, "counted", func() bool { return r.server.Stats().Incomplete == 1 })
}

func TestServersResetReachesTheClient(t *testing.T) {
	r := start(t, nil, nil)
	at := origin(t, false, func(c *net.TCPConn) {
		io.ReadFull(c, make([]byte, 1))
		engine.ResetConn(c)
	})
	for _, multipath := range []bool{false, true} {
		c := r.dial(multipath)
		c.Write(to(t, at))
		answer(t, c)
		c.Write([]byte("x"))
		if _, err := c.Read(make([]byte, 1)); !isReset(err) {
			t.Errorf("multipath %v: read %v, want a reset", multipath, err)
		}
	}
	eventually(t, "sessions end", func() bool { return r.server.Stats().Active == 0 })
}

func TestClientsResetReachesTheServer(t *testing.T) {
	r := start(t, nil, nil)
	got := make(chan error, 1)
	at := origin(t, false, func(c *net.TCPConn) {
		_, err := c.Read(make([]byte, 1))
		got <- err
	})
	c, _ := r.ask(to(t, at))
	engine.ResetConn(c)
	if err := await.Value(t, "the server's read", got); !isReset(err) {
		t.Errorf("the server read %v, want a reset", err)
	}
}

func TestInfo(t *testing.T) {
	r := start(t, nil, nil)
	c, m := r.ask(message(t, &convert.Message{Info: true}))
	if !bytes.Contains(m.Supported, []byte{convert.OptionMPTCP}) {
		t.Errorf("supported %v", m.Supported)
	}
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("after the answer: %d, %v", n, err)
	}
	at := origin(t, false, echo)
	if _, m := r.ask(message(t, &convert.Message{Info: true, Connect: &convert.Connect{Addr: at}})); m.Supported == nil || m.Error != nil {
		t.Errorf("with connect: %+v", m)
	}
}

func TestExtendedConnectTellsWhetherTheServerSpeaksMPTCP(t *testing.T) {
	r := start(t, nil, nil)
	for _, multipath := range []bool{false, true} {
		at := origin(t, multipath, echo)
		ask := func() (m *convert.Message) {
			_, m = r.ask(message(t, &convert.Message{Connect: &convert.Connect{Addr: at, Options: []byte{30, 2}}}))
			return m
		}
		m := ask()
		for tries := 20; multipath && tries > 0 && m.ExtendedHeader != nil && !convert.MPTCPCapable(m.ExtendedHeader); tries-- {
			m = ask() // the kernel had no MPTCP token for that connection, which may be when its table is crowded
		}
		if m.Error != nil || m.ExtendedHeader == nil {
			t.Fatalf("multipath %v: answer %+v", multipath, m)
		}
		if got := convert.MPTCPCapable(m.ExtendedHeader); got != multipath {
			t.Errorf("multipath %v: header %x says %v", multipath, m.ExtendedHeader, got)
		}
		if list, err := convert.Options(m.ExtendedHeader); err != nil || len(list) == 0 || list[0].Kind != convert.OptionMSS {
			t.Errorf("multipath %v: options %v, %v", multipath, list, err)
		}
	}
}

func TestIdleSessionsEnd(t *testing.T) {
	r := start(t, nil, nil)
	at := origin(t, false, echo)
	c, _ := r.ask(to(t, at))
	r.server.endIdle(time.Now().Add(r.server.cfg.IdleTimeout / 2))
	c.Write([]byte("x"))
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatalf("a session half as old as allowed was ended: %v", err)
	}
	eventually(t, "octets counted", func() bool { st := r.server.Stats(); return st.Up == 1 && st.Down == 1 })
	later := time.Now().Add(2 * r.server.cfg.IdleTimeout)
	r.server.endIdle(later) // sees that something moved
	r.server.endIdle(later.Add(r.server.cfg.IdleTimeout))
	if _, err := c.Read(make([]byte, 1)); !isReset(err) {
		t.Errorf("read %v, want a reset", err)
	}
	if got := r.server.Stats().Idle; got != 1 {
		t.Errorf("%d idle sessions counted", got)
	}
}

func TestStopLetsSessionsFinish(t *testing.T) {
	r := start(t, func(c *Config) { c.StopTimeout = patience }, nil)
	at := origin(t, false, echo)
	c, _ := r.ask(to(t, at))
	r.stop()
	eventually(t, "no more connections", func() bool {
		d, err := net.Dial("tcp", r.at.String())
		if err == nil {
			d.Close()
		}
		return err != nil
	})
	c.Write([]byte("still here"))
	c.CloseWrite()
	if got, err := io.ReadAll(c); string(got) != "still here" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	if err := await.Value(t, "the end of Run", r.ended); err != nil {
		t.Error(err)
	}
	r.ended <- nil
}

func TestStopEndsConnectionsWithoutMessageAtOnce(t *testing.T) {
	r := start(t, func(c *Config) { c.StopTimeout = time.Hour }, nil)
	warm := r.connect()
	eventually(t, "it is accepted", func() bool { return r.server.Stats().Active == 1 })
	r.stop()
	if _, err := warm.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("read %v", err)
	}
}

func TestStopResetsWhatDoesNotFinish(t *testing.T) {
	r := start(t, func(c *Config) { c.StopTimeout = 10 * time.Millisecond }, nil)
	at := origin(t, false, echo)
	c, _ := r.ask(to(t, at))
	r.stop()
	if _, err := c.Read(make([]byte, 1)); !isReset(err) {
		t.Errorf("read %v, want a reset", err)
	}
}

func TestIPv6(t *testing.T) {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skipf("no IPv6 on this machine: %v", err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); echo(c.(*net.TCPConn)) }()
		}
	}()
	r := start(t, func(c *Config) { c.Listen = []netip.AddrPort{netip.MustParseAddrPort("[::1]:0")} }, nil)
	c, m := r.ask(append(to(t, l.Addr().(*net.TCPAddr).AddrPort()), "six"...))
	c.CloseWrite()
	got, err := io.ReadAll(c)
	if m.Error != nil || string(got) != "six" || err != nil {
		t.Errorf("answer %+v, %q, %v", m, got, err)
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n)}).Read(b)
	return b
}
