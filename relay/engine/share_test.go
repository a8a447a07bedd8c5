// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestGives(t *testing.T) {
	const m = 1 << 20
	for _, c := range []struct {
		own, other int64
		movers     int
		want       bool
	}{
		{8 * m, 0, 8, true},
		{7 * m, m, 7, true},
		{5 * m, 3 * m, 5, true},
		{4 * m, 4 * m, 4, false},
		{2 * m, 0, 2, true},
		{2 * m, m, 2, false}, // the other would be the one that has more
		{8 * m, 0, 1, false}, // so it would with the only one
		{3 * m, 4 * m, 3, false},
	} {
		if got := gives(c.own, c.other, c.movers); got != c.want {
			t.Errorf("gives(%d, %d, %d) = %v, not %v", c.own, c.other, c.movers, got, c.want)
		}
	}
}

func TestGathers(t *testing.T) {
	const ms = int64(time.Millisecond)
	for _, c := range []struct {
		own, other int64
		want       bool
	}{
		{ms, 2 * ms, true},
		{0, ms, true},
		{2 * ms, ms, false},
		{ms, ms, false}, // the other may think the same
		{13 * ms, 15 * ms, true},
		{14 * ms, 15 * ms, false}, // it would soon be busy
		{0, 29 * ms, false},
	} {
		if got := gathers(c.own, c.other, shareLeast); got != c.want {
			t.Errorf("gathers(%d, %d) = %v, not %v", c.own, c.other, got, c.want)
		}
	}
}

func TestLoadIsForgotten(t *testing.T) {
	var l loop
	l.load.Store(told(1<<32+7, 3<<20+5)) // the number of the window wraps
	for window, want := range map[int64]int64{1<<32 + 8: 3 << 20, 1<<32 + 9: 3 << 20, 1<<32 + 10: 0, 1<<32 + 1000: 0} {
		if got := l.busyIn(window); got != want {
			t.Errorf("in window %#x: %d ns, not %d", window, got, want)
		}
	}
}

// TestBusyLoopGivesAway has connections that all began with one loop of two move as much as they can, both ways, until the other has some. What
// they move arrives whole, they are found from outside meanwhile, and they end as they should.
func TestBusyLoopGivesAway(t *testing.T) {
	for name, far := range map[string]bool{"router": false, "concentrator": true} {
		t.Run(name, func(t *testing.T) { givesAway(t, far) })
	}
}

func givesAway(t *testing.T, far bool) {
	kinds(t, func(t *testing.T, mptcp bool) {
		e, err := newEngine(2, 1) // however slow the machine is
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.Close)
		var seen atomic.Bool // it may give back what it has been given, when the others have ended
		carries(t, []*loop{e.loops[0], e.loops[0], e.loops[0], e.loops[0], e.loops[0], e.loops[0]}, far, mptcp, func() bool {
			if e.loops[1].has() > 0 {
				seen.Store(true)
			}
			return seen.Load()
		})
		if !seen.Load() {
			t.Error("the other loop was given nothing")
		}
	})
}

// TestBulkIsGathered has connections of both loops move as much as they can, while loops are taken to have time however busy they are, until one has all.
func TestBulkIsGathered(t *testing.T) {
	kinds(t, func(t *testing.T, mptcp bool) {
		e, err := newEngine(2, 1<<40)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.Close)
		var seen atomic.Bool
		carries(t, []*loop{e.loops[0], e.loops[1], e.loops[0], e.loops[1]}, false, mptcp, func() bool {
			if max(e.loops[0].has(), e.loops[1].has()) == 4 {
				seen.Store(true)
			}
			return seen.Load()
		})
		if !seen.Load() {
			t.Error("no loop has all of them")
		}
	})
}

// TestSummons: others accept from when connections crowd, or the first loop is busy, until there is no crowd and all have time.
func TestSummons(t *testing.T) {
	const ms = int64(time.Millisecond)
	first, other := &loop{least: shareLeast, heeds: true, epoll: -1}, &loop{epoll: -1}
	first.peers = []*loop{first, other}
	for i, c := range []struct {
		busy, other int64
		crowd       int
		want        bool
	}{
		{30 * ms, 0, 0, false}, {37 * ms, 50 * ms, 7, false},
		{38 * ms, 0, 0, true}, {15 * ms, 15 * ms, 0, true}, {50 * ms, 50 * ms, 0, true}, {14 * ms, 14 * ms, 0, false},
		{30 * ms, 0, 0, false},
		{10 * ms, 0, 8, true}, {10 * ms, 10 * ms, 3, true}, {30 * ms, 10 * ms, 0, true}, {10 * ms, 10 * ms, 2, false},
	} {
		other.load.Store(told(int64(i), c.other))
		first.summon(int64(i+1), c.busy, c.crowd)
		if other.heeds != c.want {
			t.Errorf("busy for %d and %d ms, a crowd of %d: the other accepts: %v", c.busy/ms, c.other/ms, c.crowd, other.heeds)
		}
	}
}

