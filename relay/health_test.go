// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"spillway/convert"
	"spillway/testbed/accept"
	"spillway/testbed/await"
)

// echoes makes a LAN connection and wants its octets back.
func echoes(t *testing.T, r *Relay) {
	t.Helper()
	c := lanDial(t, r, server)
	c.Write([]byte("hello"))
	c.CloseWrite()
	if got, err := io.ReadAll(c); string(got) != "hello" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
}

// closedPort is an address where nobody listens, and the means to listen there.
func closedPort(t *testing.T) (netip.AddrPort, func() *net.TCPListener) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	a := l.Addr().(*net.TCPAddr)
	l.Close()
	return a.AddrPort(), func() *net.TCPListener {
		l, err := net.ListenTCP("tcp", a)
		if err != nil {
			t.Skipf("somebody took port %d: %v", a.Port, err)
		}
		t.Cleanup(func() { l.Close() })
		return l
	}
}

func TestAnotherAddressOfAnUpstreamServes(t *testing.T) {
	dead, open := closedPort(t)
	second := newFake(t, accepted)
	r := newRelay(t, Config{Upstreams: []Upstream{{Addrs: []netip.AddrPort{dead, second.addr}, FastOpen: "never"}}})
	echoes(t, r)
	if s := r.Stats(); s.Retried != 1 {
		t.Fatalf("%+v", s)
	}
	echoes(t, r) // knows it by now
	if s, u := r.Stats(), r.Upstreams()[0]; s.Retried != 1 || !u.Up || second.conns.Load() < 2 {
		t.Fatalf("%+v %+v, %d connections", s, u, second.conns.Load())
	}
	first := serveFake(open(), accepted)
	until(t, "the first address is asked", func() bool { return first.conns.Load() > 0 })
	until(t, "the first address in use again", func() bool {
		a, _, _ := r.settings.Load().upstreams[0].pick(&PlanLink{})
		return a == dead
	})
	before := first.conns.Load() // questions; on a busy machine the second address may be asked one too
	echoes(t, r)
	if first.conns.Load() == before {
		t.Fatalf("the second address was used though the first is back: %d connections", second.conns.Load())
	}
	// Both dead: the upstream is out.
	first.Close()
	second.Close()
	lanDial(t, r, server)
	until(t, "the upstream's end", func() bool { return !r.Upstreams()[0].Up })
}

// A doubt that begins while an examination ends keeps nobody waiting after it.
func TestDoubtAtTheEndOfDoubt(t *testing.T) {
	u := &upstream{learnt: &learnt{}}
	u.doubt(false)
	ends := make(chan bool, 2)
	u.mu.Lock() // who waits for it longer than 1 ms has it in the order of coming
	go func() { u.endDoubt(); ends <- false }()
	time.Sleep(5 * time.Millisecond)
	go func() { ends <- u.doubt(true) }()
	time.Sleep(5 * time.Millisecond)
	u.mu.Unlock()
	u.mu.Lock() // before the first of them is awake: so it asks for the order
	time.Sleep(5 * time.Millisecond)
	u.mu.Unlock()
	if one, other := <-ends, <-ends; !one && !other && u.inQuestion() {
		t.Error("connections wait, and nobody asks")
	}
}

// A LAN host that asks for closed destinations takes the converter from nobody else; one that denies us all is out.
func TestDeniedDestinationsAreNoSign(t *testing.T) {
	f := newFake(t, refuse(convert.CodeNotAuthorized))
	r := newRelay(t, Config{Upstreams: upstreams(f), Block: true})
	u := r.settings.Load().upstreams[0]
	var outs atomic.Int32
	r.OnState(func() { outs.Add(1) })
	for range 3 * deniedLimit {
		isReset(t, lanDial(t, r, server))
	}
	until(t, "the end of questions", u.endedDoubt)
	if st := r.Upstreams()[0]; !st.Up || outs.Load() > 0 {
		t.Errorf("%+v", st)
	}
}

