// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"errors"
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
	"spillway/mptcp"
	"spillway/testbed/await"
)

// at is a plan with one link that has an address of loopback; "": none.
func at(addr string) Plan {
	if addr == "" {
		return Plan{First: -1, Primary: -1}
	}
	return Plan{Links: []PlanLink{{Name: "dsl", Addr4: netip.MustParseAddr(addr), Usable: true}}, Primary: 0}
}

// Who comes right after the last link was lost waits for it, with what it has said.
func TestNewConnectionsWaitForALinkThatWasJustLost(t *testing.T) {
	r := newRelay(t, Config{Upstreams: upstreams(newFake(t, accepted))})
	r.SetPlan(at(""))
	r.planned.mu.Lock()
	r.planned.lost[Bond] = time.Now().Add(time.Hour) // as long as this test may take
	r.planned.mu.Unlock()
	c := lanDial(t, r, server)
	c.Write([]byte("x"))
	until(t, "the session", func() bool { return r.guests.total() == 1 })
	r.SetPlan(at("")) // nothing better
	r.SetPlan(at("127.0.0.1"))
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

// After that it is told at once, and so is one whose action no link serves though others are there.
// All links fail at once on our own side, and a moment later one doesn't.
func TestLinksThatAreNotReadyAreTriedAgain(t *testing.T) {
	f := newFake(t, accepted)
	r := newRelay(t, Config{Upstreams: upstreams(f)})
	r.planned.unready = time.Minute
	gone := []PlanLink{{Name: "dsl", Device: "spw-gone0", Usable: true}, {Name: "lte", Device: "spw-gone1", Usable: true}}
	r.SetPlan(Plan{Links: gone, Primary: 0})
	c := lanDial(t, r, server)
	until(t, "a second look at the links", func() bool { return r.Stats().Retried >= 3 })
	r.SetPlan(Plan{Links: []PlanLink{gone[0], {Name: "lte", Usable: true}}, Primary: 0})
	c.Write([]byte("hello"))
	c.CloseWrite()
	if got, err := io.ReadAll(c); string(got) != "hello" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	until(t, "its end", func() bool { return r.Stats().Established == 0 })
	r.planned.unready = 100 * time.Millisecond
	r.SetPlan(Plan{Links: gone, Primary: 0})
	if n, err := lanDial(t, r, server).Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("links that stay away: %d octets, %v, want a reset", n, err)
	}
}

func TestWithoutLinkForLongConnectionsAreReset(t *testing.T) {
	r := newRelay(t, Config{Upstreams: upstreams(newFake(t, accepted))})
	r.SetPlan(at(""))
	r.planned.mu.Lock()
	r.planned.lost[Bond] = time.Now().Add(-outage)
	r.planned.mu.Unlock()
	isReset(t, lanDial(t, r, server))
	if s := r.Stats(); s.NoLink != 1 {
		t.Fatalf("%+v", s)
	}
}

// Each action has its own time: since when no link serves it.
func TestLostSince(t *testing.T) {
	var w planned
	begin := time.Now()
	metered := at("127.0.0.1")
	metered.Links[0].Metered, metered.Primary = true, -1
	for i, step := range []struct {
		plan Plan
		want [Block]int // seconds after begin; -1: a link serves
	}{
		{at(""), [Block]int{0, 0, 0}},
		{at(""), [Block]int{0, 0, 0}},
		{at("127.0.0.1"), [Block]int{-1, -1, -1}},
		{metered, [Block]int{-1, 3, 3}},
		{at(""), [Block]int{4, 3, 3}},
	} {
		w.follow(&step.plan, begin.Add(time.Duration(i)*time.Second))
		for a, want := range step.want {
			_, lost := w.next(Action(a))
			if want < 0 && !lost.IsZero() || want >= 0 && !lost.Equal(begin.Add(time.Duration(want)*time.Second)) {
				t.Errorf("step %d, %v: %v after the begin, want %d s", i, Action(a), lost.Sub(begin), want)
			}
		}
	}
}

// A connection that waits for an answer when its link gets another address is told: the answer cannot come.
func TestReplacedAddressEndsTheWait(t *testing.T) {
	f := newFake(t, func(c *net.TCPConn, m *convert.Message) { io.Copy(io.Discard, c) })
	r := newRelay(t, Config{Upstreams: upstreams(f), ConnectTimeout: 2 * time.Minute, ServerTimeout: 2 * time.Minute, Block: true})
	r.planned.grace = 50 * time.Millisecond
	other, made, anew := at("127.0.0.2"), at("127.0.0.1"), at("127.0.0.1")
	made.Links[0].Index, anew.Links[0].Index = 3, 4 // its device was removed and made anew
	for _, next := range []Plan{other, anew} {
		r.SetPlan(made)
		c := lanDial(t, r, server)
		c.Write([]byte("x"))
		until(t, "it waits", func() bool { return waiting(r) == 1 })
		r.SetPlan(next)
		isReset(t, c)
	}
}

