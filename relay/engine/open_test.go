// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// open has the engine accept a connection, whose other end is lan, and calls fn in the loop.
func open(t *testing.T, e *Engine, fn func(a Arrival)) (lan *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	fd, err := Duplicate(l.(*net.TCPListener))
	if err != nil {
		t.Fatal(err)
	}
	dialled := make(chan struct{})
	door, err := e.Listen(fd, func(a Arrival) {
		<-dialled // else a reset could come before the dialler knows that it is connected
		fn(a)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(door.Close)
	c, err := net.DialTimeout("tcp4", l.Addr().String(), 30*time.Second)
	close(dialled)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(30 * time.Second))
	return c.(*net.TCPConn)
}

// begun opens a connection with b for upstream, which begins to be copied, with s, as soon as upstream has something to read or has ended.
func begun(t *testing.T, e *Engine, b int, s Start) (lan *net.TCPConn, begun chan *Conn, end chan End) {
	begun, end = make(chan *Conn, 1), make(chan End, 1)
	lan = open(t, e, func(a Arrival) {
		var c *Conn
		var err error
		o := &opens{late: func() { t.Error("late"); c.Drop() }, ended: func(x End) { end <- x }, event: func(side int, events uint32) {
			if side == 1 && events&(unix.EPOLLIN|unix.EPOLLRDHUP) != 0 {
				c.Begin(Pair{Done: func(_ *Conn, x End) { end <- x }}, s, false)
				begun <- c
			}
		}}
		if c, err = a.Open(b, o, false); err != nil {
			t.Error(err)
		}
	})
	return lan, begun, end
}

// opens is an Opening of functions.
type opens struct {
	event      func(side int, events uint32)
	late, soon func()
	ended      func(End)
}

func (o *opens) Event(side int, events uint32) { o.event(side, events) }
func (o *opens) Late()                         { o.late() }
func (o *opens) Soon()                         { o.soon() }
func (o *opens) Ended(e End)                   { o.ended(e) }

func wait[T any](t *testing.T, what string, c chan T) (x T) {
	t.Helper()
	select {
	case x = <-c:
	case <-time.After(30 * time.Second):
		t.Fatal(what)
	}
	return x
}

// TestBeginPassesOnWhatIsThere: what the opening leaves comes first, then what upstream has, however much, and only upstream's is counted.
func TestBeginPassesOnWhatIsThere(t *testing.T) {
	kinds(t, func(t *testing.T, mptcp bool) {
		for _, n := range []int{1, 200, 3 * scratchSize} {
			b, up := pipe(t, mptcp)
			said := bytes.Repeat([]byte("said"), n)
			go func() { // before the opening is told of it, or meanwhile
				up.Write(said)
				up.CloseWrite()
			}()
			lan, conns, end := begun(t, start(t, 1), b, Start{Down: []byte("answer"), Own: 6})
			got, err := io.ReadAll(lan)
			if err != nil || string(got) != "answer"+string(said) {
				t.Errorf("%d octets: %d came, %v", len(said), len(got), err)
			}
			lan.Write([]byte("up"))
			lan.CloseWrite()
			if got, err := io.ReadAll(up); err != nil || string(got) != "up" {
				t.Errorf("upstream heard %q, %v", got, err)
			}
			if x := wait(t, "no end", end); x != Closed {
				t.Errorf("ended as %v", x)
			}
			if u, d := wait(t, "not begun", conns).Moved(); u != 2 || d != uint64(len(said)) {
				t.Errorf("counted %d up, %d down of %d", u, d, len(said))
			}
		}
	})
}

// TestBeginDrained: what the accepted socket says, or said with its end, after it was emptied is passed on as ever, though it is not read at the beginning.
func TestBeginDrained(t *testing.T) {
	for _, ended := range []bool{false, true} {
		fd, up := pipe(t, false)
		var c *Conn
		read, ends, end := make(chan bool, 1), make(chan bool, 1), make(chan End, 1)
		o := &opens{late: func() {}, ended: func(x End) { end <- x }, event: func(side int, events uint32) {
			switch {
			case side == 1 && events&unix.EPOLLIN != 0:
				c.Begin(Pair{Done: func(_ *Conn, x End) { end <- x }}, Start{Down: []byte("answer"), Own: 6, Drained: [2]bool{0: true}}, true)
			case side == 0 && events&unix.EPOLLRDHUP != 0: // its octets were read, and its end was not
				ends <- true
			}
		}}
		lan := open(t, start(t, 1), func(a Arrival) {
			unix.Poll([]unix.PollFd{{Fd: int32(a.FD), Events: unix.POLLIN}}, 30_000)
			b, err := a.Read(100)
			if string(b) != "request" {
				t.Errorf("read %q, %v", b, err)
			}
			if c, err = a.Open(fd, o, false); err != nil {
				t.Error(err)
			}
			read <- true
		})
		lan.Write([]byte("request"))
		wait(t, "nothing was read", read)
		want := ""
		if ended {
			lan.CloseWrite()
			wait(t, "the opening was not told of the end", ends)
		}
		up.Write([]byte("said"))
		heard := make([]byte, 10)
		if _, err := io.ReadFull(lan, heard); err != nil || string(heard) != "answersaid" {
			t.Fatalf("ended %v: the LAN host heard %q, %v", ended, heard, err)
		}
		if !ended {
			want = "later"
			lan.Write([]byte(want))
			lan.CloseWrite()
		}
		if got, err := io.ReadAll(up); err != nil || string(got) != want {
			t.Errorf("ended %v: upstream heard %q, %v", ended, got, err)
		}
		up.CloseWrite()
		if x := wait(t, "no end", end); x != Closed {
			t.Errorf("ended %v: as %v", ended, x)
		}
	}
}

// TestBeginSeesUpstreamsReset: what failed while it was opened is reset, not ended.
func TestBeginSeesUpstreamsReset(t *testing.T) {
	b, up := pipe(t, false)
	lan, _, end := begun(t, start(t, 1), b, Start{Down: []byte("answer"), Own: 6})
	up.SetLinger(0)
	up.Close()
	if got, err := io.ReadAll(lan); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the LAN host saw %q, %v", got, err)
	}
	if x := wait(t, "no end", end); x != Failed {
		t.Errorf("ended as %v", x)
	}
}