// TestWhatASOCKSServerMayNotReach: its rules forbid some servers, and it may have no IPv6, which is a general failure to some.
func TestWhatASOCKSServerMayNotReach(t *testing.T) {
	for _, reply := range []string{"\x05\x01", "\x05\x02", "\x05\x08"} {
		proxy := socksServer(t, [][2]string{{"\x05\x01\x00", "\x05\x00"}, {"\x05\x01\x00\x01\xc0\x00\x02\x50\x00\x50", reply + "\x00\x01\x00\x00\x00\x00\x00\x00"}})
		r := newRelay(t, Config{Upstreams: []Upstream{{Protocol: SOCKS5, Addrs: []netip.AddrPort{proxy}, FastOpen: "never"}}, Block: true})
		for range deniedLimit - 1 {
			isReset(t, lanDial(t, r, server))
		}
		if u := r.Upstreams()[0]; !u.Up {
			t.Errorf("% x: %+v", reply, u)
		}
	}
}

func TestAConverterThatDeniesAllIsOut(t *testing.T) {
	denies := accept.Loopback(t, func(c *net.TCPConn) {
		if _, err := readConvert(c); err == nil {
			refuse(convert.CodeNotAuthorized)(c, nil)
		}
	})
	r := newRelay(t, Config{Upstreams: []Upstream{{Addrs: []netip.AddrPort{denies}, FastOpen: "never"}}, Block: true})
	for range deniedLimit {
		isReset(t, lanDial(t, r, server))
	}
	until(t, "the upstream's end", func() bool { return !r.Upstreams()[0].Up })
}

func (u *upstream) endedDoubt() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return !u.suspected
}

// A converter resets those to whom it has told too many errors, as when a LAN host scans ports. While it tells others what their servers say,
// that is no sign against it.
func TestResetsBesideAnswersAreNoSign(t *testing.T) {
	asked, told := make(chan struct{}, 2), make(chan struct{})
	f := newFake(t, func(c *net.TCPConn, m *convert.Message) {
		if m.Connect.Addr.Port() == 81 {
			refuse(convert.CodeConnectionReset, 0)(c, m)
			return
		}
		asked <- struct{}{}
		<-told
		c.SetLinger(0)
		c.Close()
	})
	r := newRelay(t, Config{Upstreams: upstreams(f), Block: true})
	scan := []*net.TCPConn{lanDial(t, r, server), lanDial(t, r, server)}
	for range scan {
		await.Value(t, "a Connect", asked)
	}
	isReset(t, lanDial(t, r, netip.AddrPortFrom(server.Addr(), 81)))
	close(told)
	for _, c := range scan {
		isReset(t, c)
	}
	if u := r.Upstreams()[0]; !u.Up {
		t.Errorf("%+v", u)
	}
}

// A converter that accepts and says nothing is out while the first connection still waits, long before its deadline.
func TestSilentConverterIsFoundOutByAQuestion(t *testing.T) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	r := newRelay(t, Config{Upstreams: []Upstream{{Addrs: []netip.AddrPort{l.Addr().(*net.TCPAddr).AddrPort()}, FastOpen: "never"}},
		ConnectTimeout: 2 * time.Minute})
	began := time.Now()
	lanDial(t, r, server)
	until(t, "the upstream's end", func() bool { return !r.Upstreams()[0].Up })
	t.Log("out after", time.Since(began))
}

// While a converter that accepts and says nothing is examined, new connections wait, and go another way when it turns out dead: what was
// said to it could be said to nobody else.
func TestConnectionsWaitWhileTheConverterIsExamined(t *testing.T) {
	mute, next := newFake(t, func(c *net.TCPConn, _ *convert.Message) { io.Copy(io.Discard, c) }), newFake(t, accepted)
	r := newRelay(t, Config{Upstreams: upstreams(mute, next)})
	u := r.settings.Load().upstreams[0]
	if !u.certain(0) {
		t.Fatal("an upstream that nobody examines keeps connections waiting")
	}
	if !u.doubt(true) || u.doubt(true) {
		t.Fatal("an examination begins twice, or not at all")
	}
	c := lanDial(t, r, server)
	c.Write([]byte("later"))
	time.AfterFunc(100*time.Millisecond, func() { // by then it waits; if not, it finds the upstream out
		u.rest(time.Hour, errors.New("no answer"))
		u.endDoubt()
	})
	got := make([]byte, 5)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "later" {
		t.Errorf("the one that waited: %q, %v", got, err)
	}
	if n := mute.conns.Load(); n != 0 {
		t.Errorf("%d connections went to the one in doubt", n)
	}
}

