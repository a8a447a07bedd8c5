// SPDX-License-Identifier: Apache-2.0

package faults_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"spillway/testbed/netns"
	"spillway/testbed/traffic"
	"spillway/testbed/world"
)

// TestNobodyReachesTheListeners tries every way to the daemon's sockets but the intended one: the listeners are no proxy
// for anybody, from either side.
func TestNobodyReachesTheListeners(t *testing.T) {
	w := world.New(t, world.Config{Links: world.Two()})
	for _, step := range []func() error{
		func() error { return w.StartServer(w.Dir) },
		func() error { return w.StartConcentrator() },
		func() error { return w.Router.Start(w.TOML()) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	s, err := w.Router.Status()
	if err != nil || s.Doors.IPv4 == 0 || s.Doors.IPv6 == 0 {
		t.Fatalf("status %+v, %v", s, err)
	}
	accepted := func() uint64 {
		s, err := w.Router.Status()
		if err != nil {
			t.Fatal(err)
		}
		n, ok := s.Counters["accepted"]
		if !ok {
			t.Fatalf("no counter accepted in %v", s.Counters)
		}
		return n
	}
	door4, door6 := fmt.Sprint(s.Doors.IPv4), fmt.Sprint(s.Doors.IPv6)
	dsl := w.Providers[0]

	// Packets to loopback addresses and to third parties must be made to travel: the attacker controls his own host's routes.
	if err := w.LAN.Run("sh", "-ec", `sysctl -qw net.ipv4.conf.all.route_localnet=1
ip addr flush dev lo
ip route add 127.0.0.1 via 192.168.1.1 dev eth0
ip -6 route add ::1 via 2001:db8:1::1 dev eth0`); err != nil {
		t.Fatal(err)
	}
	if err := dsl.Run("sh", "-ec", fmt.Sprintf(`sysctl -qw net.ipv4.conf.all.route_localnet=1
ip addr flush dev lo
ip route add 127.0.0.1 via %[1]v dev cust
ip route add 192.168.1.0/24 via %[1]v dev cust
ip route add 203.0.113.10 via %[1]v dev cust
ip -6 route add 2001:db8:5::10 via %[2]v dev cust`, w.Address4(0), w.Address6(0))); err != nil {
		t.Fatal(err)
	}

	linkLocal := func(device string) string {
		out, err := w.CPE.Output("ip", "-6", "-o", "addr", "show", "dev", device, "scope", "link")
		if f := strings.Fields(out); err == nil && len(f) > 3 {
			a, _, _ := strings.Cut(f[3], "/")
			return a
		}
		t.Fatalf("the router has no link-local address on %s: %q, %v", device, out, err)
		return ""
	}
	before := accepted()
	for _, try := range []struct {
		who string
		ns  *netns.NS
		to  string
	}{
		{"LAN host to the router's LAN address", w.LAN, net.JoinHostPort(world.Router4, door4)},
		{"LAN host to the router's LAN address", w.LAN, net.JoinHostPort(world.Router6, door6)},
		{"LAN host to the router's WAN address", w.LAN, net.JoinHostPort(w.Address4(0).String(), door4)},
		{"LAN host to 127.0.0.1 by way of the router", w.LAN, net.JoinHostPort("127.0.0.1", door4)},
		{"LAN host to the concentrator itself", w.LAN, net.JoinHostPort(world.Concentrator4, fmt.Sprint(world.Port))},
		{"LAN host to the router's WAN address", w.LAN, net.JoinHostPort(w.Address6(0).String(), door6)},
		{"LAN host to ::1 by way of the router", w.LAN, net.JoinHostPort("::1", door6)},
		{"LAN host to the router's link-local address", w.LAN, net.JoinHostPort(linkLocal(world.LANDevice)+"%eth0", door6)},
		{"WAN host to the router's link-local address", dsl, net.JoinHostPort(linkLocal("dsl")+"%cust", door6)},
		{"WAN host to the router's WAN address", dsl, net.JoinHostPort(w.Address4(0).String(), door4)},
		{"WAN host to the router's WAN address", dsl, net.JoinHostPort(w.Address6(0).String(), door6)},
		{"WAN host to the router's LAN address", dsl, net.JoinHostPort(world.Router4, door4)},
		{"WAN host to 127.0.0.1 by way of the router", dsl, net.JoinHostPort("127.0.0.1", door4)},
	} {
		err := dial(try.ns, try.to)
		if err == nil {
			t.Errorf("%s (%s): connected", try.who, try.to)
		} else {
			t.Logf("%s (%s): %v", try.who, try.to, err)
		}
	}
	// A WAN host may use the router as a router, where its firewall lets it; it must not be relayed.
	dial(dsl, world.To("4"))
	dial(dsl, world.To("6"))
	if now := accepted(); now != before {
		t.Errorf("the relay accepted %d of these connections", now-before)
	}

	// This one is intercepted as any other, and the concentrator refuses to reach into its own host.
	if err := dial(w.LAN, net.JoinHostPort("203.0.113.1", fmt.Sprint(world.Port))); err == nil {
		t.Error("LAN host to another address of the concentrator's host: was served")
	}

	// A process on the router reaches the loopback address; the relay hangs up, since it would else call itself.
	for _, to := range []string{net.JoinHostPort("127.0.0.1", door4), net.JoinHostPort("::1", door6)} {
		if err := dial(w.CPE, to); err == nil {
			t.Errorf("process on the router to %s: was served", to)
		}
	}
	r, err := w.Demand(traffic.Demand{Kind: traffic.Get, Octets: 1000})
	if err != nil || r.Failed+r.Bad > 0 || accepted() == before {
		t.Errorf("an ordinary connection: %+v, %v", r, err)
	}
}

// dial connects and waits for an octet in vain: an error tells that there was no connection, or that it was ended.
func dial(ns *netns.NS, to string) error {
	return ns.Do(func() error {
		c, err := (&net.Dialer{Timeout: 1500 * time.Millisecond}).Dial("tcp", to)
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(5 * time.Second))
		fmt.Fprintf(c, "get 10 1 0\n")
		if _, err := c.Read(make([]byte, 1)); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		return nil
	})
}

// TestTheDaemonHoldsWhatItNeedsAndNoMore looks at the running daemon from outside.
func TestTheDaemonHoldsWhatItNeedsAndNoMore(t *testing.T) {
	w := world.New(t, world.Config{Links: world.Two()})
	if err := w.StartConcentrator(); err != nil {
		t.Fatal(err)
	}
	if err := w.Router.Start(w.TOML()); err != nil {
		t.Fatal(err)
	}
	u, err := w.Router.Usage()
	if err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", u.Pid))
	if err != nil {
		t.Fatal(err)
	}
	// CAP_NET_BIND_SERVICE 10, CAP_NET_ADMIN 12, CAP_NET_RAW 13
	for _, want := range []string{"CapEff:\t0000000000003400", "CapPrm:\t0000000000003400", "CapInh:\t0000000000000000", "NoNewPrivs:\t1"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("want %q in\n%s", want, status)
		}
	}
	socket := filepath.Join(w.Dir, "control")
	info, err := os.Stat(socket)
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("control socket: %v, %v: want mode 0600", info.Mode(), err)
	}
	for dir := w.Dir; dir != "/"; dir = filepath.Dir(dir) {
		os.Chmod(dir, 0o755) // so that it is the socket's own mode that decides; these are the test's directories
		if filepath.Dir(dir) == os.TempDir() {
			break
		}
	}
	copied := filepath.Join(w.Dir, "spillway-copy")
	binary, err := os.ReadFile(w.Bin.Spillway)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(copied, binary, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(copied, "status", "-control", socket) // unix sockets need no namespace
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("is root's")) {
		t.Errorf("nobody asks for the status: %v, %q: want to be refused", err, out)
	}
	// Nothing listens but the doors.
	listening, err := w.CPE.Output("ss", "-Hltnup")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(listening) {
		if !strings.Contains(line, "127.0.0.1:") && !strings.Contains(line, "[::1]:") {
			t.Errorf("the router listens: %s", line)
		}
	}
}
