// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// waiting waits until so many octets can be read from a socket.
func waiting(t *testing.T, fd, n int) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		got, err := unix.IoctlGetInt(fd, unix.SIOCINQ)
		if err != nil {
			t.Fatal(err)
		}
		if got == n {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d octets wait, not %d", got, n)
		}
	}
}

func say(t *testing.T, c *net.TCPConn, text string) {
	t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// steal reads octets as a kernel drops them: behind the engine's back.
func steal(t *testing.T, fd, n int) {
	t.Helper()
	waiting(t, fd, n)
	if got, err := unix.Read(fd, make([]byte, n)); got != n || err != nil {
		t.Fatalf("read %d, %v", got, err)
	}
}

func TestAGapIsFound(t *testing.T) {
	near, far := pipe(t, false)
	defer unix.Close(near)
	var f fallen
	var b [64]byte
	say(t, far, "0123456789")
	waiting(t, near, 10)
	if n, _ := unix.Read(near, b[:4]); n != 4 {
		t.Fatal("no octets")
	}
	if f.since(int32(near)); !f.on || f.read != 4 {
		t.Fatalf("%+v after 4 of 10 octets were read", f)
	}
	// The first read was short: the rest is fetched, and all is there.
	n, _ := unix.Read(near, b[:3])
	if n, e := f.whole(int32(near), b[:], n); n != 6 || e != 0 || string(b[:n]) != "456789" {
		t.Fatalf("%q, %v", b[:n], e)
	}
	say(t, far, "abc")
	steal(t, near, 3)
	say(t, far, "def")
	waiting(t, near, 3)
	n, _ = unix.Read(near, b[:])
	if n, e := f.whole(int32(near), b[:], n); n != 0 || e != errLost {
		t.Fatalf("after a gap: %d octets, %v", n, e)
	}
}

func TestAnEndIsNoGap(t *testing.T) {
	near, far := pipe(t, false)
	defer unix.Close(near)
	f := fallen{on: true}
	var b [64]byte
	say(t, far, "0123456789")
	far.CloseWrite()
	waiting(t, near, 10)
	n, _ := unix.Read(near, b[:])
	if n, e := f.whole(int32(near), b[:], n); n != 10 || e != 0 {
		t.Fatalf("%d, %v", n, e)
	}
	if n, e := f.whole(int32(near), b[:], 0); n != 0 || e != 0 {
		t.Fatalf("the end: %d, %v", n, e)
	}
	f.read -= 2
	if _, e := f.whole(int32(near), b[:], 0); e != errLost {
		t.Fatalf("the end before two octets: %v", e)
	}
}

// TestNothingPassesAGap: what a socket that fell back to TCP gives after octets that the kernel dropped is not passed on, nor its end.
func TestNothingPassesAGap(t *testing.T) {
	for _, ends := range []bool{false, true} {
		a, lan := pipe(t, false)
		b, up := pipe(t, false)
		lan.SetDeadline(time.Now().Add(30 * time.Second))
		end := make(chan End, 1)
		c, err := start(t, 1).Add(Pair{LAN: a, Up: b, Fell: true, Done: func(_ *Conn, x End) { end <- x }})
		if err != nil {
			t.Fatal(err)
		}
		say(t, up, "first")
		var got [16]byte
		if n, err := io.ReadFull(lan, got[:5]); err != nil || string(got[:n]) != "first" {
			t.Fatalf("%q, %v", got[:n], err)
		}
		if !c.Control(func(_, fd int) { // the loop waits meanwhile
			say(t, up, "gap")
			steal(t, fd, 3)
		}) {
			t.Fatal("it is over")
		}
		if ends {
			up.CloseWrite()
		} else {
			say(t, up, "then")
		}
		if n, err := lan.Read(got[:]); n > 0 || !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("the LAN host got %q, %v", got[:n], err)
		}
		select {
		case x := <-end:
			if x != Lost {
				t.Errorf("ended %d", x)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("it did not end")
		}
	}
}
