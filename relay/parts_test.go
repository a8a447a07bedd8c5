// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"spillway/convert"
	"spillway/journal"
	"spillway/testbed/accept"
)

// socksServer reads want and answers, step by step, then echoes.
func socksServer(t *testing.T, steps [][2]string) netip.AddrPort {
	return accept.Loopback(t, func(c *net.TCPConn) {
		for _, s := range steps {
			b := make([]byte, len(s[0]))
			if _, err := io.ReadFull(c, b); err != nil || string(b) != s[0] {
				t.Errorf("got %x, want %x, %v", b, s[0], err)
				c.SetLinger(0)
				return
			}
			c.Write([]byte(s[1]))
		}
		io.Copy(c, c)
	})
}

func TestSOCKSUpstreams(t *testing.T) {
	const ok5 = "\x05\x00\x00\x01\x7f\x00\x00\x01\x12\x34"
	const ask5 = "\x05\x01\x00\x01\xc0\x00\x02\x50\x00\x50"
	for _, v := range []struct {
		name  string
		u     Upstream
		steps [][2]string
	}{
		{"socks5", Upstream{Protocol: SOCKS5}, [][2]string{{"\x05\x01\x00", "\x05\x00"}, {ask5, ok5}}},
		{"socks5 with password", Upstream{Protocol: SOCKS5, User: "me", Password: "pw"},
			[][2]string{{"\x05\x01\x02", "\x05\x02"}, {"\x01\x02me\x02pw", "\x01\x00"}, {ask5, ok5}}},
		{"socks5 pipelined", Upstream{Protocol: SOCKS5, User: "me", Password: "pw", Pipeline: true},
			[][2]string{{"\x05\x01\x02\x01\x02me\x02pw" + ask5, "\x05\x02\x01\x00" + ok5}}},
		{"socks4a", Upstream{Protocol: SOCKS4a, User: "me"},
			[][2]string{{"\x04\x01\x00\x50\xc0\x00\x02\x50me\x00", "\x00\x5a\x00\x00\x00\x00\x00\x00"}}},
	} {
		t.Run(v.name, func(t *testing.T) {
			v.u.Addrs = []netip.AddrPort{socksServer(t, v.steps)}
			v.u.FastOpen = "never"
			c := lanDial(t, newRelay(t, Config{Upstreams: []Upstream{v.u}}), server)
			c.Write([]byte("hello"))
			c.CloseWrite()
			if got, err := io.ReadAll(c); string(got) != "hello" || err != nil {
				t.Fatalf("%q, %v", got, err)
			}
		})
	}
}

func TestSOCKSRefusalIsAReset(t *testing.T) {
	a := socksServer(t, [][2]string{{"\x05\x01\x00", "\x05\x00"},
		{"\x05\x01\x00\x01\xc0\x00\x02\x50\x00\x50", "\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00"}})
	r := newRelay(t, Config{Upstreams: []Upstream{{Protocol: SOCKS5, Addrs: []netip.AddrPort{a}, FastOpen: "never"}}})
	isReset(t, lanDial(t, r, server))
	if s, u := r.Stats(), r.Upstreams()[0]; s.Destination != 1 || !u.Up || u.Failures != 0 {
		t.Fatalf("%+v %+v", s, u)
	}
}

func TestRuleByMark(t *testing.T) {
	s := (*Relay)(nil).settle(Config{RuleMask: 0xf0, Rules: []Rule{
		{Name: "child", Mark: 0x10, Action: Block}, {Name: "video", Mark: 0x20, Action: NoLTE}}}, nil)
	for mark, want := range map[uint32]string{0: "", 0x10: "child", 0x10000021: "video", 0x30: ""} {
		got := ""
		if r := s.rule(mark); r != nil {
			got = r.Name
		}
		if got != want {
			t.Errorf("mark %#x: %q, want %q", mark, got, want)
		}
	}
}

func TestLinksOfAnAction(t *testing.T) {
	p := Plan{First: 1, Primary: 0, Links: []PlanLink{
		{Name: "dsl", Usable: true}, {Name: "lte", Usable: true, Metered: true}, {Name: "cable", Usable: true}, {Name: "down"}}}
	for _, v := range []struct {
		a    Action
		want string
	}{{Bond, "[lte dsl cable]"}, {Primary, "[dsl]"}, {NoLTE, "[dsl cable]"}} {
		var names []string
		for _, l := range p.links(v.a) {
			names = append(names, l.Name)
		}
		if fmt.Sprint(names) != v.want {
			t.Errorf("%v: %v, want %s", v.a, names, v.want)
		}
	}
	p.Links[0].Usable = false
	if l := p.links(Primary); l != nil {
		t.Errorf("primary is down and yet %v", l[0].Name)
	}
}