// One whose address is merely gone waits on, and so does one whose address another link has.
func TestLostAddressIsWaitedFor(t *testing.T) {
	answer := make(chan struct{})
	f := newFake(t, func(c *net.TCPConn, m *convert.Message) {
		<-answer
		accepted(c, m)
	})
	r := newRelay(t, Config{Upstreams: upstreams(f), ConnectTimeout: 2 * time.Minute, ServerTimeout: 2 * time.Minute})
	r.SetPlan(at("127.0.0.1"))
	stays, goes := lanDial(t, r, server), lanDial(t, r, server)
	stays.Write([]byte("x"))
	until(t, "both wait", func() bool { return waiting(r) == 2 })
	r.SetPlan(at(""))
	swapped := at("127.0.0.2")
	swapped.Links = append(swapped.Links, PlanLink{Name: "lte", Addr4: netip.MustParseAddr("127.0.0.1"), Usable: true})
	r.SetPlan(swapped)
	if waiting(r) != 2 {
		t.Fatal("an address that is gone, or another link's, is not replaced")
	}
	r.SetPlan(at("127.0.0.1"))
	close(answer)
	if _, err := io.ReadFull(stays, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	goes.Write([]byte("x"))
	if _, err := io.ReadFull(goes, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

// Nor does it end the wait of one who has said something that no link has the address for the moment in which two links change names.
func TestSwappedLinksAreWaitedFor(t *testing.T) {
	answer := make(chan struct{})
	f := newFake(t, func(c *net.TCPConn, m *convert.Message) {
		<-answer
		accepted(c, m)
	})
	r := newRelay(t, Config{Upstreams: upstreams(f), ConnectTimeout: 2 * time.Minute, ServerTimeout: 2 * time.Minute})
	r.planned.grace = time.Hour // as long as this test may take
	r.SetPlan(at("127.0.0.1"))
	c := lanDial(t, r, server)
	c.Write([]byte("x"))
	until(t, "it waits", func() bool { return waiting(r) == 1 })
	half := at("127.0.0.2")
	r.SetPlan(half)
	swapped := at("127.0.0.2")
	swapped.Links = append(swapped.Links, PlanLink{Name: "lte", Addr4: netip.MustParseAddr("127.0.0.1"), Usable: true})
	r.SetPlan(swapped)
	r.planned.mu.Lock()
	r.planned.grace = time.Nanosecond // over, had it not begun anew
	r.planned.mu.Unlock()
	r.SetPlan(swapped)
	close(answer)
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

// One whose SYN went out by a link that is lost by now, and who has said nothing to anybody, goes by another link at once.
func TestUnansweredSYNDoesNotWaitForALostLink(t *testing.T) {
	l := full(t)
	var from atomic.Value
	r := newRelay(t, Config{Upstreams: []Upstream{{Addrs: []netip.AddrPort{l.Addr().(*net.TCPAddr).AddrPort()}, FastOpen: "never"}},
		ConnectTimeout: 2 * time.Minute, ServerTimeout: 2 * time.Minute, Race: "off"})
	plan := at("127.0.0.2")
	plan.Links = append(plan.Links, PlanLink{Name: "lte", Addr4: netip.MustParseAddr("127.0.0.3"), Usable: true, Metered: true})
	r.SetPlan(plan)
	c := lanDial(t, r, server)
	c.Write([]byte("x"))
	until(t, "it waits", func() bool { return waiting(r) == 1 })
	lost := Plan{First: 1, Primary: -1, Links: []PlanLink{{Name: "dsl"}, plan.Links[1]}}
	r.SetPlan(lost)
	until(t, "another try", func() bool { return r.Stats().Retried == 1 })
	serveFake(l, func(c *net.TCPConn, m *convert.Message) {
		from.Store(endpoint(c.RemoteAddr()).Addr().String())
		accepted(c, m)
	})
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if from.Load() != "127.0.0.3" {
		t.Errorf("it went by %v, want LTE's address", from.Load())
	}
}

// One on the lane does not wait for the lane's end either, where its SYN-ACK might still come and its LAN host speak to nobody.
func TestLostLinkEndsTheLane(t *testing.T) {
	l := full(t)
	plan := at("127.0.0.2")
	plan.Links = append(plan.Links, PlanLink{Name: "lte", Addr4: netip.MustParseAddr("127.0.0.3"), Usable: true, Metered: true})
	lost := Plan{First: 1, Primary: -1, Links: []PlanLink{{Name: "dsl"}, plan.Links[1]}}
	for range 20 { // on a busy machine all may take longer
		r := newRelay(t, Config{Upstreams: []Upstream{{Addrs: []netip.AddrPort{l.Addr().(*net.TCPAddr).AddrPort()}, FastOpen: "never"}},
			ConnectTimeout: 2 * time.Minute, ServerTimeout: 2 * time.Minute, Race: "off"})
		r.SetPlan(plan)
		began := time.Now()
		lanDial(t, r, server).Write([]byte("x"))
		until(t, "it has begun", func() bool { return r.Stats().Accepted == 1 })
		time.Sleep(10 * time.Millisecond) // it is on the lane by now, or nothing is shown
		r.SetPlan(lost)
		until(t, "another try", func() bool { return r.Stats().Retried == 1 })
		if time.Since(began) < 150*time.Millisecond { // the lane ends after 200
			return
		}
	}
	t.Error("it waits until the lane ends")
}

func TestLosses(t *testing.T) {
	dsl := PlanLink{Name: "dsl", Device: "dsl", Index: 3, Addr4: netip.MustParseAddr("192.0.2.1"), Usable: true}
	lte := PlanLink{Name: "lte", Device: "lte", Index: 4, Addr4: netip.MustParseAddr("192.0.2.2"), Usable: true, Metered: true}
	off, anew, elsewhere, swapped, heavy := dsl, dsl, dsl, dsl, dsl
	off.Usable, anew.Index, elsewhere.Addr4, swapped.Device, heavy.Weight = false, 5, netip.MustParseAddr("192.0.2.3"), "lte", 2
	for _, tt := range []struct {
		name     string
		was, now []PlanLink
		loses    bool
	}{
		{"as it was", []PlanLink{dsl, lte}, []PlanLink{dsl, lte}, false},
		{"another order", []PlanLink{dsl, lte}, []PlanLink{lte, dsl}, false},
		{"another weight", []PlanLink{dsl, lte}, []PlanLink{heavy, lte}, false},
		{"one comes", []PlanLink{dsl}, []PlanLink{dsl, lte}, false},
		{"one returns", []PlanLink{off, lte}, []PlanLink{dsl, lte}, false},
		{"one goes", []PlanLink{dsl, lte}, []PlanLink{lte}, true},
		{"one is down", []PlanLink{dsl, lte}, []PlanLink{off, lte}, true},
		{"made anew", []PlanLink{dsl, lte}, []PlanLink{anew, lte}, true},
		{"another address", []PlanLink{dsl, lte}, []PlanLink{elsewhere, lte}, true},
		{"another device", []PlanLink{dsl, lte}, []PlanLink{swapped, lte}, true},
		{"none was there", nil, []PlanLink{dsl}, false},
	} {
		if p := (&Plan{Links: tt.now}); p.loses(&Plan{Links: tt.was}) != tt.loses {
			t.Errorf("%s: want %v", tt.name, tt.loses)
		}
	}
}

// One whose answer is late on a link that others do not begin on any more goes by theirs, if its LAN host has said nothing; who has waits on.
func TestLateAnswerOnALinkThatWasLeft(t *testing.T) {
	f := newFake(t, func(c *net.TCPConn, m *convert.Message) {
		if endpoint(c.RemoteAddr()).Addr().String() == "127.0.0.2" {
			io.Copy(io.Discard, c) // its answer is always lost
			return
		}
		accepted(c, m)
	})
	r := newRelay(t, Config{Upstreams: upstreams(f), ConnectTimeout: 2 * time.Minute, ServerTimeout: 2 * time.Minute, Race: "off"})
	r.planned.quiet = 50 * time.Millisecond
	plan := at("127.0.0.2")
	plan.Links = append(plan.Links, PlanLink{Name: "lte", Addr4: netip.MustParseAddr("127.0.0.3"), Usable: true, Metered: true})
	r.SetPlan(plan)
	silent, said := lanDial(t, r, server), lanDial(t, r, server)
	said.Write([]byte("x"))
	late := func() (all, said int) {
		r.planned.mu.Lock()
		defer r.planned.mu.Unlock()
		for d := range r.planned.pending {
			if d.late {
				all++
			}
			if d.s.early.sent.Load() {
				said++
			}
		}
		return all, said
	}
	until(t, "both are late, and one has said something", func() bool { all, said := late(); return all == 2 && said == 1 })
	if n := r.Stats().Retried; n != 0 {
		t.Fatalf("%d tries more, though the link is still the first", n)
	}
	plan.First = 1
	r.SetPlan(plan)
	until(t, "another try", func() bool { return r.Stats().Retried == 1 })
	silent.Write([]byte("y"))
	silent.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.ReadFull(silent, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if waiting(r) != 1 {
		t.Error("who has said something does not wait on")
	}
}

// What a LAN host has said is said to nobody else when the first subflow is closed, as its link was lost: the other end may have it, and act on it.
func TestLostSubflowIsNoSilence(t *testing.T) {
	r, c, heard := withoutSubflow(t, 3*time.Second)
	isReset(t, c) // after the upstream's time
	select {
	case from := <-heard:
		t.Errorf("it was said again by %v", from)
	default:
	}
	if n := r.Stats().Retried; n != 0 {
		t.Errorf("%d tries more", n)
	}
}

// Nor has the kernel less time to make another one when the link has another address by then.
func TestLostSubflowIsReplaced(t *testing.T) {
	r, c, _ := withoutSubflow(t, time.Minute)
	plan := *r.plan.Load()
	plan.Links = slices.Clone(plan.Links)
	plan.Links[0].Addr4 = netip.MustParseAddr("127.77.1.4")
	r.SetPlan(plan)
	began := time.Now()
	isReset(t, c)
	if took := time.Since(began); took < joinGrace {
		t.Errorf("the connection was given up after %v", took)
	}
}

// withoutSubflow is a LAN host's connection that waits for an answer, for most, with something said, after its first and only subflow was closed. heard tells
// by which address it was said.
func withoutSubflow(t *testing.T, most time.Duration) (r *Relay, lan *net.TCPConn, heard chan string) {
	t.Helper()
	pm, ok, err := mptcp.OpenPathManager()
	if err != nil || !ok {
		t.Skip("kernel without MPTCP: ", err)
	}
	defer pm.Close()
	l, err := mptcp.Listen(t.Context(), netip.MustParseAddrPort("127.0.0.1:0"), mptcp.ListenOptions{MPTCP: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	heard = make(chan string, 8)
	serveFake(l, func(c *net.TCPConn, m *convert.Message) {
		if _, err := io.ReadFull(c, make([]byte, 1)); err == nil {
			heard <- endpoint(c.RemoteAddr()).Addr().String()
		}
		io.Copy(io.Discard, c)
	})
	first := netip.MustParseAddr("127.77.1.2") // no other test's
	r = newRelay(t, Config{Upstreams: []Upstream{{Addrs: []netip.AddrPort{l.Addr().(*net.TCPAddr).AddrPort()}, FastOpen: "never"}},
		ConnectTimeout: most, ServerTimeout: most, Block: true})
	r.SetPlan(Plan{Primary: 0, Links: []PlanLink{{Name: "dsl", Addr4: first, Usable: true},
		{Name: "lte", Addr4: netip.MustParseAddr("127.77.1.3"), Usable: true, Metered: true}}})
	lan = lanDial(t, r, server)
	lan.Write([]byte("x"))
	if from := await.Value(t, "what the host said", heard); from != first.String() {
		t.Fatalf("it went by %v", from)
	}
	time.Sleep(50 * time.Millisecond) // the acknowledgement
	if err := pm.Remove(0, first); err != nil {
		if errors.Is(err, unix.EPERM) {
			t.Skip("needs CAP_NET_ADMIN")
		}
		t.Fatal(err)
	}
	return r, lan, heard
}

// full is a listener whose queue is full, so that SYNs get no answer until somebody accepts.
func full(t *testing.T) *net.TCPListener {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "listener")
	defer f.Close()
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	l, err := net.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	for range 16 {
		c, err := net.DialTimeout("tcp", l.Addr().String(), 300*time.Millisecond)
		if err != nil {
			return l.(*net.TCPListener)
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("the queue of a listener does not get full")
	return nil
}

// waiting counts the connections that wait for an answer, with what their hosts have said on its way.
func waiting(r *Relay) (n int) {
	r.planned.mu.Lock()
	defer r.planned.mu.Unlock()
	return len(r.planned.pending)
}
