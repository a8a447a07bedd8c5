// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

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