func TestSYNDataRestsAfterTwoFailures(t *testing.T) {
	u := (*settings)(nil).keep(Upstream{Name: "u", Protocol: Convert, FastOpen: "auto"}, nil)
	now := time.Now()
	for i, fine := range []bool{true, false, true, false, false} {
		if !u.fastOpen("dsl", now) {
			t.Fatalf("refused before failure %d", i)
		}
		u.judge("dsl", fine, time.Minute)
	}
	if u.fastOpen("dsl", now) {
		t.Fatal("two failures in a row changed nothing")
	}
	if !u.fastOpen("lte", now) {
		t.Fatal("the other link suffers")
	}
	later := now.Add(2 * time.Minute)
	if !u.fastOpen("dsl", later) {
		t.Fatal("never tried again")
	}
	u.judge("dsl", false, time.Minute)
	if u.fastOpen("dsl", time.Now()) {
		t.Fatal("one more failure after the rest must be enough")
	}
}

// Where data in the SYN went well a moment ago it is not looked at again; after a failure it is.
func TestSYNDataIsTrustedForAMoment(t *testing.T) {
	u := (*settings)(nil).keep(Upstream{Name: "u", Protocol: Convert, FastOpen: "auto"}, nil)
	now := time.Now()
	if u.trusts("dsl", now) {
		t.Error("trusted before anything is known")
	}
	u.judge("dsl", true, time.Minute)
	fine := u.syn["dsl"].fine
	for _, s := range []struct {
		link  string
		after time.Duration
		want  bool
	}{{"dsl", certainFor - 1, true}, {"dsl", certainFor, false}, {"lte", 0, false}} {
		if got := u.trusts(s.link, fine.Add(s.after)); got != s.want {
			t.Errorf("%s %v after it went well: trusted %v", s.link, s.after, got)
		}
	}
	if n := u.syn["dsl"].accepted; n != 2 {
		t.Errorf("%d counted as accepted, want 2", n)
	}
	u.judge("dsl", false, time.Minute)
	if u.trusts("dsl", fine) {
		t.Error("trusted after a failure")
	}
}

