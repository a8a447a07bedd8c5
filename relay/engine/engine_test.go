// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"spillway/testbed/await"
	"spillway/testbed/netns"
)

// pipe is a pair of connected sockets over loopback; near's descriptor is raw, as the engine wants it.
func pipe(t testing.TB, mptcp bool) (near int, far *net.TCPConn) {
	t.Helper()
	return pipeTo(t, net.ListenConfig{KeepAlive: -1}, mptcp)
}

// pipeTo is pipe with what lc says of the listener, and so of far.
func pipeTo(t testing.TB, lc net.ListenConfig, mptcp bool) (near int, far *net.TCPConn) {
	t.Helper()
	lc.SetMultipathTCP(mptcp)
	l, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := net.Dialer{KeepAlive: -1}
	d.SetMultipathTCP(mptcp)
	a, err := d.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	far = b.(*net.TCPConn)
	t.Cleanup(func() { far.Close() })
	far.SetDeadline(time.Now().Add(30 * time.Second))
	return detach(t, a.(*net.TCPConn)), far
}

func detach(t testing.TB, c *net.TCPConn) (fd int) {
	t.Helper()
	fd, err := Detach(c)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func start(t testing.TB, loops int) *Engine {
	t.Helper()
	e, err := New(loops)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// join makes two hosts that the engine connects; end receives how it ended.
func join(t testing.TB, e *Engine, mptcp bool) (lan, up *net.TCPConn, c *Conn, end chan End) {
	t.Helper()
	a, lan := pipe(t, false)
	b, up := pipe(t, mptcp)
	end = make(chan End, 1)
	c, err := e.Add(Pair{LAN: a, Up: b, Done: func(_ *Conn, x End) { end <- x }})
	if err != nil {
		t.Fatal(err)
	}
	return lan, up, c, end
}

func kinds(t *testing.T, fn func(t *testing.T, mptcp bool)) {
	t.Run("tcp", func(t *testing.T) { fn(t, false) })
	t.Run("mptcp", func(t *testing.T) {
		if _, err := os.Stat("/proc/sys/net/mptcp/enabled"); err != nil {
			netns.Missing(t, "kernel without MPTCP")
		}
		fn(t, true)
	})
}

func TestOctetsCrossBothWaysAtOnce(t *testing.T) {
	kinds(t, func(t *testing.T, mptcp bool) {
		lan, up, c, end := join(t, start(t, 1), mptcp)
		want := make([]byte, 8<<20)
		rand.NewChaCha8([32]byte{2}).Read(want)
		var all sync.WaitGroup
		send := func(c *net.TCPConn) {
			for b := want; len(b) > 0; {
				n := min(len(b), 1+rand.IntN(200_000))
				if _, err := c.Write(b[:n]); err != nil {
					t.Error(err)
					return
				}
				b = b[n:]
			}
			c.CloseWrite()
		}
		receive := func(name string, c *net.TCPConn) {
			got, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: %d octets, %v", name, len(got), err)
			}
		}
		all.Go(func() { send(lan) })
		all.Go(func() { send(up) })
		all.Go(func() { receive("lan", lan) })
		all.Go(func() { receive("up", up) })
		await.All(t, "octets both ways", &all)
		if x := wait(t, "the end", end); x != Closed {
			t.Errorf("ended %d", x)
		}
		if a, b := c.Moved(); a != uint64(len(want)) || b != uint64(len(want)) {
			t.Errorf("moved %d and %d", a, b)
		}
	})
}

// TestIdleIsSinceTheLastOctet, of either side.
func TestIdleIsSinceTheLastOctet(t *testing.T) {
	lan, up, c, _ := join(t, start(t, 1), false)
	time.Sleep(2100 * time.Millisecond)
	if idle := c.Idle(); idle < 2*time.Second || idle > time.Minute {
		t.Errorf("idle for %v after 2.1 s", idle)
	}
	up.Write([]byte("x"))
	if _, err := io.ReadFull(lan, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if idle := c.Idle(); idle > time.Second {
		t.Errorf("idle for %v after an octet", idle)
	}
}

func TestSlowReaderGetsAll(t *testing.T) {
	kinds(t, func(t *testing.T, mptcp bool) {
		lan, up, _, _ := join(t, start(t, 1), mptcp)
		want := make([]byte, 12<<20)
		rand.NewChaCha8([32]byte{3}).Read(want)
		go func() {
			up.Write(want)
			up.CloseWrite()
		}()
		var got bytes.Buffer
		b := make([]byte, 256<<10)
		for {
			n, err := lan.Read(b)
			got.Write(b[:n])
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Fatalf("%d octets", got.Len())
		}
	})
}

func TestHalfCloseIsPassedOn(t *testing.T) {
	kinds(t, func(t *testing.T, mptcp bool) {
		lan, up, _, end := join(t, start(t, 1), mptcp)
		lan.Write([]byte("question"))
		lan.CloseWrite()
		if q, err := io.ReadAll(up); string(q) != "question" || err != nil {
			t.Fatalf("%q, %v", q, err)
		}
		up.Write([]byte("answer"))
		up.CloseWrite()
		if a, err := io.ReadAll(lan); string(a) != "answer" || err != nil {
			t.Fatalf("%q, %v", a, err)
		}
		if x := wait(t, "the end", end); x != Closed {
			t.Fatalf("ended %d", x)
		}
	})
}

func TestResetIsPassedOn(t *testing.T) {
	kinds(t, func(t *testing.T, mptcp bool) {
		e := start(t, 1)
		for _, side := range []string{"lan", "up"} {
			lan, up, _, end := join(t, e, mptcp)
			dying, other := lan, up
			if side == "up" {
				dying, other = up, lan
			}
			dying.Write([]byte("x"))
			if _, err := io.ReadFull(other, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			rc, _ := dying.SyscallConn()
			rc.Control(func(fd uintptr) { Abort(int(fd)) })
			dying.Close()
			if _, err := other.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
				t.Fatalf("%s died, the other saw %v", side, err)
			}
			if x := wait(t, "the end", end); x != Failed {
				t.Fatalf("ended %d", x)
			}
		}
	})
}

// What was cut short must not look whole: after a reset nobody reads an end, whatever was on its way in either direction.
func TestAResetIsNeverAnEnd(t *testing.T) {
	kinds(t, func(t *testing.T, mptcp bool) {
		for _, s := range []struct {
			name          string
			said, unheard int
		}{{"nothing said", 0, 0}, {"said", 100_000, 0}, {"said, and unread octets", 100_000, 100_000}} {
			near, far := pipe(t, mptcp)
			c, err := ConnOf(near)
			if err != nil {
				t.Fatal(err)
			}
			c.SetDeadline(time.Now().Add(30 * time.Second))
			if _, err := far.Write(make([]byte, s.unheard)); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write(make([]byte, s.said)); err != nil {
				t.Fatal(err)
			}
			ResetConn(c)
			if n, err := io.Copy(io.Discard, far); !errors.Is(err, unix.ECONNRESET) {
				t.Errorf("%s: the peer read %d octets, then %v; want a reset", s.name, n, err)
			}
		}
	})
}

// TestAnUploadThatIsCutShortIsReset has the kernel close upstream's socket, as it does when the process is killed. One that has ended as it should is
// seen to end.
func TestAnUploadThatIsCutShortIsReset(t *testing.T) {
	kinds(t, func(t *testing.T, mptcp bool) {
		for _, whole := range []bool{false, true} {
			lan, up, c, _ := join(t, start(t, 1), mptcp)
			if _, err := lan.Write(make([]byte, 100_000)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(up, make([]byte, 100_000)); err != nil {
				t.Fatal(err)
			}
			if whole {
				lan.CloseWrite()
				if n, err := up.Read(make([]byte, 1)); err != io.EOF {
					t.Errorf("upstream read %d octets and %v after the end", n, err)
				}
				continue
			}
			null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			c.Control(func(_, fd int) { err = unix.Dup3(null, fd, unix.O_CLOEXEC) })
			unix.Close(null)
			if err != nil {
				t.Fatal(err)
			}
			if n, err := up.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
				t.Errorf("upstream read %d octets and %v after a cut; want a reset", n, err)
			}
		}
	})
}

func TestAbortResetsBoth(t *testing.T) {
	lan, up, c, end := join(t, start(t, 1), false)
	c.Abort()
	for _, h := range []*net.TCPConn{lan, up} {
		if _, err := h.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
			t.Fatal(err)
		}
	}
	if x := wait(t, "the end", end); x != Aborted {
		t.Fatalf("ended %d", x)
	}
	if c.Control(func(int, int) {}) {
		t.Fatal("descriptors were handed out after the end")
	}
}

// A connection that alternates between bulk and small answers must get each small answer without waiting for the
// clock. A busy machine may delay any of them, so the claim is about most: the median.
func TestSmallAnswersDoNotWaitForTheClock(t *testing.T) {
	kinds(t, func(t *testing.T, mptcp bool) {
		lan, up, _, _ := join(t, start(t, 1), mptcp)
		go func() { // the server: asks for 'b' give bulk, all else one octet
			bulk := make([]byte, 400<<10)
			var q [1]byte
			for {
				if _, err := io.ReadFull(up, q[:]); err != nil {
					return
				}
				if q[0] == 'b' {
					up.Write(bulk)
				} else {
					up.Write(q[:])
				}
			}
		}()
		var small []time.Duration
		b := make([]byte, 400<<10)
		for range 60 {
			lan.Write([]byte("b"))
			if _, err := io.ReadFull(lan, b); err != nil {
				t.Fatal(err)
			}
			at := time.Now()
			lan.Write([]byte("s"))
			if _, err := io.ReadFull(lan, b[:1]); err != nil {
				t.Fatal(err)
			}
			small = append(small, time.Since(at))
		}
		under := 0
		for _, d := range small {
			if d < 50*time.Millisecond {
				under++
			}
		}
		t.Logf("small answers: %v", small)
		if under < len(small)/2 {
			t.Fatalf("only %d of %d small answers came within 50 ms", under, len(small))
		}
	})
}

// A read that ends short is the last until an event comes: were one octet left behind, both hosts of a dialogue would wait for ever. Some say what they say
// in pieces, so that octets arrive while others are read.
func TestNothingIsLeftUnread(t *testing.T) {
	kinds(t, func(t *testing.T, mptcp bool) {
		e := start(t, 2)
		var all sync.WaitGroup
		for seed := range 4 {
			lan, up, _, _ := join(t, e, mptcp)
			all.Go(func() { dialogue(t, lan, up, uint64(seed), 2000) })
		}
		await.All(t, "the dialogues", &all)
	})
}

// dialogue has two hosts speak in turns, pieces of random length.
func dialogue(t *testing.T, lan, up *net.TCPConn, seed uint64, rounds int) {
	r := rand.New(rand.NewPCG(seed, 0))
	b := make([]byte, 200_000)
	ends := [2]*net.TCPConn{lan, up}
	for i := range rounds {
		n := 1 + r.IntN(1<<(1+r.IntN(17)))
		from, to, pieces := ends[i%2], ends[1-i%2], 1+r.IntN(4)
		sizes := make([]int, 0, pieces)
		for left := n; left > 0; left -= sizes[len(sizes)-1] {
			sizes = append(sizes, 1+r.IntN(left))
		}
		from.SetDeadline(time.Now().Add(10 * time.Second))
		to.SetDeadline(time.Now().Add(10 * time.Second))
		go func() {
			for _, k := range sizes {
				from.Write(make([]byte, k))
			}
		}()
		if got, err := io.ReadFull(to, b[:n]); err != nil {
			t.Errorf("round %d: %d of %d octets, %v", i, got, n, err)
			return
		}
	}
}

// TestMoreConnectionsThanAnIntHolds: on 32 bits the number of the 2^31st is negative.
func TestMoreConnectionsThanAnIntHolds(t *testing.T) {
	e := start(t, 2)
	e.next.Store(1<<31 - 2)
	for range 4 {
		join(t, e, false)
	}
}

// TestAClosedEngineWritesNowhere: its descriptors may be somebody else's by then.
func TestAClosedEngineWritesNowhere(t *testing.T) {
	e := start(t, 2) // which closes it for the third time
	_, _, c, _ := join(t, e, false)
	e.Close()
	for range 8 {
		var ends [2]int
		if err := unix.Pipe2(ends[:], unix.O_NONBLOCK); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(ends[0])
		defer unix.Close(ends[1])
		defer func() {
			var b [64]byte
			if n, _ := unix.Read(ends[0], b[:]); n > 0 {
				t.Errorf("% x was written to a stranger's file", b[:n])
			}
		}()
	}
	c.Abort()
	e.Close()
}

func TestManyConnectionsLeaveNothingBehind(t *testing.T) {
	files := func() int {
		d, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip(err)
		}
		return len(d)
	}
	before, routines := files(), runtime.NumGoroutine()
	e, err := New(2)
	if err != nil {
		t.Fatal(err)
	}
	var ended atomic.Int64
	var all sync.WaitGroup
	for i := range 300 {
		a, lan := pipe(t, false)
		b, up := pipe(t, i%2 == 0)
		if _, err := e.Add(Pair{LAN: a, Up: b, Done: func(*Conn, End) { ended.Add(1) }}); err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			want := fmt.Sprint("connection ", i)
			lan.Write([]byte(want))
			lan.CloseWrite()
			if got, err := io.ReadAll(up); string(got) != want || err != nil {
				t.Errorf("%d: %q, %v", i, got, err)
			}
			up.Close()
			lan.Close()
		})
	}
	await.All(t, "all connections", &all)
	for end := time.Now().Add(10 * time.Second); ended.Load() < 300 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if n := ended.Load(); n != 300 {
		t.Fatalf("%d of 300 ended", n)
	}
	e.Close()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if files() <= before && runtime.NumGoroutine() <= routines {
			return
		}
	}
	t.Fatalf("descriptors %d, then %d; goroutines %d, then %d", before, files(), routines, runtime.NumGoroutine())
}

