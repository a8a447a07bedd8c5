// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"spillway/convert"
	"spillway/mptcp"
	"spillway/relay/engine"
	"spillway/testbed/accept"
	"spillway/testbed/await"
)

var (
	converterAddr  = netip.MustParseAddrPort("10.9.9.9:5124")
	converterAddr6 = netip.MustParseAddrPort("[fd09::9]:5124")
)

// TestHome plays a household: one topology, several stories, because namespaces are slow to make.
func TestHome(t *testing.T) {
	s := newStories(t)
	t.Run("IPv4 in the SYN, IPv6 destination", s.inTheSYN)
	t.Run("flow is visible", s.flowIsVisible)
	t.Run("rules", s.rules)
	t.Run("door's own address", s.ownAddress)
	t.Run("port 0", s.portZero)
	t.Run("converter refused: native within seconds, then back", s.converterRefused)
	t.Run("full: native, then back", s.full)
	t.Run("nobody is reset when the door closes", s.doorCloses)
	t.Run("silent first link: the second serves", s.silentLink)
	t.Run("2,000 connections at once", func(t *testing.T) { s.many(t, web, 2000) })
}

var web, web6 = netip.MustParseAddrPort("10.8.8.8:80"), netip.MustParseAddrPort("[fd08::8]:80")

// stories are a household with a converter that tells what it is asked for.
type stories struct {
	*home
	t     *testing.T // of all stories
	cfg   Config
	first *fake               // the converter, until it is made to refuse
	asked chan netip.AddrPort // the servers that it was asked for, as far as somebody counts
}

func newStories(t *testing.T) *stories {
	s := &stories{home: newHome(t), t: t, asked: make(chan netip.AddrPort, 100)}
	s.first = s.converter(t, converterAddr, s.asking)
	s.cfg = Config{Upstreams: []Upstream{{Addrs: []netip.AddrPort{converterAddr, converterAddr6}}},
		RuleMask: 0xf0, Rules: []Rule{{Name: "no", Mark: 0x10, Action: Block}, {Name: "first", Mark: 0x20, Action: Primary}}}
	s.relay(t, s.cfg)
	return s
}

// asking is the converter's script: it accepts.
func (s *stories) asking(c *net.TCPConn, m *convert.Message) {
	if m.Connect != nil {
		select {
		case s.asked <- m.Connect.Addr:
		default: // nobody counts that many
		}
	}
	accepted(c, m)
}

// inTheSYN: the Connect leaves in the SYN, and names IPv6 destinations as well.
func (s *stories) inTheSYN(t *testing.T) {
	for _, a := range []netip.AddrPort{web, web6} {
		s.echo(t, a, 1<<20)
		if got := await.Value(t, "the Connect", s.asked); got != a {
			t.Fatalf("s.asked for %v, want %v", got, a)
		}
	}
	st := s.tell(t, order{}).Stats
	if st.FastOpen.Tried != 2 || st.Relayed != 2 {
		t.Fatalf("%+v", st)
	}
	t.Logf("fast open: %+v", st.FastOpen)
}

// flowIsVisible: what is relayed can be looked at.
func (s *stories) flowIsVisible(t *testing.T) {
	c, err := s.dial(t, web)
	if err != nil {
		t.Fatal(err)
	}
	c.Write([]byte("hello"))
	io.ReadFull(c, make([]byte, 5))
	await.Value(t, "the Connect", s.asked)
	var p report
	until(t, "one flow", func() bool { // which is counted a moment after its octets went
		p = s.tell(t, order{})
		return len(p.Flows) == 1 && p.Flows[0].Down == 5
	})
	fl := p.Flows[0]
	if fl.Dst != web || fl.Link != "dsl" || fl.Up != 5 || fl.Down != 5 || fl.MPTCP && fl.Token == 0 {
		t.Fatalf("%+v", fl)
	}
	t.Logf("%+v", fl)
}

