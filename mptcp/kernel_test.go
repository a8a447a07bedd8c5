// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"spillway/testbed/await"
	"spillway/testbed/netns"
)

// families are the two worlds that every claim about addresses is tried in.
var families = []struct{ name, listen, a, b, remote string }{
	{"v4", "10.9.0.9:0", "10.1.0.1", "10.2.0.1", "10.9.0.9"},
	{"v6", "[fd09::9]:0", "fd01::1", "fd02::1", "fd09::9"},
}

func TestBondedConnection(t *testing.T) {
	w := newWorld(t)
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			server := w.echo(t, f.listen, ListenOptions{MPTCP: true})
			b := Endpoint{ID: 12, Addr: netip.MustParseAddr(f.b), Flags: FlagSubflow | FlagBackup, IfIndex: w.index(t, "lte")}
			must(t, inPM(w.cpe, func(pm *PathManager) error { return pm.Add(b) }))
			t.Cleanup(func() { inPM(w.cpe, (*PathManager).Flush) })

			c := w.dial(t, server, DialOptions{Local: netip.MustParseAddr(f.a), Device: "dsl"})
			ping(t, c, "hello")
			in, err := ConnInfo(c)
			must(t, err)
			if in.Token == 0 || in.Fallback || !in.RemoteKey {
				t.Fatalf("connection info %+v", in)
			}
			if in.Has >= InfoBytes && (in.BytesSent != 5 || in.BytesReceived != 5) {
				t.Errorf("octets sent %d, received %d: want 5, 5", in.BytesSent, in.BytesReceived)
			}

			if cs, ok := w.connections(t); ok && (len(cs) != 1 || cs[0].Info.Token != in.Token || cs[0].Remote != server) {
				t.Errorf("connections %+v, want one with token %#x to %v", cs, in.Token, server)
			}

			w.wantSubflow(t, "the backup subflow over lte", f.b, func(s Subflow) bool { return s.Established && s.Backup })
			group := Group(w.subflows(t))[in.Token]
			if len(group) != 2 {
				t.Fatalf("connection %#x has %d subflows, want 2: %+v", in.Token, len(group), group)
			}
			wantFiltered(t, w, f.a, f.b, server)
			first, _ := find(group, f.a)
			if first.Join || first.Fallback || first.Backup || first.LocalID != 0 || first.Remote != server || first.IfIndex != w.index(t, "dsl") {
				t.Errorf("first subflow %+v", first)
			}
			if first.TCP.State != 1 || first.TCP.BytesAcked < 5 || first.TCP.RTT <= 0 || first.TCP.SndMSS < 500 || first.TCP.SndCwnd == 0 {
				t.Errorf("TCP of the first subflow %+v", first.TCP)
			}
			second, _ := find(group, f.b)
			if !second.Join || second.LocalID != 12 || second.Remote.Addr() != server.Addr() || second.IfIndex != b.IfIndex {
				t.Errorf("second subflow %+v", second)
			}

			must(t, inPM(w.cpe, func(pm *PathManager) error { return pm.SetFlags(12, netip.Addr{}, FlagSubflow) }))
			w.wantSubflow(t, "lte no longer backup", f.b, func(s Subflow) bool { return !s.Backup })
			must(t, inPM(w.cpe, func(pm *PathManager) error { return pm.SetFlags(0, b.Addr, FlagSubflow|FlagBackup) }))
			w.wantSubflow(t, "lte backup again", f.b, func(s Subflow) bool { return s.Backup })

			must(t, inPM(w.cpe, func(pm *PathManager) error { return pm.Remove(0, netip.MustParseAddr(f.a)) }))
			eventually(t, "the first subflow to go", func() bool { _, ok := find(w.subflows(t), f.a); return !ok })
			ping(t, c, "still there")
			if o, err := Inspect(c); err != nil || !o.MPTCP {
				t.Errorf("outcome without the first subflow: %+v, %v, want MPTCP", o, err)
			}
		})
	}
}