// A window that grew by what was read would hold some hundred kilobytes by then.
// TestSlowLoadIsToldOf: what is too little to become bulk is told of all the same, and what a host was given is counted.
func TestSlowLoadIsToldOf(t *testing.T) {
	e := start(t, 1)
	var told atomic.Int64
	e.OnBulk(func() { told.Add(1) })
	lan, up, _, _ := join(t, e, false)
	part := make([]byte, 24<<10)
	given := uint64(0)
	for deadline := time.Now().Add(20 * time.Second); told.Load() == 0; given += uint64(len(part)) {
		if time.Now().After(deadline) {
			t.Fatalf("%d octets came, %d at a time, and nothing was told", given, len(part))
		}
		time.Sleep(2 * time.Duration(pause)) // no part goes on with the run of the one before, which would make it bulk
		if _, err := up.Write(part); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(lan, part); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(20 * time.Second); e.Delivered() != given; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d octets are counted, and %d were given", e.Delivered(), given)
		}
	}
}

// TestFarEndPassesOnAsItComes: what goes onto several lines must not come in bursts. The same stream is bulk elsewhere.
func TestFarEndPassesOnAsItComes(t *testing.T) {
	e := start(t, 1)
	for _, far := range []bool{false, true} {
		a, lan := pipe(t, false)
		b, up := pipe(t, false)
		c, err := e.Add(Pair{LAN: a, Up: b, Far: far})
		if err != nil {
			t.Fatal(err)
		}
		bulk := false
		part := make([]byte, firstNeed)
		for moved, deadline := 0, time.Now().Add(20*time.Second); moved < 64*firstNeed || !far && !bulk && time.Now().Before(deadline); moved += len(part) {
			if _, err := up.Write(part); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(lan, part); err != nil {
				t.Fatal(err)
			}
			c.Control(func(_, fd int) {
				mark, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT)
				bulk = bulk || mark > 1
			})
		}
		if bulk == far {
			t.Errorf("far end %v: a low-water mark %v", far, bulk)
		}
	}
}