// TestSoonIsForOpenings: who has begun or left is not told.
func TestSoonIsForOpenings(t *testing.T) {
	e := start(t, 1)
	told, late := make(chan int, 8), make(chan int, 8)
	for i := range 3 { // 0 begins, 1 leaves, 2 stays
		b, _ := pipe(t, false)
		asked := make(chan bool, 1)
		open(t, e, func(a Arrival) {
			var c *Conn
			var err error
			o := &opens{event: func(int, uint32) {}, soon: func() { told <- i }, ended: func(End) {},
				late: func() { late <- i; c.Drop() }}
			if c, err = a.Open(b, o, false); err != nil {
				t.Error(err)
				return
			}
			switch c.Soon(); i {
			case 0:
				c.Begin(Pair{}, Start{}, true)
			case 1:
				c.Drop()
			}
			asked <- true
		})
		wait(t, "not accepted", asked)
	}
	if i := wait(t, "never told that 200 ms have passed", late); i != 2 {
		t.Errorf("%d is late", i)
	}
	if len(told) != 1 || <-told != 2 {
		t.Errorf("others than the one that stays were told that it is soon, or it was not")
	}
}

// TestHushedSocketTakesTheRest: writability that is not told of any more is told when octets wait for it, in the opening and after it.
func TestHushedSocketTakesTheRest(t *testing.T) {
	kinds(t, func(t *testing.T, mptcp bool) {
		b, up := pipe(t, mptcp)
		var c *Conn
		var sent []byte
		full, end := make(chan bool), make(chan End, 1)
		fill := func() { // what the socket takes, or much, should the reader be as fast
			c.Hush(1)
			for n := 1; n > 0 && len(sent) < 64<<20; sent = append(sent, make([]byte, max(0, n))...) {
				n, _ = unix.Write(b, make([]byte, 64<<10))
			}
		}
		o := &opens{late: func() {}, ended: func(x End) { end <- x }, event: func(side int, events uint32) {
			switch {
			case side == 0 || events&unix.EPOLLOUT == 0:
			case len(sent) == 0:
				fill()
				c.Want(1)
				close(full)
			default:
				fill()
				sent = append(sent, "the rest"...)
				c.Begin(Pair{Done: func(_ *Conn, x End) { end <- x }}, Start{Up: []byte("the rest")}, !mptcp)
			}
		}}
		lan := open(t, start(t, 1), func(a Arrival) {
			var err error
			if c, err = a.Open(b, o, false); err != nil {
				t.Error(err)
			}
		})
		lan.CloseWrite()
		wait(t, "never writable", full)
		got, err := io.ReadAll(up)
		up.Close()
		if x := wait(t, "no end", end); x != Closed || err != nil || !bytes.Equal(got, sent) {
			t.Errorf("ended as %v; %d octets of %d came, %v", x, len(got), len(sent), err)
		}
	})
}