// rules: the mark of a rule blocks, or keeps a connection plain.
func (s *stories) rules(t *testing.T) {
	c, err := s.dial(t, netip.AddrPortFrom(web.Addr(), 666))
	if err == nil {
		isReset(t, c)
	}
	for _, a := range []netip.Addr{web.Addr(), web6.Addr()} {
		c, err := s.dial(t, netip.AddrPortFrom(a, 7005))
		if err != nil {
			t.Fatal(err)
		}
		c.Write([]byte("hello"))
		io.ReadFull(c, make([]byte, 5))
		await.Value(t, "the Connect", s.asked)
		taken := func(f Flow) bool { return f.Dst.Addr() == a && f.Rule == "first" && f.Action == "primary" && !f.MPTCP }
		if p := s.tell(t, order{}); !slices.ContainsFunc(p.Flows, taken) {
			t.Fatalf("%+v", p.Flows)
		}
	}
	if st := s.tell(t, order{}).Stats; st.Blocked != 1 {
		t.Fatalf("%+v", st)
	}
}

// ownAddress: a connection to the door itself is reset, and nobody is asked for it.
func (s *stories) ownAddress(t *testing.T) {
	p := s.tell(t, order{})
	var c *net.TCPConn
	err := s.cpe.Do(func() (err error) {
		c, err = mptcp.Dial(context.Background(), netip.AddrPortFrom(doorAddr[0], p.Port4), mptcp.DialOptions{PlainTCP: true})
		return err
	})
	if err == nil { // else the reset came as the connect did
		defer c.Close()
		c.SetDeadline(time.Now().Add(10 * time.Second))
		isReset(t, c)
	}
	if n := s.tell(t, order{}).Stats.Refused; n != 1 {
		t.Fatalf("counted %d", n)
	}
	if len(s.asked) != 0 {
		t.Fatal("an open proxy")
	}
}

// portZero: Linux lets a LAN host connect to port 0, and lets the door have that. No converter may be asked for it: it calls the Connect malformed,
// and would be blamed for that.
func (s *stories) portZero(t *testing.T) {
	for _, a := range []netip.Addr{web.Addr(), web6.Addr()} {
		if c, err := s.dial(t, netip.AddrPortFrom(a, 0)); err == nil {
			isReset(t, c)
		}
	}
	if len(s.asked) != 0 {
		t.Errorf("%v was asked for", <-s.asked)
	}
}

// converterRefused: connections go natively when the converter refuses, and are relayed when another answers there.
func (s *stories) converterRefused(t *testing.T) {
	native := s.listen(s.t, s.hag, netip.MustParseAddrPort("10.8.8.8:8080"), false)
	accept.Each(native, func(c *net.TCPConn) { io.Copy(c, c) })
	s.first.Close()
	if c, err := s.dial(t, native8080); err == nil {
		c.CloseWrite()
		io.ReadAll(c) // the one that finds out
	}
	until(t, "closed door", func() bool { return !s.tell(t, order{}).Stats.DoorOpen })
	s.echo(t, native8080, 5000)
	s.converter(s.t, converterAddr, s.asking)
	until(t, "open door", func() bool { return s.tell(t, order{}).Stats.DoorOpen })
	s.echo(t, native8080, 5000)
}

// full: more connections than may be go natively.
func (s *stories) full(t *testing.T) {
	few := s.cfg
	few.MaxSessions, few.MaxPerHost = 8, 100
	s.tell(t, order{Config: &few})
	var cs []*net.TCPConn
	for range 8 {
		c, err := s.dial(t, web)
		if err != nil {
			t.Fatal(err)
		}
		cs = append(cs, c)
	}
	until(t, "closed door", func() bool { st := s.tell(t, order{}).Stats; return st.Full && !st.DoorOpen })
	s.echo(t, native8080, 5000)
	for _, c := range cs {
		c.Write([]byte("still here"))
		b := make([]byte, 10)
		if _, err := io.ReadFull(c, b); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	until(t, "open door", func() bool { st := s.tell(t, order{}).Stats; return !st.Full && st.DoorOpen })
	s.tell(t, order{Config: &s.cfg})
}

// doorCloses: whoever has begun a handshake is served when the door closes.
func (s *stories) doorCloses(t *testing.T) {
	var served atomic.Int64
	var all sync.WaitGroup
	stop := make(chan struct{})
	for range 16 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					s.echo(t, native8080, 2000)
					served.Add(1)
				}
			}
		})
	}
	for round := range int64(4) {
		until(t, "connections", func() bool { return served.Load() >= 50*(round+1) })
		s.tell(t, order{Close: true})
		s.tell(t, order{Open: true})
	}
	close(stop)
	await.All(t, "the connections", &all)
}