// wantFiltered looks at subflows by their local addresses; the server's own stay away, and so does the other family.
func wantFiltered(t *testing.T, w world, a, b string, server netip.AddrPort) {
	t.Helper()
	la, lb, other := netip.MustParseAddr(a), netip.MustParseAddr(b), netip.MustParseAddr("192.0.2.77")
	for _, c := range []struct {
		which Which
		want  int
	}{
		{Which{Local: []netip.Addr{la}}, 1},
		{Which{Local: []netip.Addr{lb, la}}, 2},
		{Which{Local: []netip.Addr{other, lb, netip.MustParseAddr("2001:db8::77"), la, other}}, 2},
		{Which{Local: []netip.Addr{other}}, 0},
		{Which{Only4: la.Is4(), Only6: la.Is6()}, 2},
		{Which{Only4: la.Is6(), Only6: la.Is4()}, 0},
	} {
		var got []Subflow
		must(t, w.cpe.Do(func() error {
			d, err := OpenDiag()
			if err != nil {
				return err
			}
			defer d.Close()
			got, err = d.Subflows(c.which)
			return err
		}))
		n := 0
		for _, s := range got {
			if s.Remote == server {
				n++
			}
		}
		if n != c.want || len(c.which.Local) > 0 && n != len(got) {
			t.Errorf("%+v: %d subflows to the server, of %d: want %d", c.which, n, len(got), c.want)
		}
	}
}

// TestReceiveBufferReachesTheSubflows: also one that joins later, and beyond what anybody may have.
func TestReceiveBufferReachesTheSubflows(t *testing.T) {
	if _, err := exec.LookPath("ss"); err != nil {
		netns.Missing(t, "needs ss (Debian package iproute2)")
	}
	w := newWorld(t)
	server := w.echo(t, "10.9.0.9:0", ListenOptions{MPTCP: true})
	const octets = 24 << 20
	c := w.dial(t, server, DialOptions{Local: netip.MustParseAddr("10.1.0.1"), Device: "dsl", RecvBuffer: octets})
	ping(t, c, "hello")
	lte := Endpoint{ID: 12, Addr: netip.MustParseAddr("10.2.0.1"), Flags: FlagSubflow, IfIndex: w.index(t, "lte")}
	must(t, inPM(w.cpe, func(pm *PathManager) error { return pm.Add(lte) }))
	for _, local := range []string{"10.1.0.1", "10.2.0.1"} {
		w.wantSubflow(t, "a subflow from "+local, local, func(s Subflow) bool { return s.Token != 0 })
		out, err := w.cpe.Output("ss", "-tnmHO", "src", local)
		if must(t, err); !strings.Contains(out, fmt.Sprintf(",rb%d,", 2*octets)) {
			t.Errorf("from %s: want a buffer of twice %d octets: %s", local, octets, out)
		}
	}
}

func TestMarkAndDSCPReachTheSubflows(t *testing.T) {
	w := newWorld(t)
	server := w.echo(t, "10.9.0.9:0", ListenOptions{MPTCP: true})
	lte := Endpoint{ID: 12, Addr: netip.MustParseAddr("10.2.0.1"), Flags: FlagSubflow, IfIndex: w.index(t, "lte")}
	must(t, inPM(w.cpe, func(pm *PathManager) error { return pm.Add(lte) }))
	c := w.dial(t, server, DialOptions{Local: netip.MustParseAddr("10.1.0.1"), Device: "dsl", Mark: 0x700, DSCP: 46, RecvBuffer: 1 << 17, SendBuffer: 1 << 16, NotSentLowat: 1 << 14})
	ping(t, c, "hello")
	for _, local := range []string{"10.1.0.1", "10.2.0.1"} {
		w.wantSubflow(t, "the mark on "+local, local, func(s Subflow) bool { return s.Mark == 0x700 && s.Token != 0 })
	}
	for _, x := range []struct {
		mark, mask uint32
		want       int
	}{{0x300, 0x300, 2}, {0x700, 0xff00, 2}, {0x300, 0xff00, 0}, {0x800, 0x800, 0}} {
		must(t, w.cpe.Do(func() error {
			d, err := OpenDiag()
			if err != nil {
				return err
			}
			defer d.Close()
			got, err := d.Subflows(Which{Mark: x.mark, Mask: x.mask, Only4: true})
			if len(got) != x.want {
				t.Errorf("mark %#x under %#x: %d subflows, want %d", x.mark, x.mask, len(got), x.want)
			}
			return err
		}))
	}
	must(t, onConn(c, func(fd int) error {
		if tos, err := syscall.GetsockoptInt(fd, syscall.SOL_IP, syscall.IP_TOS); err != nil || tos != 46<<2 {
			t.Errorf("type of service %#x, %v, want %#x", tos, err, 46<<2)
		}
		if v, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_KEEPALIVE); err != nil || v != 0 {
			t.Errorf("keep-alive %d, %v, want off", v, err)
		}
		return nil
	}))
}

