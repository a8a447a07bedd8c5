// SPDX-License-Identifier: Apache-2.0

package linkmon

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"spillway/journal"
	"spillway/testbed/await"
	"spillway/testbed/netns"
)

// watched is a monitor that runs inside a namespace and what it published.
type watched struct {
	*Monitor
	ns   *netns.NS
	mu   sync.Mutex
	last Snapshot
	n    int
}

func watch(t *testing.T, ns *netns.NS, links ...LinkConfig) *watched {
	t.Helper()
	m, err := New(Config{Links: links}, journal.Discard())
	if err != nil {
		t.Fatal(err)
	}
	w := &watched{Monitor: m, ns: ns}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- ns.Do(func() error {
			return m.Run(ctx, func(s Snapshot) {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.last = s
				w.n++
			})
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := await.Value(t, "the end of Run", done); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return w
}

// until waits for a snapshot in which ok holds for the named link and returns that link.
func (w *watched) until(t *testing.T, name, what string, ok func(Link) bool) Link {
	t.Helper()
	var seen Link
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		w.mu.Lock()
		for _, l := range w.last.Links {
			if l.Name == name {
				seen = l
			}
		}
		w.mu.Unlock()
		if seen.Name == name && ok(seen) {
			return seen
		}
	}
	t.Fatalf("link %s never became %s; it is %+v", name, what, seen)
	return seen
}

func usable(l Link) bool { return l.Usable }

func because(words string) func(Link) bool {
	return func(l Link) bool { return !l.Usable && strings.Contains(l.Reason, words) }
}

func script(t *testing.T, ns *netns.NS, lines string) {
	t.Helper()
	if err := ns.Script(lines); err != nil {
		t.Fatal(err)
	}
}

func TestLinkComesGoesAndIsReplaced(t *testing.T) {
	ns, far := netns.New(t, "cpe"), netns.New(t, "isp")
	w := watch(t, ns, LinkConfig{Name: "dsl", Device: "wan"})
	w.until(t, "dsl", "absent", because("device wan does not exist"))

	script(t, ns, fmt.Sprintf("link add wan type veth peer name isp netns %s\n", far.Name))
	first := w.until(t, "dsl", "switched off", because("switched off"))
	script(t, ns, "link set wan up\n")
	w.until(t, "dsl", "without carrier", because("no carrier"))
	script(t, far, "link set isp up\n")
	w.until(t, "dsl", "without address", because("no address"))
	script(t, ns, "addr add 192.0.2.2/24 dev wan\n")
	w.until(t, "dsl", "without route", because("no default route"))
	script(t, ns, "route add default via 192.0.2.1 dev wan metric 20\n")
	l := w.until(t, "dsl", "usable", usable)
	if l.Addr4 != netip.MustParseAddr("192.0.2.2") || l.Gateway4 != netip.MustParseAddr("192.0.2.1") || l.MTU != 1500 {
		t.Errorf("address, gateway, MTU: %v, %v, %d", l.Addr4, l.Gateway4, l.MTU)
	}
	script(t, ns, "route replace default via 192.0.2.9 dev wan metric 10\n")
	w.until(t, "dsl", "on the better gateway", func(l Link) bool { return l.Gateway4 == netip.MustParseAddr("192.0.2.9") })

	script(t, far, "link set isp down\n")
	w.until(t, "dsl", "without carrier", because("no carrier"))
	script(t, far, "link set isp up\n") // the routes stayed, as only the far end was down
	w.until(t, "dsl", "usable again", usable)

	script(t, ns, "link set wan mtu 1492\n")
	w.until(t, "dsl", "smaller", func(l Link) bool { return l.MTU == 1492 })

	// DHCP gives another address: the new one comes before the old one goes.
	script(t, ns, "addr add 198.51.100.7/24 dev wan\nroute replace default via 198.51.100.1 dev wan metric 10\naddr del 192.0.2.2/24 dev wan\n")
	w.until(t, "dsl", "moved", func(l Link) bool {
		return l.Usable && l.Addr4 == netip.MustParseAddr("198.51.100.7") && l.Gateway4 == netip.MustParseAddr("198.51.100.1")
	})

	script(t, ns, "link del wan\n")
	w.until(t, "dsl", "gone", because("does not exist"))
	script(t, ns, fmt.Sprintf("link add wan type veth peer name isp netns %s\nlink set wan up\naddr add 192.0.2.2/24 dev wan\n", far.Name))
	script(t, far, "link set isp up\n")
	script(t, ns, "route add default via 192.0.2.1 dev wan\n")
	again := w.until(t, "dsl", "usable", usable)
	if again.Index == first.Index {
		t.Errorf("the device made anew has the old index %d", again.Index)
	}
}

func TestDevicesAreRenamedAndSwapNames(t *testing.T) {
	ns := netns.New(t, "cpe")
	script(t, ns, `link add wan0 type veth peer name far0
link add wan1 type veth peer name far1
link set far0 up
link set far1 up
addr add 192.0.2.1/32 dev wan0
addr add 192.0.2.2/32 dev wan1
link set wan0 up
link set wan1 up
route add default dev wan0 metric 1
route add default dev wan1 metric 2
`)
	w := watch(t, ns, LinkConfig{Name: "one", Device: "wan0"}, LinkConfig{Name: "two", Device: "wan1"})
	one, two := w.until(t, "one", "usable", usable), w.until(t, "two", "usable", usable)
	if one.Gateway4.IsValid() || !one.Route4 {
		t.Errorf("a default route without gateway: %+v", one)
	}
	// A device that is up can be renamed since Linux 6.2 only: take them down first.
	script(t, ns, "link set wan0 down\nlink set wan0 name away\n")
	w.until(t, "one", "renamed away", because("does not exist"))
	script(t, ns, `link set wan1 down
link set wan1 name wan0
link set away name wan1
link set wan0 up
link set wan1 up
route add default dev wan0 metric 1
route add default dev wan1 metric 2
`)
	w.until(t, "one", "two's device", func(l Link) bool {
		return l.Usable && l.Index == two.Index && l.Addr4 == two.Addr4
	})
	w.until(t, "two", "one's device", func(l Link) bool {
		return l.Usable && l.Index == one.Index && l.Addr4 == one.Addr4
	})
}

func TestPointToPointNeedsNoGateway(t *testing.T) {
	ns := netns.New(t, "cpe")
	if err := ns.Script("tuntap add dev pppoe-wan mode tun\n"); err != nil {
		netns.Missing(t, fmt.Sprintf("needs tun devices: %v", err))
	}
	w := watch(t, ns, LinkConfig{Name: "dsl", Device: "pppoe-wan"})
	script(t, ns, "link set pppoe-wan up\naddr add 192.0.2.2 peer 192.0.2.1 dev pppoe-wan\n")
	// Nobody holds the tun device yet: that is a PPP session that is not up.
	w.until(t, "dsl", "without carrier", because("no carrier"))
	tun, err := holdTun(ns, "pppoe-wan")
	if err != nil {
		netns.Missing(t, fmt.Sprintf("needs /dev/net/tun: %v", err))
	}
	l := w.until(t, "dsl", "usable", usable)
	if !l.PointToPoint || !l.Route4 || l.Gateway4.IsValid() || l.Addr4 != netip.MustParseAddr("192.0.2.2") {
		t.Errorf("point-to-point link: %+v", l)
	}
	tun.Close()
	w.until(t, "dsl", "without carrier", because("no carrier"))
}

func holdTun(ns *netns.NS, name string) (f *os.File, err error) {
	err = ns.Do(func() error {
		f, err = openTun(name)
		return err
	})
	return f, err
}

func TestIPv6Only(t *testing.T) {
	ns, far := netns.New(t, "cpe"), netns.New(t, "isp")
	if err := netns.Veth(ns, "wwan0", far, "isp"); err != nil {
		t.Fatal(err)
	}
	w := watch(t, ns, LinkConfig{Name: "lte", Device: "wwan0"})
	w.until(t, "lte", "without address", because("no address")) // the link-local one is none
	script(t, ns, "addr add fd00::2/64 dev wwan0 nodad\nroute add default via fe80::1 dev wwan0\n")
	l := w.until(t, "lte", "usable by its private address", usable)
	if l.Addr6 != netip.MustParseAddr("fd00::2") {
		t.Errorf("address %v", l.Addr6)
	}
	script(t, ns, "addr add 2001:db8::2/64 dev wwan0 nodad\n")
	l = w.until(t, "lte", "on its global address", func(l Link) bool { return l.Addr6 == netip.MustParseAddr("2001:db8::2") })
	if l.Addr4.IsValid() || l.Route4 || !l.Route6 || l.Gateway6 != netip.MustParseAddr("fe80::1") {
		t.Errorf("IPv6 only: %+v", l)
	}
	// A deprecated address is for old connections, not for new ones.
	script(t, ns, "addr change 2001:db8::2/64 dev wwan0 preferred_lft 0 valid_lft 1000\naddr add 2001:db8:1::2/64 dev wwan0 nodad\n")
	w.until(t, "lte", "renumbered", func(l Link) bool { return l.Addr6 == netip.MustParseAddr("2001:db8:1::2") })
	// OpenWrt's default routes hold for one source prefix only.
	if err := ns.Run("ip", "-6", "route", "del", "default", "dev", "wwan0"); err != nil {
		t.Fatal(err)
	}
	w.until(t, "lte", "without route", because("no default route"))
	script(t, ns, "route add default from 2001:db8:1::/64 via fe80::2 dev wwan0\n")
	w.until(t, "lte", "usable", func(l Link) bool { return l.Usable && l.Gateway6 == netip.MustParseAddr("fe80::2") })
}

func TestEightLinksAndTheirRates(t *testing.T) {
	ns, far := netns.New(t, "cpe"), netns.New(t, "isp")
	var cfg []LinkConfig
	for i := range 8 {
		a, b := fmt.Sprintf("wan%d", i), fmt.Sprintf("isp%d", i)
		if err := netns.Veth(ns, a, far, b); err != nil {
			t.Fatal(err)
		}
		script(t, ns, fmt.Sprintf("addr add 10.%d.0.2/24 dev %s\nroute add default via 10.%d.0.1 dev %s metric %d\n", i, a, i, a, 10+i))
		script(t, far, fmt.Sprintf("addr add 10.%d.0.1/24 dev %s\n", i, b))
		cfg = append(cfg, LinkConfig{Name: "link" + a[3:], Device: a, UpBit: 1e6, DownBit: 1e6})
	}
	w := watch(t, ns, cfg...)
	for i, c := range cfg {
		l := w.until(t, c.Name, "usable", usable)
		if want := netip.AddrFrom4([4]byte{10, byte(i), 0, 1}); l.Gateway4 != want {
			t.Errorf("%s: gateway %v, want %v", c.Name, l.Gateway4, want)
		}
	}
	var out net.Conn
	if err := ns.Do(func() (err error) { out, err = net.Dial("udp4", "10.3.0.1:9"); return err }); err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	stop := make(chan struct{})
	defer close(stop)
	go func() { // 1000 octets each 5 ms: 1.6 Mbit/s on a machine that keeps up
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
				out.Write(make([]byte, 1000)) // an ICMP error of the far end is no matter
			}
		}
	}()
	l := w.until(t, "link3", "busy", func(l Link) bool { return l.UpRate > 100e3 && l.UpPeak >= l.UpRate })
	if l.TxBytes == 0 || l.TxPackets == 0 {
		t.Errorf("counters of a busy link: %+v", l)
	}
	w.until(t, "link0", "still", func(l Link) bool { return l.UpRate < 20e3 })
}