// silentLink: a link that answers nothing costs a retry, not the connection, nor the converter its name.
func (s *stories) silentLink(t *testing.T) {
	before := s.tell(t, order{}).Stats.Retried
	drop := s.hag.Command("nft", "add table inet b; add chain inet b in { type filter hook prerouting priority 0; }; add rule inet b in iifname dsl drop")
	if b, err := drop.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	at := time.Now()
	s.echo(t, web, 5000)
	t.Log("served after", time.Since(at))
	st := s.tell(t, order{}).Stats
	if st.Retried <= before {
		t.Fatalf("%+v", st)
	}
	racing := s.cfg
	racing.Race = "always"
	s.tell(t, order{Config: &racing})
	for len(s.asked) > 0 {
		<-s.asked
	}
	s.echo(t, web, 5000)
	if after := s.tell(t, order{Config: &s.cfg}).Stats; after.Retried != st.Retried || len(s.asked) != 1 {
		t.Fatalf("racing: %d Connects, %+v", len(s.asked), after)
	}
	if err := s.hag.Run("nft", "delete table inet b"); err != nil {
		t.Fatal(err)
	}
	if u := s.tell(t, order{}).Upstreams[0]; !u.Up {
		t.Fatalf("the upstream was blamed: %+v", u)
	}
}

// A hidden listener lets those in whose handshake has begun: TCP_DEFER_ACCEPT keeps one from being complete for the server until
// the client says something.
func TestNoSYNGetsInButHandshakesEnd(t *testing.T) {
	e, err := engine.New(1)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_TCP, unix.TCP_DEFER_ACCEPT, 30),
		unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 8))
	if err != nil {
		t.Fatal(err)
	}
	to := net.TCPAddrFromAddrPort(engine.LocalAddr(fd))
	came := make(chan engine.Arrival, 8)
	l, err := e.Listen(fd, func(a engine.Arrival) { came <- a })
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	first, err := net.DialTCP("tcp", nil, to)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	l.Control(func(fd int) { err = hide(fd, true) })
	if err != nil {
		t.Fatal(err)
	}
	if c, err := net.DialTimeout("tcp", to.String(), 200*time.Millisecond); err == nil {
		c.Close()
		t.Error("a SYN got in")
	}
	hears := func(from *net.TCPConn, word string) {
		t.Helper()
		from.Write([]byte(word))
		var c *net.TCPConn
		select {
		case a := <-came:
			var err error
			if c, err = engine.ConnOf(a.FD); err != nil {
				t.Fatalf("%q: %v", word, err)
			}
		case <-time.After(15 * time.Second):
			t.Fatalf("%q: nobody came", word)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(15 * time.Second))
		got := make([]byte, len(word))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != word {
			t.Errorf("%q, want %q: %v", got, word, err)
		}
	}
	hears(first, "I had begun")
	r := &Relay{}
	r.door.open, r.door.hidden, r.door.listeners = true, true, [2]*engine.Listener{l}
	r.show()
	second, err := net.DialTCP("tcp", nil, to)
	if err != nil {
		t.Fatalf("after it is shown again: %v", err)
	}
	defer second.Close()
	hears(second, "I am new")
	// A successor's sockets are never touched.
	r.door.shared = 1
	r.hide()
	third, err := net.DialTCP("tcp", nil, to)
	if err != nil {
		t.Fatalf("a successor's listener is hidden: %v", err)
	}
	defer third.Close()
	hears(third, "I am the successor's")
}

var native8080 = netip.MustParseAddrPort("10.8.8.8:8080")