// index is a link's number in the router.
func (w world) index(t testing.TB, name string) int {
	t.Helper()
	var n int
	must(t, w.cpe.Do(func() error {
		i, err := net.InterfaceByName(name)
		if err == nil {
			n = i.Index
		}
		return err
	}))
	return n
}

// wantSubflow waits for a subflow from local that ok likes.
func (w world) wantSubflow(t testing.TB, what, local string, ok func(Subflow) bool) {
	t.Helper()
	eventually(t, what, func() bool { s, found := find(w.subflows(t), local); return found && ok(s) })
}

func TestEndpointsComeBackAsAdded(t *testing.T) {
	ns := netns.New(t, "pm")
	must(t, inPM(ns, func(pm *PathManager) error {
		want := []Endpoint{
			{ID: 11, Addr: netip.MustParseAddr("192.0.2.1"), Flags: FlagSubflow, IfIndex: 1},
			{ID: 12, Addr: netip.MustParseAddr("2001:db8::1"), Flags: FlagSubflow | FlagBackup | FlagFullmesh},
			{ID: 13, Addr: netip.MustParseAddr("127.0.0.3"), Port: 4660, Flags: FlagSignal},
		}
		for _, e := range want {
			if err := pm.Add(e); err != nil {
				return err
			}
		}
		got, err := pm.Endpoints()
		if err != nil {
			return err
		}
		slices.SortFunc(got, func(a, b Endpoint) int { return int(a.ID) - int(b.ID) })
		if !slices.Equal(got, want) {
			t.Errorf("endpoints %+v, want %+v", got, want)
		}
		if err := pm.Add(want[0]); !errors.Is(err, fs.ErrExist) {
			t.Errorf("adding twice: %v, want fs.ErrExist", err)
		}
		if err := pm.Remove(99, netip.Addr{}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("removing what isn't there: %v, want fs.ErrNotExist", err)
		}
		if err := pm.SetFlags(99, netip.Addr{}, FlagBackup); !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.EINVAL) {
			t.Errorf("flags of what isn't there: %v, want fs.ErrNotExist, or EINVAL as from Linux 6.1", err)
		}
		if err := pm.Add(Endpoint{}); err == nil {
			t.Error("an endpoint without address was added")
		}
		if err := errors.Join(pm.Remove(11, netip.Addr{}), pm.Flush()); err != nil {
			return err
		}
		if got, err = pm.Endpoints(); err != nil || len(got) != 0 {
			t.Errorf("after flush: %v, %v", got, err)
		}
		limits := Limits{Subflows: 4, AddAddrs: 3}
		if err := pm.SetLimits(limits); err != nil {
			return err
		}
		if l, err := pm.Limits(); err != nil || l != limits {
			t.Errorf("limits %+v, %v, want %+v", l, err, limits)
		}
		if err := pm.SetLimits(Limits{Subflows: 200}); err == nil {
			t.Error("200 subflows were accepted")
		}
		return nil
	}))
}

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

