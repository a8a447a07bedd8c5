// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"spillway/testbed/netns"
)

// needSYNData skips the test on kernels whose MPTCP listeners take no data in a SYN: those before Linux 6.2.
func needSYNData(t *testing.T) {
	t.Helper()
	netns.Require(t)
	if f := Probe(); f.MPTCP && !f.FastOpenServer {
		t.Skip("needs MPTCP listeners that take data in the SYN (TCP_FASTOPEN on MPTCP sockets, Linux 6.2)")
	}
}

func TestFastOpenKeepsMPTCP(t *testing.T) {
	needSYNData(t)
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
	needSYNData(t)
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

// TestStartOpensAnyhow: whether data may leave in the SYN, need a cookie first, or are refused, the connection opens and all is said once.
func TestStartOpensAnyhow(t *testing.T) {
	w := newWorld(t)
	takes := w.echo(t, "10.9.0.9:0", ListenOptions{MPTCP: true, FastOpenQueue: 16, NoCookie: true})
	refuses := w.echo(t, "10.9.0.9:0", ListenOptions{MPTCP: true})
	for _, sysctl := range []string{"0", "1", "5"} {
		for _, server := range []netip.AddrPort{takes, refuses} {
			for _, sure := range []bool{false, true} {
				for range 3 { // a cookie is asked for the first time only
					must(t, w.cpe.Sysctl("net.ipv4.tcp_fastopen", sysctl))
					fd, sent := -1, 0
					must(t, w.cpe.Do(func() (err error) {
						for range 20 { // a kernel short of tokens makes a plain one now and then
							fd, sent, err = Start(server, DialOptions{Local: netip.MustParseAddr("10.1.0.1"), FastOpen: true, Sure: sure}, []byte("hello"))
							if err != ErrFallback {
								break
							}
						}
						return err
					}))
					got, err := finish(fd, sent)
					o, _ := InspectFD(fd)
					unix.Close(fd)
					if err != nil || got != "hello" {
						t.Errorf("tcp_fastopen %s, server %v that takes data in the SYN, sure %v: %d left in it, %q came back, %v, %+v", sysctl, server == takes, sure, sent, got, err, o)
					}
				}
			}
		}
	}
}

// finish says the rest of hello when the descriptor is writable, and reads what comes back.
func finish(fd, sent int) (string, error) {
	if err := ready(fd, unix.POLLOUT); err != nil {
		return "", err
	}
	if _, err := unix.Write(fd, []byte("hello")[sent:]); err != nil {
		return "", os.NewSyscallError("write", err)
	}
	if err := ready(fd, unix.POLLIN); err != nil {
		return "", err
	}
	b := make([]byte, 10)
	n, err := unix.Read(fd, b)
	return string(b[:max(0, n)]), os.NewSyscallError("read", err)
}

// ready waits for an event.
func ready(fd int, event int16) error {
	for end := time.Now().Add(patience); time.Now().Before(end); {
		p := []unix.PollFd{{Fd: int32(fd), Events: event}}
		if n, err := unix.Poll(p, int(patience/time.Millisecond)); n == 1 {
			return nil
		} else if err != unix.EINTR && err != nil {
			return err
		}
	}
	return os.ErrDeadlineExceeded
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
	if o, err := Inspect(c); err != nil || !o.Established || o.State != 1 || o.MPTCP {
		t.Errorf("a plain connection: %+v, %v", o, err)
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