// When a converter goes out, those who have told it something wait on: it may come back, and nobody else can be told. Those who have not
// go another way at once.
func TestWhoHasSaidSomethingWaitsOn(t *testing.T) {
	asked, heard, thaw := make(chan struct{}, 2), make(chan struct{}), make(chan struct{})
	frozen := newFake(t, func(c *net.TCPConn, m *convert.Message) {
		asked <- struct{}{}
		said := make([]byte, 4)
		if _, err := io.ReadFull(c, said); err != nil {
			return // who has said nothing
		}
		close(heard)
		<-thaw
		say(convert.Message{}, func(c *net.TCPConn) { c.Write(said) })(c, m)
	})
	var came atomic.Int64 // without questions
	next := newFake(t, func(c *net.TCPConn, m *convert.Message) {
		came.Add(1)
		accepted(c, m)
	})
	r := newRelay(t, Config{Upstreams: upstreams(frozen, next), ConnectTimeout: 2 * time.Minute})
	said, silent := lanDial(t, r, server), lanDial(t, r, server)
	said.Write([]byte("POST"))
	await.Value(t, "the first Connect", asked)
	await.Value(t, "the second Connect", asked)
	await.Value(t, "what the first one says", heard)
	r.settings.Load().upstreams[0].rest(time.Hour, errors.New("frozen"))
	until(t, "who has said nothing at the next converter", func() bool { return came.Load() == 1 })
	silent.Write([]byte("hello"))
	got := make([]byte, 5)
	if _, err := io.ReadFull(silent, got); err != nil || string(got) != "hello" {
		t.Errorf("who had said nothing: %q, %v", got, err)
	}
	close(thaw)
	if _, err := io.ReadFull(said, got[:4]); err != nil || string(got[:4]) != "POST" {
		t.Errorf("who had said something: %q, %v", got[:4], err)
	}
	if n := came.Load(); n != 1 {
		t.Errorf("%d connections went to the next converter, want 1", n)
	}
}

// They do not wait for ever: for a while where the converter is merely silent, and shortly where another program answers in its place. Who
// is served again before goes on.
func TestWhoHasSaidSomethingIsToldThatThereIsNoHope(t *testing.T) {
	for name, why := range map[string]error{"silent": errors.New("no answer"), "another program": &nonsense{errors.New("HTTP")}, "none": unix.ECONNREFUSED, "back": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			heard, thaw := make(chan struct{}), make(chan struct{})
			f := newFake(t, func(c *net.TCPConn, m *convert.Message) {
				said := make([]byte, 4)
				if _, err := io.ReadFull(c, said); err != nil {
					return
				}
				close(heard)
				<-thaw
				say(convert.Message{}, func(c *net.TCPConn) { c.Write(said) })(c, m)
			})
			t.Cleanup(func() { close(thaw) })
			r := newRelay(t, Config{Upstreams: upstreams(f), ConnectTimeout: 2 * time.Minute})
			r.hope = 100 * time.Millisecond
			c := lanDial(t, r, server)
			c.Write([]byte("POST"))
			await.Value(t, "what the host says", heard)
			u := r.settings.Load().upstreams[0]
			if why == nil {
				u.rest(time.Hour, errors.New("no answer"))
				u.good()
				thaw <- struct{}{}
				got := make([]byte, 4)
				if _, err := io.ReadFull(c, got); err != nil || string(got) != "POST" {
					t.Errorf("%q, %v", got, err)
				}
				return
			}
			if why == unix.ECONNREFUSED || name == "another program" {
				r.hope = time.Hour // which is not meant
			}
			u.rest(time.Hour, why)
			if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, unix.ECONNRESET) {
				t.Errorf("%d octets, %v, want a reset", n, err)
			}
		})
	}
}