// TestUrgentDataIsData: a read ends before urgent data, though more is there.
func TestUrgentDataIsData(t *testing.T) {
	for _, side := range []string{"lan", "up"} {
		t.Run(side, func(t *testing.T) {
			a, lan := pipe(t, false)
			b, up := pipe(t, false)
			near, from, to := a, lan, up
			if side == "up" {
				near, from, to = b, up, lan
			}
			if err := unix.SetsockoptInt(near, unix.SOL_SOCKET, unix.SO_OOBINLINE, 1); err != nil { // as the door and mptcp's dialler do
				t.Fatal(err)
			}
			rc, err := from.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			send := func(text string, flags int) {
				rc.Control(func(fd uintptr) { err = errors.Join(err, unix.Send(int(fd), []byte(text), flags)) })
			}
			send("abc", 0)
			send("d", unix.MSG_OOB)
			send("ef", 0)
			if _, err := start(t, 1).Add(Pair{LAN: a, Up: b}); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 9)
			if n, err := io.ReadFull(to, got[:6]); err != nil {
				t.Fatalf("%q, %v", got[:n], err)
			}
			send("g", 0)
			send("h", unix.MSG_OOB)
			send("i", 0)
			if n, err2 := io.ReadFull(to, got[6:]); err != nil || err2 != nil || string(got) != "abcdefghi" {
				t.Errorf("%q, %v, %v", got[:6+n], err2, err)
			}
		})
	}
}

// TestNothingWaitsBehindUrgentData: a direction that has brought urgent data passes on a few octets behind many as soon as they come.
func TestNothingWaitsBehindUrgentData(t *testing.T) {
	a, lan := pipe(t, false)
	b, up := pipe(t, false)
	if err := unix.SetsockoptInt(b, unix.SOL_SOCKET, unix.SO_OOBINLINE, 1); err != nil {
		t.Fatal(err)
	}
	rc, err := up.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	rc.Control(func(fd uintptr) { err = unix.Send(int(fd), []byte("!"), unix.MSG_OOB) })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := start(t, 1).Add(Pair{LAN: a, Up: b}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(lan, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	for range 4 { // each a run that would make another direction bulk
		if _, err := up.Write(make([]byte, 4*firstNeed)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(lan, make([]byte, 4*firstNeed)); err != nil {
			t.Fatal(err)
		}
		if _, err := up.Write([]byte("a few")); err != nil {
			t.Fatal(err)
		}
		lan.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.ReadFull(lan, make([]byte, 5)); err != nil {
			t.Fatalf("a few octets behind many: %v", err)
		}
	}
}
