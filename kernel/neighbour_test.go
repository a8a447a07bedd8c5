// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestForgetNeighbourFreesWhatWaits: what a bound socket says while the line's routes are ignored waits for ARP, and TCP repeats it only once that is
// over.
func TestForgetNeighbourFreesWhatWaits(t *testing.T) {
	h := newHouse(t)
	for _, key := range []string{"net.ipv4.conf.all.ignore_routes_with_linkdown", "net.ipv4.conf.default.ignore_routes_with_linkdown"} {
		h.must(h.cpe.Sysctl(key, "1")) // as netifd has it
	}
	far := netip.MustParseAddr("203.0.113.9")
	var l net.Listener
	h.must(h.net.Do(func() (err error) { l, err = net.Listen("tcp4", "203.0.113.9:4000"); return err }))
	defer l.Close()
	var c net.Conn
	h.must(h.cpe.Do(func() (err error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(10, 1, 1, 2)}, Control: func(_, _ string, rc syscall.RawConn) (err error) {
			if cerr := rc.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), "dsl") }); cerr != nil {
				return cerr
			}
			return err
		}}
		c, err = d.Dial("tcp4", "203.0.113.9:4000")
		return err
	}))
	defer c.Close()
	s, err := l.Accept()
	h.must(err)
	defer s.Close()
	link := func(state string) { h.must(h.net.Script("link set dsl " + state + "\n")) }
	asked := func() bool {
		out, err := h.cpe.Output("ip", "neigh", "show", "dev", "dsl")
		h.must(err)
		return strings.Contains(out, far.String())
	}
	link("down")
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		out, err := h.cpe.Output("ip", "route", "show", "dev", "dsl")
		if h.must(err); strings.Contains(out, "linkdown") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the routes do not know that the line is down: %s", out)
		}
	}
	_, err = c.Write([]byte("a request"))
	h.must(err)
	for end := time.Now().Add(2 * time.Second); !asked(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Skip("this kernel asks no neighbour for a far address")
		}
	}
	link("up")
	device := h.index("dsl")
	h.must(h.cpe.Do(func() error { return h.rec.ForgetNeighbour(device, far) }))
	began := time.Now()
	if asked() {
		t.Error("the kernel still asks for a far address on the line")
	}
	h.must(s.SetReadDeadline(began.Add(1500 * time.Millisecond))) // by itself: not before ARP has given up, 3 s after it began
	if _, err := s.Read(make([]byte, 16)); err != nil {
		t.Errorf("the request has not come: %v", err)
	}
	t.Logf("the request came %v after the line", time.Since(began).Round(time.Millisecond))
	h.must(h.cpe.Do(func() error { return h.rec.ForgetNeighbour(device, far) })) // absent
}