// A server that takes its time is no fault of the converter's, which answers questions meanwhile.
func TestSlowServerLeavesTheConverterIn(t *testing.T) {
	asked := make(chan struct{})
	f := newFake(t, func(c *net.TCPConn, m *convert.Message) {
		<-asked
		accepted(c, m)
	})
	r := newRelay(t, Config{Upstreams: upstreams(f), ConnectTimeout: 2 * time.Minute})
	c := lanDial(t, r, server)
	until(t, "a question", func() bool { return f.conns.Load() >= 2 })
	close(asked)
	c.Write([]byte("x"))
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if u := r.Upstreams()[0]; !u.Up || u.Failures != 0 {
		t.Fatalf("%+v", u)
	}
}

// A server that takes longer than the converter may is waited for, as long as the converter answers others.
func TestSlowServerIsWaitedFor(t *testing.T) {
	t.Parallel()
	slow := netip.MustParseAddrPort("192.0.2.99:80")
	accept := make(chan struct{})
	f := newFake(t, func(c *net.TCPConn, m *convert.Message) {
		if m.Connect.Addr == slow {
			<-accept
		}
		accepted(c, m)
	})
	const most = 6 * time.Second
	r := newRelay(t, Config{Upstreams: upstreams(f), ConnectTimeout: most, ServerTimeout: time.Minute})
	c := lanDial(t, r, slow)
	c.Write([]byte("x"))
	for began := time.Now(); time.Since(began) < most+time.Second; time.Sleep(most / 4) {
		echoes(t, r)
	}
	close(accept)
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

// So is one while nobody else is served: then the converter is asked now and then. A LAN host that has ended its side is waited for once more.
func TestSlowServerIsWaitedForByOneAlone(t *testing.T) {
	t.Parallel()
	const most = 6 * time.Second
	for name, ends := range map[string]bool{"open": false, "ended": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			accept := make(chan struct{})
			f := newFake(t, func(c *net.TCPConn, m *convert.Message) {
				<-accept
				accepted(c, m)
			})
			r := newRelay(t, Config{Upstreams: upstreams(f), ConnectTimeout: most, ServerTimeout: time.Minute})
			c := lanDial(t, r, server)
			c.SetDeadline(time.Now().Add(50 * time.Second))
			c.Write([]byte("x"))
			if ends {
				c.CloseWrite()
			}
			if ends {
				defer close(accept)
				isReset(t, c) // long before the minute is over
				return
			}
			time.Sleep(2*most + most/4)
			close(accept)
			if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A LAN host that first speaks after the time that an answer may usually take is heard all the same: `scenario thousands-lossy-early` has such.
func TestSlowServerHearsWhatIsSaidLate(t *testing.T) {
	t.Parallel()
	const most = 6 * time.Second
	accept := make(chan struct{})
	f := newFake(t, func(c *net.TCPConn, m *convert.Message) {
		<-accept
		accepted(c, m)
	})
	r := newRelay(t, Config{Upstreams: upstreams(f), ConnectTimeout: most, ServerTimeout: time.Minute})
	c := lanDial(t, r, server)
	time.Sleep(most + most/4)
	c.Write([]byte("x"))
	time.Sleep(most / 8)
	close(accept)
	if n, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatalf("%d octets: %v", n, err)
	}
}

// A converter that takes other connections meanwhile is not out because of some that wait in vain.
func TestConverterThatTakesOthersStaysIn(t *testing.T) {
	t.Parallel()
	slow := netip.MustParseAddrPort("192.0.2.99:80")
	f := newFake(t, muteFor(slow))
	r := newRelay(t, Config{Upstreams: upstreams(f), ConnectTimeout: 8 * time.Second})
	var waiting []*net.TCPConn
	for range 2 * weakLimit {
		waiting = append(waiting, lanDial(t, r, slow))
	}
	until(t, "all wait", func() bool { return f.conns.Load() >= int64(len(waiting)) })
	echoes(t, r)
	for _, c := range waiting {
		isReset(t, c)
	}
	if u := r.Upstreams()[0]; !u.Up || u.Failures != 0 {
		t.Fatalf("%+v", u)
	}
}

func TestLookingTooLateProvesNothing(t *testing.T) {
	for took, want := range map[time.Duration]bool{0: false, 1500 * time.Millisecond: false, 1800 * time.Millisecond: false, 2 * time.Second: true} {
		if got := late(took, 1500*time.Millisecond); got != want {
			t.Errorf("%v for 1.5 s: late is %v", took, got)
		}
	}
}

// Servers that never answer are no fault of the converter's, however many there are.
func TestSilentServersLeaveTheConverterIn(t *testing.T) {
	f := newFake(t, func(c *net.TCPConn, m *convert.Message) { io.Copy(io.Discard, c) })
	r := newRelay(t, Config{Upstreams: upstreams(f), ConnectTimeout: 4 * time.Second, Block: true})
	var lan []*net.TCPConn
	for range 2 * weakLimit {
		lan = append(lan, lanDial(t, r, server))
	}
	for _, c := range lan {
		isReset(t, c)
	}
	if u, s := r.Upstreams()[0], r.Stats(); !u.Up || s.Destination != int64(len(lan)) {
		t.Fatalf("%+v, %d of %d counted as the destination's fault", u, s.Destination, len(lan))
	}
}

func TestConfiguredCookieIsInTheFirstMessage(t *testing.T) {
	cookies := make(chan string, 4)
	f := newFake(t, func(c *net.TCPConn, m *convert.Message) {
		cookies <- string(m.Cookie)
		refuse(convert.CodeNotAuthorized)(c, m)
	})
	us := upstreams(f)
	us[0].Cookie = "let me in" // 9 octets and 1 of padding to words of 4 with the header of 2
	r := newRelay(t, Config{Upstreams: us, Block: true})
	for range 2 { // Error 32 does not make it forgotten
		isReset(t, lanDial(t, r, server))
		if got := await.Value(t, "a cookie", cookies); got[:9] != "let me in" {
			t.Fatalf("%q", got)
		}
	}
}

// What talks nonsense between one link and the upstream makes that pair rest; the other link serves.
func TestNonsenseIsOfOneLink(t *testing.T) {
	n := 0
	f := newFake(t, func(c *net.TCPConn, m *convert.Message) {
		if n++; n == 1 {
			c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			c.CloseWrite()
			io.Copy(io.Discard, c) // until it has been read: a reset would take the answer with it
			return
		}
		accepted(c, m)
	})
	r := newRelay(t, Config{Upstreams: upstreams(f)})
	r.SetPlan(Plan{Links: []PlanLink{{Name: "dsl", Usable: true}, {Name: "lte", Usable: true, Metered: true}}, Primary: 0})
	for range 2 {
		c := lanDial(t, r, server)
		until(t, "the connection", func() bool { return r.Stats().Established == 1 })
		if fl := r.Flows(0, 1); fl[0].Link != "lte" {
			t.Fatalf("%+v", fl)
		}
		c.Close()
		until(t, "its end", func() bool { return r.Stats().Established == 0 })
	}
	if s, u := r.Stats(), r.Upstreams()[0]; s.Retried != 1 || !u.Up {
		t.Fatalf("%+v %+v", s, u)
	}
}

func TestOrderByPriorityThenWeight(t *testing.T) {
	us := []Upstream{{Name: "a", Weight: 3}, {Name: "b", Weight: 1}, {Name: "last", Priority: 1, Weight: 1000}}
	for i := range us {
		us[i].Addrs = []netip.AddrPort{netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(i))}
	}
	s := (*Relay)(nil).settle(Config{Upstreams: us}, nil)
	first := map[string]int{}
	for range 4000 {
		o := s.order()
		first[o[0].Name]++
		if o[2].Name != "last" {
			t.Fatal("the second choice came before the first")
		}
	}
	if a := first["a"]; a < 2700 || a > 3300 { // 3000, and 27 is a standard deviation
		t.Fatalf("%v", first)
	}
}