func TestEventsTellTheStory(t *testing.T) {
	w := newWorld(t)
	events := make(chan Event, 64)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- w.cpe.Do(func() error { return new(Ear).Events(ctx, func(e Event) { events <- e }) })
	}()
	chosen, chosenEnded := make(chan Event, 64), make(chan error, 1)
	var chooses Ear
	must(t, chooses.Hear(EventSubEstablished, EventClosed))
	go func() {
		chosenEnded <- w.cpe.Do(func() error { return chooses.Events(ctx, func(e Event) { chosen <- e }) })
	}()
	waitForSubscriptions(t, w.cpe, 2)

	server := w.echo(t, "10.9.0.9:0", ListenOptions{MPTCP: true})
	lte := Endpoint{ID: 12, Addr: netip.MustParseAddr("10.2.0.1"), Flags: FlagSubflow, IfIndex: w.index(t, "lte")}
	must(t, inPM(w.cpe, func(pm *PathManager) error { return pm.Add(lte) }))
	c := w.dial(t, server, DialOptions{Local: netip.MustParseAddr("10.1.0.1")})
	ping(t, c, "hello")
	in, err := ConnInfo(c)
	must(t, err)

	created := next(t, events, EventCreated)
	if created.Token != in.Token || created.Remote != server || created.Local.String() != c.LocalAddr().String() || created.ServerSide {
		t.Errorf("created %+v, want token %#x, %v -> %v", created, in.Token, c.LocalAddr(), server)
	}
	sub := next(t, events, EventSubEstablished)
	if sub.Token != in.Token || sub.Local.Addr() != netip.MustParseAddr("10.2.0.1") || sub.Remote != server || sub.LocalID != 12 || sub.IfIndex != w.index(t, "lte") {
		t.Errorf("subflow established %+v", sub)
	}
	must(t, inPM(w.cpe, func(pm *PathManager) error { return pm.Remove(12, netip.Addr{}) }))
	if e := next(t, events, EventSubClosed); e.Local != sub.Local {
		t.Errorf("subflow closed %+v, want local %v", e, sub.Local)
	}
	c.Close()
	if e := next(t, events, EventClosed); e.Token != in.Token {
		t.Errorf("closed %+v, want token %#x", e, in.Token)
	}
	for _, want := range []EventKind{EventSubEstablished, EventClosed} {
		select {
		case e := <-chosen:
			if e.Kind != want || e.Token != in.Token {
				t.Errorf("of chosen kinds came %+v, want kind %d", e, want)
			}
		case <-time.After(patience):
			t.Fatalf("no event of the chosen kind %d", want)
		}
	}
	must(t, chooses.Hear(EventCreated)) // while it hears
	again := w.dial(t, server, DialOptions{Local: netip.MustParseAddr("10.1.0.1")})
	ping(t, again, "hello again")
	again.Close()
	next(t, events, EventClosed)
	must(t, chooses.Hear())
	last := w.dial(t, server, DialOptions{Local: netip.MustParseAddr("10.1.0.1")})
	ping(t, last, "so that it is fully established")
	last.Close()
	next(t, events, EventClosed)
	for _, want := range []EventKind{EventCreated, EventCreated, EventEstablished, EventClosed} {
		select {
		case e := <-chosen:
			if e.Kind != want {
				t.Errorf("with other kinds chosen came %+v, want kind %d", e, want)
			}
		case <-time.After(patience):
			t.Fatalf("no event of the newly chosen kind %d", want)
		}
	}
	cancel()
	must(t, await.Value(t, "the end of the events that were chosen", chosenEnded))
	select {
	case err := <-ended:
		must(t, err)
	case <-time.After(patience):
		t.Fatal("Events didn't end with its context")
	}
}

// waitForSubscriptions waits until so many sockets of the namespace listen to a generic netlink group.
func waitForSubscriptions(t testing.TB, ns *netns.NS, n int) {
	t.Helper()
	// A connection attempt to a closed port makes no event that the tests look for, so it can be repeated.
	eventually(t, "the subscription", func() bool {
		out, err := ns.Output("cat", "/proc/net/netlink")
		must(t, err)
		return groupListeners(out) == n
	})
}

// next waits for an event of a kind and skips others.
func next(t testing.TB, events <-chan Event, kind EventKind) Event {
	t.Helper()
	for deadline := time.After(patience); ; {
		select {
		case e := <-events:
			if e.Kind == kind {
				return e
			}
		case <-deadline:
			t.Fatalf("no event %d within %v", kind, patience)
		}
	}
}