// TestBeginUsesRoomThatWasToldOf: what upstream would not take yet is written when there is room, though the opening alone was told of that.
func TestBeginUsesRoomThatWasToldOf(t *testing.T) {
	kinds(t, func(t *testing.T, mptcp bool) {
		b, up := pipe(t, mptcp)
		if err := unix.SetsockoptInt(b, unix.SOL_SOCKET, unix.SO_SNDBUF, 64<<10); err != nil {
			t.Fatal(err)
		}
		var c *Conn
		sent := 0
		full, end := make(chan bool), make(chan End, 1)
		o := &opens{late: func() { c.Drop(); end <- Idle }, ended: func(x End) { end <- x }, event: func(side int, events uint32) {
			switch {
			case side == 0 || events&unix.EPOLLOUT == 0:
			case sent == 0:
				for n := 1; n > 0; sent += max(0, n) {
					n, _ = unix.Write(b, make([]byte, 64<<10))
				}
				close(full)
			default: // the server is there, its answer isn't: so it begins a while later
				c.Soon()
			}
		}, soon: func() {
			c.Begin(Pair{Done: func(_ *Conn, x End) { end <- x }}, Start{Up: []byte("the rest")}, !mptcp)
		}}
		lan := open(t, start(t, 1), func(a Arrival) {
			var err error
			if c, err = a.Open(b, o, false); err != nil {
				t.Error(err)
			}
		})
		wait(t, "never writable", full)
		up.SetReadDeadline(time.Now().Add(10 * time.Second)) // the loop looks every 30 s by itself
		if n, err := io.CopyN(io.Discard, up, int64(sent)+8); err != nil {
			t.Errorf("%d octets of %d came: %v", n, sent+8, err)
		}
		lan.CloseWrite()
		up.Close()
		wait(t, "no end", end)
	})
}

// TestBeginWithholds: what the server has said already is withheld as what follows is.
func TestBeginWithholds(t *testing.T) {
	lc := net.ListenConfig{KeepAlive: -1, Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<10) })
	}}
	lines, _ := pipeTo(t, lc, false)
	b, up := pipe(t, false)
	if _, err := up.Write(make([]byte, 2*scratchSize)); err != nil {
		t.Fatal(err)
	}
	moved, under := make(chan uint64, 1), 0
	open(t, start(t, 1), func(a Arrival) {
		unix.Close(a.FD)
		a.FD = lines
		var c *Conn
		o := &opens{late: func() { t.Error("late") }, ended: func(End) {}, event: func(side int, events uint32) {
			if side == 0 || events&unix.EPOLLIN == 0 {
				return
			}
			c.Begin(Pair{Far: true, Withhold: true}, Start{Down: []byte("answer"), Own: 6}, true)
			under, _ = unix.IoctlGetInt(lines, unix.SIOCOUTQ)
			_, down := c.Moved()
			moved <- down + 6
		}}
		var err error
		if c, err = a.Open(b, o, false); err != nil {
			t.Error(err)
		}
	})
	n := wait(t, "not begun", moved)
	if arrived := n - uint64(under); n <= 6 || uint64(under) > 6+beginWith+2*arrived {
		t.Errorf("%d octets are under way after %d have arrived", under, arrived)
	}
}

// TestBeginSeesUrgentData: what waits behind it is read too, though the opening's last read was short.
func TestBeginSeesUrgentData(t *testing.T) {
	b, up := pipe(t, false)
	sent := make(chan struct{})
	lan := open(t, start(t, 1), func(a Arrival) {
		<-sent
		head, err := a.Read(scratchSize)
		if string(head) != "abc" || err != nil {
			t.Errorf("%q, %v", head, err)
		}
		var c *Conn
		o := &opens{late: func() { t.Error("late") }, ended: func(End) {}, event: func(side int, _ uint32) {
			if side == 0 {
				c.Begin(Pair{}, Start{Drained: [2]bool{0: true}}, true)
			}
		}}
		if c, err = a.Open(b, o, false); err != nil {
			t.Error(err)
		}
	})
	rc, err := lan.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	rc.Control(func(fd uintptr) {
		err = errors.Join(unix.Send(int(fd), []byte("abc"), 0), unix.Send(int(fd), []byte("d"), unix.MSG_OOB), unix.Send(int(fd), []byte("ef"), 0))
	})
	close(sent)
	got := make([]byte, 2) // without the urgent one, as the socket does not have it inline
	if n, err2 := io.ReadFull(up, got); err != nil || err2 != nil || string(got) != "ef" {
		t.Errorf("%q, %v, %v", got[:n], err, err2)
	}
}

// TestNudgeBesideHush: whoever nudges from outside changes nothing that the loop has just said.
func TestNudgeBesideHush(t *testing.T) {
	b, _ := pipe(t, false)
	opened, ended := make(chan *Conn, 1), make(chan End, 1)
	var c *Conn
	turns := 0
	o := &opens{late: func() { c.Drop(); ended <- Idle }, ended: func(x End) { ended <- x }, event: func(side int, _ uint32) {
		switch turns++; {
		case side == 1:
		case turns < 1000:
			c.Hush(0)
			c.Want(0) // and so the next event
		default:
			c.Drop()
			ended <- Closed
		}
	}}
	open(t, start(t, 1), func(a Arrival) {
		var err error
		if c, err = a.Open(b, o, true); err != nil {
			t.Error(err)
		}
		opened <- c
	})
	nudged := wait(t, "never opened", opened)
	for {
		select {
		case <-ended:
			return
		default:
			nudged.Nudge(0)
		}
	}
}
