// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestFastOpenKeepsMPTCP(t *testing.T) {
	w := newWorld(t)
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			server := w.echo(t, f.listen, ListenOptions{MPTCP: true, FastOpenQueue: 16, NoCookie: true})
			var c *net.TCPConn
			unrepeated(t, func() (repeated bool) {
				c = w.dial(t, server, DialOptions{Local: netip.MustParseAddr(f.a), Device: "dsl", FastOpen: true})
				if c.RemoteAddr().String() != server.String() {
					t.Errorf("remote address %v before the first packet, want %v", c.RemoteAddr(), server)
				}
				ping(t, c, "in the SYN")
				must(t, onConn(c, func(fd int) (err error) { repeated, err = wasRepeated(fd); return err }))
				return repeated
			})
			o, err := Inspect(c)
			must(t, err)
			if want := (Outcome{Established: true, State: 1, SYNDataAcked: true, MPTCP: true}); o != want {
				t.Errorf("outcome %+v, want %+v", o, want)
			}
		})
	}
}

// unrepeated connects until no SYN was repeated: on a machine that stands still for a second one is, and the kernel leaves data or MPTCP out.
func unrepeated(t *testing.T, connect func() (repeated bool)) {
	t.Helper()
	for range 10 {
		if !connect() {
			return
		}
	}
	t.Fatal("ten SYNs had to be repeated")
}

// wasRepeated tells whether anything was sent twice.
func wasRepeated(fd int) (bool, error) {
	info, err := unix.GetsockoptTCPInfo(fd, unix.SOL_TCP, unix.TCP_INFO)
	if err != nil {
		return false, err
	}
	return info.Total_retrans > 0, nil
}

// TestSureStillSendsDataInTheSYN: the look at the socket, before anything leaves, costs neither MPTCP nor the data in the SYN.
func TestSureStillSendsDataInTheSYN(t *testing.T) {
	w := newWorld(t)
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			server := w.echo(t, f.listen, ListenOptions{MPTCP: true, FastOpenQueue: 16, NoCookie: true})
			var o Outcome
			fd := -1
			unrepeated(t, func() bool {
				sent := 0
				must(t, w.cpe.Do(func() (err error) {
					fd, sent, err = Start(server, DialOptions{Local: netip.MustParseAddr(f.a), FastOpen: true, Sure: true}, []byte("hello"))
					return err
				}))
				t.Cleanup(func() { unix.Close(fd) })
				if sent != 5 {
					t.Errorf("%d of 5 octets left in the SYN", sent)
				}
				eventually(t, "the handshake's end", func() bool {
					var err error
					o, err = InspectFD(fd)
					must(t, err)
					return o.Established
				})
				repeated, err := wasRepeated(fd)
				must(t, err)
				return repeated
			})
			if want := (Outcome{Established: true, State: 1, SYNDataAcked: true, MPTCP: true}); o != want {
				t.Errorf("outcome %+v, want %+v", o, want)
			}
			if FellBack(fd) {
				t.Error("told to have fallen back")
			}
		})
	}
}

func TestFastOpenRefusedFallsBackAndIsSeen(t *testing.T) {
	w := newWorld(t)
	server := w.echo(t, "10.9.0.9:0", ListenOptions{MPTCP: true}) // takes no data in the SYN
	c := w.dial(t, server, DialOptions{FastOpen: true})
	ping(t, c, "not in the SYN")
	o, err := Inspect(c)
	must(t, err)
	if want := (Outcome{Established: true, State: 1, FastOpenFail: FastOpenDataNotAcked}); o != want {
		t.Errorf("outcome %+v, want %+v: a fallback to plain TCP", o, want)
	}
	if _, err := ConnInfo(c); !errors.Is(err, ErrFallback) {
		t.Errorf("info of a plain connection: %v, want ErrFallback", err)
	}
	must(t, onConn(c, func(fd int) error {
		if !FellBack(fd) {
			t.Error("told to be MPTCP")
		}
		return nil
	}))
	must(t, w.cpe.Do(func() error {
		var counters Counters
		err := counters.Read()
		if err == nil && counters.Get("TCPFastOpenActiveFail") == 0 {
			t.Errorf("TCPFastOpenActiveFail didn't count: %s", counters.text)
		}
		return err
	}))
}

func TestFallbackToPeerWithoutMPTCP(t *testing.T) {
	w := newWorld(t)
	must(t, w.hag.Sysctl("net.mptcp.enabled", "0"))
	server := w.echo(t, "10.9.0.9:0", ListenOptions{MPTCP: true})
	c := w.dial(t, server, DialOptions{Local: netip.MustParseAddr("10.1.0.1")})
	ping(t, c, "plain")
	o, err := Inspect(c)
	must(t, err)
	if o.MPTCP || !o.Established {
		t.Errorf("outcome %+v, want plain TCP, established", o)
	}
	if got := w.subflows(t); len(got) != 1 || !got[0].Fallback || got[0].TCP.BytesReceived != 5 {
		t.Errorf("subflows %+v, want one in fallback", got)
	}
	if got, ok := w.connections(t); ok && len(got) == 1 && !got[0].Info.Fallback {
		t.Errorf("MPTCP connections %+v, want none that isn't in fallback", got)
	}
}

func TestPlainTCP(t *testing.T) {
	w := newWorld(t)
	server := w.echo(t, "10.9.0.9:0", ListenOptions{})
	c := w.dial(t, server, DialOptions{PlainTCP: true, Mark: 7, DSCP: 46, SendBuffer: 1 << 16, NotSentLowat: 1 << 14})
	ping(t, c, "plain")
	if _, err := ConnInfo(c); !errors.Is(err, ErrFallback) {
		t.Errorf("info of a plain connection: %v, want ErrFallback", err)
	}
	ti, err := ConnTCPInfo(c)
	must(t, err)
	if ti.State != 1 || ti.BytesReceived != 5 || ti.BytesAcked < 5 {
		t.Errorf("TCP info %+v", ti)
	}
}

func TestDialSaysWhy(t *testing.T) {
	w := newWorld(t)
	refusing := netip.MustParseAddrPort("10.9.0.9:9")
	must(t, w.cpe.Do(func() error {
		if _, err := Dial(context.Background(), refusing, DialOptions{}); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("closed port: %v, want connection refused", err)
		}
		if _, err := Dial(context.Background(), refusing, DialOptions{Device: "nosuch"}); !errors.Is(err, syscall.ENODEV) {
			t.Errorf("missing device: %v, want no such device", err)
		}
		if _, err := Dial(context.Background(), refusing, DialOptions{Local: netip.MustParseAddr("192.0.2.77")}); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("foreign source: %v, want cannot assign", err)
		}
		return nil
	}))
	var counters Counters
	must(t, w.cpe.Do(counters.Read))
	if n := counters.Get("MPCapableSYNTX"); n != 1 {
		t.Errorf("a refused dial sent %d MP_CAPABLE SYNs, want exactly one", n)
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	w := newWorld(t)
	must(t, w.hag.Script("link set dsl down\n")) // nobody answers ARP
	must(t, w.cpe.Script("neigh add 10.1.0.2 lladdr 02:00:00:00:00:01 dev dsl\n"))
	err := w.cpe.Do(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		c, err := Dial(ctx, netip.MustParseAddrPort("10.9.0.9:9"), DialOptions{})
		if err == nil {
			c.Close()
		}
		return err
	})
	var ne net.Error
	if !errors.As(err, &ne) || !ne.Timeout() {
		t.Errorf("dial into silence: %v, want a timeout", err)
	}
}
