// SPDX-License-Identifier: Apache-2.0

package testbed_test

import (
	"encoding/binary"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"spillway/convert"
	"spillway/mptcp"
	"spillway/testbed/await"
	"spillway/testbed/netns"
	"spillway/testbed/traffic"
	"spillway/testbed/world"
)

// The first packet of a relayed connection on the line holds all: MP_CAPABLE and the Convert Connect.
func TestTheConnectIsInTheSYN(t *testing.T) {
	netns.Require(t)
	if f := mptcp.Probe(); f.MPTCP && !f.FastOpenServer {
		t.Skip("needs MPTCP listeners that take data in the SYN (TCP_FASTOPEN on MPTCP sockets, Linux 6.2): the daemon avoids it without")
	}
	w := ready(t, world.Config{Links: world.Two()})
	syns := capture(t, w.CPE, "dsl")
	get(t, w, traffic.Demand{Octets: 1000})
	deadline := time.After(30 * time.Second)
	for {
		select {
		case s := <-syns:
			if s.port != world.Port || len(s.payload) == 0 {
				continue // a connection made in advance
			}
			if !s.capable {
				t.Error("the SYN has no MP_CAPABLE")
			}
			m, _, err := convert.Parse(s.payload)
			if err != nil || m.Connect == nil || m.Connect.Addr != netip.MustParseAddrPort(world.To("4")) {
				t.Errorf("the SYN's payload is %x: %+v, %v; want a Connect to %s", s.payload, m, err, world.To("4"))
			}
			return
		case <-deadline:
			t.Fatal("no SYN with payload towards the concentrator")
		}
	}
}

// syn is what a test wants to know of one.
type syn struct {
	port    uint16
	capable bool
	payload []byte
}

// capture delivers the SYNs that leave by a device.
func capture(t *testing.T, ns *netns.NS, device string) <-chan syn {
	t.Helper()
	fd := -1
	err := ns.Do(func() (err error) {
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(htons(unix.ETH_P_ALL))); err != nil {
			return err
		}
		ifr, err := unix.NewIfreq(device)
		if err != nil {
			return err
		}
		if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, ifr); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: int(ifr.Uint32())})
	})
	if err != nil {
		t.Fatal(err)
	}
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000})
	out, stop, stopped := make(chan syn, 64), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		buf := make([]byte, 2048)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if n, err := unix.Read(fd, buf); err == nil {
				if s, ok := parseSYN(buf[:n]); ok {
					select {
					case out <- s:
					default:
					}
				}
			}
		}
	}()
	t.Cleanup(func() { close(stop); await.Value(t, "the reader's end", stopped); unix.Close(fd) })
	return out
}

func htons(v uint16) uint16 { return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v)) }

// parseSYN reads an IPv4 packet.
func parseSYN(p []byte) (s syn, ok bool) {
	if len(p) < 40 || p[0] != 0x45 || p[9] != unix.IPPROTO_TCP {
		return s, false
	}
	seg := p[20:binary.BigEndian.Uint16(p[2:])]
	if seg[13]&0x12 != 2 { // SYN without ACK
		return s, false
	}
	header := int(seg[12]>>4) * 4
	s = syn{port: binary.BigEndian.Uint16(seg[2:]), payload: slices.Clone(seg[header:])}
	for o := seg[20:header]; len(o) > 2; {
		if o[0] <= 1 {
			o = o[1:]
			continue
		}
		s.capable = s.capable || o[0] == 30 && o[2]>>4 == 0
		o = o[min(len(o), max(2, int(o[1]))):]
	}
	return s, true
}

func TestNativeMPTCPOfTheLANPasses(t *testing.T) {
	w := ready(t, world.Config{Links: world.Two()})
	before := accepted(t, w)
	if r := get(t, w, traffic.Demand{Octets: 50_000, MPTCP: true}); r.MPTCP != 1 {
		t.Error("the connection is not MPTCP end to end")
	}
	if after := accepted(t, w); after != before {
		t.Errorf("%d connections were relayed", after-before)
	}
	if r := get(t, w, traffic.Demand{Octets: 50_000}); r.MPTCP != 0 || accepted(t, w) != before+1 {
		t.Errorf("a plain connection: MPTCP %d, relayed %d; want 0 and 1", r.MPTCP, accepted(t, w)-before)
	}
}