// The kernel drops messages when nobody reads them in time: the monitor must read all anew by itself.
func TestOverrunIsReadOver(t *testing.T) {
	ns := netns.New(t, "cpe")
	script(t, ns, "link add wan type veth peer name far\nlink set far up\naddr add 192.0.2.1/32 dev wan\nlink set wan up\nroute add default dev wan\n")
	m, err := New(Config{Links: []LinkConfig{{Name: "dsl", Device: "wan"}}}, journal.Discard())
	if err != nil {
		t.Fatal(err)
	}
	// A subscription that holds its reader until the socket has overrun.
	hold := make(chan struct{})
	subscribed := 0 // of Run's goroutine, read after it ended
	real := m.watch
	m.watch = func() (subscription, error) {
		s, err := real()
		if subscribed++; err == nil && subscribed == 1 {
			next := s.next
			s.next = func() (hint, error) { <-hold; return next() }
		}
		return s, err
	}
	w := &watched{Monitor: m, ns: ns}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- ns.Do(func() error {
			return m.Run(ctx, func(s Snapshot) { w.mu.Lock(); w.last = s; w.mu.Unlock() })
		})
	}()
	defer func() {
		cancel()
		if err := await.Value(t, "the end of Run", done); err != nil {
			t.Errorf("Run: %v", err)
		}
		if subscribed < 2 {
			t.Errorf("subscribed %d times: the socket did not overrun, or nobody noticed", subscribed)
		}
	}()
	w.until(t, "dsl", "usable", usable)
	var storm strings.Builder
	for range 800 {
		storm.WriteString("addr add 192.0.2.7/32 dev wan\naddr del 192.0.2.7/32 dev wan\n")
	}
	script(t, ns, storm.String())
	script(t, ns, "addr add 192.0.2.8/32 dev wan\naddr del 192.0.2.1/32 dev wan\n")
	close(hold)
	w.until(t, "dsl", "on the other address", func(l Link) bool { return l.Addr4 == netip.MustParseAddr("192.0.2.8") })
	script(t, ns, "link set wan down\n")
	w.until(t, "dsl", "down", because("switched off"))
}