func TestUserspacePathManager(t *testing.T) {
	w := newWorld(t)
	if err := w.cpe.Sysctl("net.mptcp.pm_type", "1"); err != nil {
		netns.Missing(t, "needs the userspace path manager: "+err.Error())
	}
	apart := Probe().Apart
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			server := w.echo(t, f.listen, ListenOptions{MPTCP: true})
			c := w.dial(t, server, DialOptions{Local: netip.MustParseAddr(f.a)})
			ping(t, c, "hello")
			in, err := ConnInfo(c)
			must(t, err)
			local := Endpoint{ID: 2, Addr: netip.MustParseAddr(f.b), Flags: FlagBackup, IfIndex: w.index(t, "lte")}
			must(t, inPM(w.cpe, func(pm *PathManager) error {
				if err := pm.CreateSubflow(in.Token, Endpoint{Addr: local.Addr}, server); err == nil {
					t.Error("a subflow with id 0 was created")
				}
				return pm.CreateSubflow(in.Token, local, server)
			}))
			// Kernels before 6.12 take neither flag nor device from the one who creates it; Features.Apart tells.
			w.wantSubflow(t, "the created subflow", f.b, func(s Subflow) bool {
				asWanted := s.Backup && s.IfIndex == local.IfIndex
				return s.Established && s.LocalID == 2 && s.Token == in.Token && asWanted == apart
			})
			s, _ := find(w.subflows(t), f.b)
			must(t, inPM(w.cpe, func(pm *PathManager) error { return pm.SetSubflowBackup(in.Token, s.Local, s.Remote, true) }))
			w.wantSubflow(t, "the subflow as backup", f.b, func(s Subflow) bool { return s.Backup })
			must(t, inPM(w.cpe, func(pm *PathManager) error { return pm.SetSubflowBackup(in.Token, s.Local, s.Remote, false) }))
			w.wantSubflow(t, "the subflow as regular", f.b, func(s Subflow) bool { return !s.Backup })

			must(t, inPM(w.cpe, func(pm *PathManager) error {
				if err := pm.Announce(in.Token, Endpoint{ID: 3, Addr: local.Addr, Flags: FlagSignal}); err == nil {
					return nil
				}
				return pm.Announce(in.Token, Endpoint{ID: 2, Addr: local.Addr, Flags: FlagSignal})
			}))
			must(t, inPM(w.cpe, func(pm *PathManager) error { return pm.RemoveAddr(in.Token, 2) }))
			must(t, inPM(w.cpe, func(pm *PathManager) error {
				err := pm.DestroySubflow(in.Token, s.Local, s.Remote)
				if errors.Is(err, fs.ErrNotExist) {
					return nil // the peer closed it first, on hearing that its address is gone
				}
				return err
			}))
			eventually(t, "the subflow to go", func() bool { _, ok := find(w.subflows(t), f.b); return !ok })
			must(t, inPM(w.cpe, func(pm *PathManager) error {
				if err := pm.DestroySubflow(in.Token, s.Local, s.Remote); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("destroying what isn't there: %v, want fs.ErrNotExist", err)
				}
				return nil
			}))
			ping(t, c, "still there")
			c.Close()
		})
	}
}

func TestListenOptions(t *testing.T) {
	ns := netns.New(t, "listen")
	must(t, ns.Do(func() error {
		for _, o := range []ListenOptions{
			{Transparent: true, Backlog: 5},
			{MPTCP: true, Transparent: true, FastOpenQueue: 8, NoCookie: true, Backlog: 5, Device: "lo", RecvBuffer: 1 << 16, SendBuffer: 1 << 16},
		} {
			for _, local := range []string{"127.0.0.1:0", "[::1]:0", "[::]:0", "0.0.0.0:0"} {
				l, err := Listen(context.Background(), netip.MustParseAddrPort(local), o)
				if err != nil {
					t.Errorf("listen on %s with %+v: %v", local, o, err)
					continue
				}
				l.Close()
			}
		}
		return nil
	}))
}

func TestProbe(t *testing.T) {
	ns := netns.New(t, "probe")
	var f Features
	must(t, ns.Do(func() error { f = Probe(); return nil }))
	t.Logf("%+v, missing: %q", f, f.Missing())
	if !f.MPTCP || !f.PathManager || !f.Diag || f.InfoLen < 48 {
		t.Errorf("features %+v on a kernel with MPTCP", f)
	}
	must(t, ns.Sysctl("net.mptcp.enabled", "0"))
	must(t, ns.Do(func() error { f = Probe(); return nil }))
	if f.MPTCP || len(f.Missing()) == 0 {
		t.Errorf("features %+v with net.mptcp.enabled=0", f)
	}
	must(t, ns.Do(func() error {
		if _, err := Dial(context.Background(), netip.MustParseAddrPort("127.0.0.1:9"), DialOptions{}); !errors.Is(err, syscall.ENOPROTOOPT) {
			t.Errorf("dial with net.mptcp.enabled=0: %v, want protocol not available", err)
		}
		return nil
	}))
}