func TestABypassRuleKeepsTrafficOutOfTheRelay(t *testing.T) {
	w := ready(t, world.Config{Links: world.Two(), Settings: world.Settings{
		Rules: []map[string]string{{"name": `"server"`, "dst": `["` + world.Server4 + `"]`, "action": `"bypass"`}},
	}})
	before := accepted(t, w)
	get(t, w, traffic.Demand{Octets: 50_000})
	if after := accepted(t, w); after != before {
		t.Errorf("%d connections were relayed in spite of the rule", after-before)
	}
	get(t, w, traffic.Demand{Octets: 50_000, To: world.To("6")})
	if after := accepted(t, w); after != before+1 {
		t.Errorf("%d connections by IPv6 were relayed, want 1: the rule is for IPv4", after-before)
	}
}

func TestAFileArrivesByCurl(t *testing.T) {
	w := ready(t, world.Config{Links: world.Two()})
	want := make([]byte, 3_000_000)
	traffic.Fill(want, 7, 0)
	if err := os.WriteFile(filepath.Join(w.Dir, "file"), want, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"-o", filepath.Join(w.Dir, "got"), world.URL("4", "file")},
		{"-T", filepath.Join(w.Dir, "file"), world.URL("6", "got")},
	} {
		if out, err := w.Curl(args...).CombinedOutput(); err != nil {
			t.Fatalf("curl: %v: %s", err, out)
		}
		got, err := os.ReadFile(filepath.Join(w.Dir, "got"))
		if err != nil || len(got) != len(want) || traffic.Check(got, 7, 0) != -1 {
			t.Errorf("%s: %d octets, %v", args, len(got), err)
		}
		os.Remove(filepath.Join(w.Dir, "got"))
	}
}

func TestStopLeavesNoTraceAndARestartFindsTheSame(t *testing.T) {
	w := world.New(t, world.Config{Links: world.Two()})
	before := state(t, w)
	if err := w.StartServer(w.Dir); err != nil {
		t.Fatal(err)
	}
	if err := w.StartConcentrator(); err != nil {
		t.Fatal(err)
	}
	start := func() {
		t.Helper()
		if err := w.Router.Start(w.TOML()); err != nil {
			t.Fatal(err)
		}
		get(t, w, traffic.Demand{Octets: 1000})
	}
	start()
	running := state(t, w)
	if err := w.Router.Kill(); err != nil {
		t.Fatal(err)
	}
	start()
	for name, want := range running {
		if got := state(t, w)[name]; got != want && name != "nft" { // the door's ports are others
			t.Errorf("%s after SIGKILL and restart:\n%s\nwant\n%s", name, got, want)
		}
	}
	if err := w.Router.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	after := state(t, w)
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if after[name] != before[name] {
			t.Errorf("%s after stop:\n%s\nbefore start\n%s", name, after[name], before[name])
		}
	}
}

// state is what a daemon may have changed in the router's kernel.
func state(t *testing.T, w *world.World) map[string]string {
	t.Helper()
	all := map[string]string{}
	for name, command := range map[string]string{
		"nft": "nft list ruleset", "rules": "ip rule", "rules6": "ip -6 rule", "routes": "ip route show table all type unicast",
		"routes6": "ip -6 route show table all type unicast", "local": "ip route show table all type local", "endpoints": "ip mptcp endpoint", "limits": "ip mptcp limits",
		"sysctls": "sysctl -e net.mptcp net.ipv4.tcp_fastopen net.ipv4.conf.all net.ipv4.conf.dsl net.ipv4.conf.lte net.ipv4.conf.lan0 net.ipv4.ip_nonlocal_bind net.ipv4.tcp_syn_retries",
	} {
		words := strings.Fields(command)
		out, err := w.CPE.Output(words[0], words[1:]...)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = out
	}
	return all
}

// get downloads and fails the test unless every octet came.
func get(t *testing.T, w *world.World, d traffic.Demand) traffic.Result {
	t.Helper()
	d.Kind = traffic.Get
	r, err := w.Demand(d)
	if err != nil {
		t.Fatal(err)
	}
	if r.Failed != 0 || r.Bad != 0 || r.Octets != d.Octets {
		t.Fatalf("download: %d failed, %d bad, %d octets of %d: %q", r.Failed, r.Bad, r.Octets, d.Octets, r.Errors)
	}
	return r
}

// accepted is how many connections the relay has taken.
func accepted(t *testing.T, w *world.World) uint64 {
	t.Helper()
	s, err := w.Router.Status()
	if err != nil {
		t.Fatal(err)
	}
	return s.Counters["accepted"]
}