func TestPlainTCPWhereMPTCPIsLost(t *testing.T) {
	r := newRelay(t, Config{Upstreams: []Upstream{{Name: "c", Addrs: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:5124")}}}})
	u := r.settings.Load().upstreams[0]
	now := time.Now()
	for range fellLimit {
		if u.stripped("dsl", now) {
			t.Fatal("too soon")
		}
		u.sawMPTCP("dsl", false, now)
	}
	if !u.stripped("dsl", now) || u.stripped("lte", now) {
		t.Fatal("not known, or known of another link")
	}
	later := now.Add(fellRest)
	if u.stripped("dsl", later) || !u.stripped("dsl", later) {
		t.Fatal("not one tries again")
	}
	u.sawMPTCP("dsl", false, later)
	if !u.stripped("dsl", later.Add(fellRest-1)) {
		t.Fatal("one more loss, and it is forgotten")
	}
	u.sawMPTCP("dsl", true, later)
	if u.stripped("dsl", later) {
		t.Fatal("MPTCP works, and is not used")
	}
}

func TestReactions(t *testing.T) {
	for _, v := range []struct {
		err     error
		exposed bool
		want    retry
		out     bool
	}{
		{unix.ECONNREFUSED, true, otherUpstream, true},
		{unix.ECONNRESET, false, otherUpstream, false},
		{unix.ECONNRESET, true, never, false},
		{io.ErrUnexpectedEOF, true, never, false},
		{errSilent, false, otherLink, false},
		{errSilent, true, never, false},
		{unix.ENETUNREACH, false, otherLink, false},
		{unix.ENETUNREACH, true, never, false},
		{&nonsense{convert.ErrMagic}, false, otherLink, false},
		{&nonsense{convert.ErrMagic}, true, never, false},
		{errors.New("unheard of"), true, never, false},
	} {
		if re := react(v.err, v.exposed); re.retry != v.want || re.out != v.out {
			t.Errorf("%v, exposed %v: %+v", v.err, v.exposed, re)
		}
	}
}

func TestHostsAreCountedFairly(t *testing.T) {
	f := newFake(t, accepted)
	r := newRelay(t, Config{Upstreams: upstreams(f), MaxPerHost: 2})
	a, b := lanDial(t, r, server), lanDial(t, r, server)
	for _, c := range []*net.TCPConn{a, b} {
		c.Write([]byte("x"))
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	isReset(t, lanDial(t, r, server))
	a.CloseWrite()
	io.ReadAll(a)
	until(t, "a seat", func() bool { return r.Stats().Established == 1 })
	c := lanDial(t, r, server)
	c.Write([]byte("x"))
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if n := r.Stats().HostLimited; n != 1 {
		t.Fatalf("counted %d", n)
	}
}

func TestConfigurationIsReplacedWithoutHarm(t *testing.T) {
	f := newFake(t, accepted)
	cfg := Config{Upstreams: upstreams(f)}
	r := newRelay(t, cfg)
	c := lanDial(t, r, server)
	until(t, "the connection", func() bool { return r.Stats().Established == 1 })
	bad := cfg
	bad.IdleTimeout = time.Minute
	if err := r.SetConfig(bad); err == nil {
		t.Fatal("an idle timeout of a minute was taken")
	}
	cfg.Rules = []Rule{{Name: "all", Action: Block}}
	if err := r.SetConfig(cfg); err != nil {
		t.Fatal(err)
	}
	isReset(t, lanDial(t, r, server))
	c.Write([]byte("still"))
	c.CloseWrite()
	if got, err := io.ReadAll(c); string(got) != "still" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
}

// What is known of a converter outlives other preferences, and its addresses in another order, as a name server gives them.
func TestWhatIsKnownOutlivesPreferences(t *testing.T) {
	f, g := newFake(t, accepted), newFake(t, accepted)
	u := Upstream{Name: "c", Addrs: []netip.AddrPort{f.addr, g.addr}, FastOpen: "never"}
	r := newRelay(t, Config{Upstreams: []Upstream{u}})
	c := lanDial(t, r, server)
	until(t, "the connection", func() bool { return r.Stats().Established == 1 })
	known := r.settings.Load().upstreams[0]
	known.setCookie([]byte("cookie"))
	known.failures.Add(3)
	ctx, leave := known.enlist() // one that waits for its answer
	defer leave()
	for _, change := range []func(){func() { u.Priority = 1 }, func() { u.Weight = 7 }, func() { u.FastOpen = "auto" },
		func() { u.Addrs = []netip.AddrPort{g.addr, f.addr} }} {
		change()
		if err := r.SetConfig(Config{Upstreams: []Upstream{u}}); err != nil {
			t.Fatal(err)
		}
		if st := r.Upstreams()[0]; st.Sessions != 1 || st.Failures != 3 || !st.Cookie || st.Addrs[0] != u.Addrs[0] {
			t.Errorf("%+v", st)
		}
	}
	r.settings.Load().upstreams[0].rest(time.Hour, errSilent)
	if ctx.Err() == nil {
		t.Error("one that waited for its answer before was not told that it is out")
	}
	c.CloseWrite()
	io.ReadAll(c)
	until(t, "its end", func() bool { return r.Upstreams()[0].Sessions == 0 })
	u.Addrs = u.Addrs[:1]
	if err := r.SetConfig(Config{Upstreams: []Upstream{u}}); err != nil {
		t.Fatal(err)
	}
	if st := r.Upstreams()[0]; !st.Up || st.Cookie {
		t.Errorf("another converter, and its predecessor's is believed of it: %+v", st)
	}
}

// A full house that may hold more by now is open to them, though nobody has left.
func TestMoreSeatsOpenTheDoor(t *testing.T) {
	cfg := Config{Upstreams: upstreams(newFake(t, accepted)), MaxSessions: 2, MaxPerHost: 100}
	r := newRelay(t, cfg)
	for range 2 {
		lanDial(t, r, server)
	}
	until(t, "both", func() bool { return r.Stats().Established == 2 })
	for _, v := range []struct {
		most int
		full bool
	}{{2, true}, {1, true}, {100, false}} {
		cfg.MaxSessions = v.most
		if err := r.SetConfig(cfg); err != nil {
			t.Fatal(err)
		}
		if full := r.Stats().Full; full != v.full {
			t.Errorf("two of %d seats are taken: full %v", v.most, full)
		}
	}
}

func TestListenersAreHandedOver(t *testing.T) {
	f := newFake(t, accepted)
	old := newRelay(t, Config{Upstreams: upstreams(f)})
	if err := old.OpenDoor(0, 0); err != nil {
		if errors.Is(err, unix.EPERM) {
			t.Skip("needs CAP_NET_ADMIN for transparent sockets")
		}
		t.Fatal(err)
	}
	files, err := old.Listeners()
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	next := newRelay(t, Config{Upstreams: upstreams(f)})
	if err := next.AdoptListeners(files); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		f.Close()
	}
	old.CloseDoor()
	p4, _ := next.Ports()
	if o4, _ := old.Ports(); o4 != p4 {
		t.Fatalf("port %d became %d", o4, p4)
	}
	c, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(netip.AddrPortFrom(doorAddr[0], p4)))
	if err == nil { // else reset already: it came to the door's own address
		defer c.Close()
		c.SetDeadline(time.Now().Add(10 * time.Second))
		io.ReadAll(c)
	}
	until(t, "the successor's answer", func() bool { return next.Stats().Refused == 1 })
}

// What ran out closes the door for a moment, and no longer.
func TestDoorIsClosedWhileSomethingHasRunOut(t *testing.T) {
	r := newRelay(t, Config{Upstreams: upstreams(newFake(t, accepted))})
	if err := r.OpenDoor(0, 0); err != nil {
		if errors.Is(err, unix.EPERM) {
			t.Skip("needs CAP_NET_ADMIN for transparent sockets")
		}
		t.Fatal(err)
	}
	r.door.mu.Lock()
	r.door.scarce = time.Now().Add(time.Hour) // so that a busy machine sees it closed
	r.door.mu.Unlock()
	r.reconsider()
	if r.Stats().DoorOpen {
		t.Error("the door is open though something has run out")
	}
	r.runOut(unix.EMFILE)
	until(t, "the door to open again", func() bool { return r.Stats().DoorOpen })
}

// A door that cannot be opened is tried each second, however often something else changes meanwhile; and who wants to know of doors is told.
func TestDoorIsTriedOnceASecond(t *testing.T) {
	var tries lines
	var told atomic.Int64
	r, err := New(Config{Upstreams: upstreams(newFake(t, accepted))}, journal.New(&tries, journal.Warn))
	if err != nil {
		t.Fatal(err)
	}
	run(t, r)
	taken, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if err := r.OpenDoor(endpoint(taken.Addr()).Port(), 0); !errors.Is(err, unix.EADDRINUSE) {
		t.Skip("needs CAP_NET_ADMIN for transparent sockets: ", err)
	}
	const changes = 100
	for range changes {
		r.changed()
	}
	time.Sleep(3500 * time.Millisecond)
	if n := tries.Load() - changes; n < 1 || n > 4 {
		t.Errorf("tried %d times within 3.5 s", n)
	}
	r.OnState(func() {
		if r.Stats().DoorOpen {
			told.Add(1)
		}
	})
	taken.Close()
	until(t, "somebody is told that the door is open", func() bool { return told.Load() > 0 })
}

// lines counts what is written.
type lines struct{ atomic.Int64 }

func (n *lines) Write(b []byte) (int, error) { n.Add(1); return len(b), nil }

func TestRanOut(t *testing.T) {
	call := func(name string, e error) error { return &net.OpError{Op: "dial", Err: os.NewSyscallError(name, e)} }
	for err, want := range map[error]bool{
		call("connect", unix.EADDRNOTAVAIL): true, call("bind", unix.EADDRNOTAVAIL): false, call("socket", unix.EMFILE): true,
		call("accept4", unix.ENFILE): true, call("connect", unix.ENOBUFS): true, call("connect", unix.ECONNREFUSED): false,
		errFamily: false, errSilent: false,
	} {
		if ranOut(err) != want {
			t.Errorf("%v: %v, want %v", err, !want, want)
		}
	}
}

func TestNativeServersAreBounded(t *testing.T) {
	var n native
	now := time.Now()
	for i := range mostNative + 100 {
		n.learn(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 443), now.Add(time.Hour))
	}
	if k := n.len(now); k != mostNative {
		t.Fatalf("%d are remembered", k)
	}
	last := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte((mostNative + 99) >> 8), byte((mostNative + 99) & 255)}), 443)
	if !n.knows(last, now) || n.knows(last, now.Add(2*time.Hour)) {
		t.Fatal("the newest is unknown, or known for ever")
	}
	before := netip.AddrPortFrom(last.Addr().Prev(), 443)
	if list := n.newest(2, now); !slices.Equal(list, []netip.AddrPort{last, before}) {
		t.Fatalf("the newest two are %v", list)
	}
	n.forget(last)
	if n.knows(last, now) {
		t.Fatal("not forgotten")
	}
	if list := n.newest(1, now); !slices.Equal(list, []netip.AddrPort{before}) || n.newest(1, now.Add(2*time.Hour)) != nil {
		t.Fatalf("listed: %v", list)
	}
}

func TestDSCPOfASYN(t *testing.T) {
	for _, v := range []struct {
		h    []byte
		want uint8
	}{{[]byte{0x45, 0xb8}, 46}, {[]byte{0x6b, 0x80, 0, 0}, 46}, {[]byte{0x45}, 0}, {nil, 0}} {
		if d := dscpOf(v.h); d != v.want {
			t.Errorf("%x: %d", v.h, d)
		}
	}
}