// TestOthersAccept: another loop accepts from listeners that were there when it was summoned, and from new ones, until it is sent away.
func TestOthersAccept(t *testing.T) {
	e := start(t, 2)
	listen := func() (two func() bool) {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		fd, err := Duplicate(l.(*net.TCPListener))
		if err != nil {
			t.Fatal(err)
		}
		came, leave := make(chan *loop), make(chan bool)
		door, err := e.Listen(fd, func(a Arrival) {
			unix.Close(a.FD)
			came <- a.loop
			<-leave
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(door.Close)
		return func() (others bool) { // whether a second one is accepted while the first loop is in the callback
			for range 2 {
				c, err := net.DialTimeout("tcp4", l.Addr().String(), 30*time.Second)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
			}
			at := []*loop{wait(t, "nobody accepted", came)}
			select {
			case l := <-came:
				at = append(at, l)
			case <-time.After(100 * time.Millisecond):
				leave <- true
				at = append(at, wait(t, "nobody accepted the second", came))
				leave <- true
				return at[0] != e.loops[0] || at[1] != e.loops[0]
			}
			leave <- true
			leave <- true
			return at[0] != at[1]
		}
	}
	two := listen()
	if two() {
		t.Error("another loop accepts though nobody has asked it to")
	}
	e.loops[1].heed(true)
	if !two() {
		t.Error("the other loop does not accept")
	}
	young := listen()
	if !young() {
		t.Error("the other loop does not accept from a new listener")
	}
	e.loops[1].heed(false)
	if two() || young() {
		t.Error("the other loop accepts still")
	}
}

// has counts the connections.
func (l *loop) has() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// carries has a connection of each of the loops carry octets, which are compared, as many as it can, until enough says so, and then end.
func carries(t *testing.T, loops []*loop, far, mptcp bool, enough func() bool) {
	deadline := time.Now().Add(20 * time.Second)
	ends := make(chan End, len(loops))
	var all sync.WaitGroup
	for i, l := range loops {
		a, lan := pipe(t, false)
		b, up := pipe(t, mptcp)
		c, err := l.add(Pair{LAN: a, Up: b, Far: far, Done: func(_ *Conn, x End) { ends <- x }})
		if err != nil {
			t.Fatal(err)
		}
		down, back := rand.New(rand.NewPCG(1, uint64(i))), rand.New(rand.NewPCG(1, uint64(i)))
		var sent, came int64
		all.Go(func() {
			defer up.CloseWrite()
			buf := make([]byte, 32<<10)
			for time.Now().Before(deadline) && !enough() {
				fill(down, buf)
				n, err := up.Write(buf)
				sent += int64(n)
				if err != nil {
					t.Errorf("send: %v", err)
					return
				}
				if !c.Control(func(_, _ int) {}) {
					t.Error("a connection that lives is not found")
				}
			}
		})
		all.Go(func() {
			defer lan.CloseWrite()
			buf, want := make([]byte, 32<<10), make([]byte, 32<<10)
			for {
				n, err := io.ReadFull(lan, buf)
				came += int64(n)
				if err == io.EOF {
					return
				}
				if err != nil {
					t.Errorf("receive: %v", err)
					return
				}
				fill(back, want)
				if string(buf[:n]) != string(want[:n]) {
					t.Errorf("other octets came than were sent, before %d", came)
					return
				}
			}
		})
		t.Cleanup(func() {
			if came != sent {
				t.Errorf("%d octets came of %d", came, sent)
			}
		})
	}
	all.Wait()
	for range loops {
		if end := wait(t, "a connection did not end", ends); end != Closed {
			t.Errorf("a connection ended so: %d", end)
		}
	}
}

func fill(r *rand.Rand, b []byte) {
	for i := 0; i < len(b); i += 8 {
		v := r.Uint64()
		for k := range 8 {
			b[i+k] = byte(v >> (8 * k))
		}
	}
}

// TestGivenToTheClosed: what is given to a loop that is over is reset and told of, once.
func TestGivenToTheClosed(t *testing.T) {
	e := start(t, 2)
	a, lan := pipe(t, false)
	b, _ := pipe(t, false)
	end := make(chan End, 2)
	from, to := &loop{}, e.loops[1]
	c := &Conn{fd: [2]int32{int32(a), int32(b)}, done: func(_ *Conn, x End) { end <- x }}
	c.dir[0].place, c.dir[1].place = -1, -1
	from.mu.Lock()
	from.slots = []slot{{conn: c}}
	from.count = 1
	from.mu.Unlock()
	c.home.Store(from)
	e.Close()
	from.give(c, to)
	select {
	case x := <-end:
		if x != Aborted {
			t.Errorf("it ended so: %d", x)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("nobody was told")
	}
	if _, err := lan.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("the host read %v, and no reset", err)
	}
}

// TestGivenWhileItCloses: what is given while a loop looks at what it was given, just before it is closed, is not forgotten.
func TestGivenWhileItCloses(t *testing.T) {
	to, err := newLoop(new(atomic.Int32), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	a, _ := pipe(t, false)
	b, _ := pipe(t, false)
	end := make(chan End, 2)
	c := &Conn{fd: [2]int32{int32(a), int32(b)}, done: func(_ *Conn, x End) { end <- x }}
	c.dir[0].place, c.dir[1].place = -1, -1
	from := &loop{slots: []slot{{conn: c}}, count: 1}
	c.home.Store(from)
	to.mu.Lock() // who waits for it longer than 1 ms has it in the order of coming
	for _, next := range []func(){
		func() {
			for !to.woken() {
			}
		},
		func() { from.give(c, to) },
		func() {
			to.mu.Lock()
			to.closed = true
			to.mu.Unlock()
		},
	} {
		go next()
		time.Sleep(5 * time.Millisecond)
	}
	to.mu.Unlock()
	to.mu.Lock() // before the first of them is awake: so it asks for the order
	time.Sleep(5 * time.Millisecond)
	to.mu.Unlock()
	if x := wait(t, "nobody was told", end); x != Aborted {
		t.Errorf("it ended so: %d", x)
	}
}
