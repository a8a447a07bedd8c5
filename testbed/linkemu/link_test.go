// SPDX-License-Identifier: Apache-2.0

package linkemu

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"spillway/testbed/netns"
)

// opener makes one end of a link.
type opener func(*netns.NS, string) (*Port, error)

func tap(ns *netns.NS, name string) (*Port, error) { return openTun(ns, name, Ethernet) }
func tun(ns *netns.NS, name string) (*Port, error) { return openTun(ns, name, PPP) }

// twoEnds makes a link between two namespaces, addresses 10.9.0.1 (router) and 10.9.0.2.
func twoEnds(t *testing.T, open opener, up, down Shape) (router, provider *netns.NS, l *Link) {
	t.Helper()
	router, provider = netns.New(t, "router"), netns.New(t, "provider")
	a, err := open(router, "wan")
	if err != nil {
		t.Fatal(err)
	}
	b, err := open(provider, "cust")
	if err != nil {
		t.Fatal(err)
	}
	if l, err = New(a, b, up, down, 1); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	for ns, line := range map[*netns.NS]string{router: "addr add 10.9.0.1 peer 10.9.0.2 dev wan\n", provider: "addr add 10.9.0.2 peer 10.9.0.1 dev cust\n"} {
		if err := ns.Script(line); err != nil {
			t.Fatal(err)
		}
	}
	return router, provider, l
}

// dial listens in one namespace and connects from the other.
func dial(t *testing.T, router, provider *netns.NS) (client, server net.Conn) {
	t.Helper()
	var l net.Listener
	err := provider.Do(func() (err error) { l, err = net.Listen("tcp4", "10.9.0.2:7000"); return err })
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = router.Do(func() (err error) { client, err = net.DialTimeout("tcp4", "10.9.0.2:7000", 20*time.Second); return err })
	if err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func TestThroughputIsTheRate(t *testing.T) {
	for name, open := range map[string]opener{"tap": tap, "tun": tun, "veth": openVeth} {
		t.Run(name, func(t *testing.T) {
			fast := Shape{Rate: 20e6, Delay: 5 * time.Millisecond}
			router, provider, l := twoEnds(t, open, fast, fast)
			client, server := dial(t, router, provider)
			const octets = 4 << 20 // 1.7 s at 20 Mbit/s
			go func() {
				io.CopyN(server, zeros{}, octets)
				server.Close()
			}()
			start := time.Now()
			if n, err := io.Copy(io.Discard, client); n != octets {
				t.Fatalf("%d octets came, want %d: %v", n, octets, err)
			}
			took := time.Since(start)
			if rate := octets * 8 / took.Seconds(); rate > 20e6*1.1 { // slower is a busy machine, faster a broken line
				t.Errorf("%.1f Mbit/s through a line of 20", rate/1e6)
			}
			if _, down := l.Counts(); down.Octets < octets || down.Payload < octets {
				t.Errorf("the line counted %d octets, %d of payload, for %d", down.Octets, down.Payload, octets)
			}
		})
	}
}

func TestCutIsSeenAndRestored(t *testing.T) {
	for name, open := range map[string]opener{"tap": tap, "tun": tun, "veth": openVeth} {
		t.Run(name, func(t *testing.T) { testCut(t, open) })
	}
}

func testCut(t *testing.T, open opener) {
	router, provider, l := twoEnds(t, open, Shape{}, Shape{})
	client, server := dial(t, router, provider)
	carrier := func(want bool) {
		t.Helper()
		deadline := time.Now().Add(10 * time.Second)
		for {
			got, err := router.Output("ip", "-o", "link", "show", "wan")
			if err == nil && !strings.Contains(got, "NO-CARRIER") == want {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("carrier not %v: %s", want, got)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	if err := l.Cut(); err != nil {
		t.Fatal(err)
	}
	carrier(false)
	client.Write([]byte("through the cut"))
	if err := l.Restore(); err != nil {
		t.Fatal(err)
	}
	carrier(true)
	b := make([]byte, 15)
	server.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.ReadFull(server, b); err != nil || string(b) != "through the cut" {
		t.Errorf("after the cut: %q, %v", b, err)
	}
}

func TestBlackholeIsSilentAndOneWay(t *testing.T) {
	router, provider, l := twoEnds(t, tun, Shape{}, Shape{})
	client, server := dial(t, router, provider)
	l.Blackhole(true, false)
	client.Write([]byte("swallowed"))
	server.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	if n, _ := server.Read(make([]byte, 20)); n != 0 {
		t.Errorf("%d octets through the blackhole", n)
	}
	l.Blackhole(false, false)
	b := make([]byte, 9)
	server.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.ReadFull(server, b); err != nil {
		t.Errorf("after the blackhole: %v", err)
	}
	if up, _ := l.Counts(); up.Lost == 0 {
		t.Error("the blackhole counted nothing")
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }
