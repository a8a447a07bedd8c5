// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"spillway/convert"
	"spillway/journal"
	"spillway/mptcp"
	"spillway/testbed/await"
	"spillway/testbed/netns"
)

// TestMain makes the test binary a relay when asked: a relay's sockets belong to the namespace of its process.
func TestMain(m *testing.M) {
	if os.Getenv("SPILLWAY_TEST_RELAY") != "" {
		if err := relayProcess(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// order is one line of a relay process's standard input. Each is answered by a line.
type order struct {
	Config *Config
	Plan   *Plan
	Open   bool
	Close  bool
}

// report is the answer.
type report struct {
	Err       string
	Port4     uint16
	Port6     uint16
	Stats     Stats
	Flows     []Flow
	Upstreams []UpstreamStatus
	Alloc     uint64 // octets of live heap
}

func relayProcess(in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var r *Relay
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var o order
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return err
		}
		var err error
		switch {
		case o.Config != nil && r == nil:
			if r, err = New(*o.Config, journal.New(os.Stderr, journal.Info)); err != nil {
				return err
			}
			go r.Run(ctx)
		case o.Config != nil:
			err = r.SetConfig(*o.Config)
		case o.Plan != nil:
			r.SetPlan(*o.Plan)
		case o.Open:
			err = r.OpenDoor(0, 0)
		case o.Close:
			r.CloseDoor()
		}
		p := report{Stats: r.Stats(), Flows: r.Flows(0, 100), Upstreams: r.Upstreams(), Alloc: liveHeap()}
		p.Port4, p.Port6 = r.Ports()
		if err != nil {
			p.Err = err.Error()
		}
		if err := json.NewEncoder(out).Encode(p); err != nil {
			return err
		}
	}
	return lines.Err()
}

// home is a LAN host, a router and a far side with two links between the latter two.
type home struct {
	lan, cpe, hag *netns.NS
	in            io.Writer
	out           *bufio.Scanner
}

func newHome(t *testing.T) *home {
	h := &home{lan: netns.New(t, "lan"), cpe: netns.New(t, "cpe"), hag: netns.New(t, "hag")}
	if _, err := exec.LookPath("nft"); err != nil {
		netns.Missing(t, "needs nft (Debian package nftables)")
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(netns.Veth(h.lan, "eth0", h.cpe, "br-lan"))
	must(netns.Veth(h.cpe, "dsl", h.hag, "dsl"))
	must(netns.Veth(h.cpe, "lte", h.hag, "lte"))
	must(h.lan.Script("addr add 10.0.0.2/24 dev eth0\naddr add fd00::2/64 dev eth0 nodad\n" +
		"route add default via 10.0.0.1\nroute add default via fd00::1\n"))
	must(h.cpe.Script("addr add 10.0.0.1/24 dev br-lan\naddr add fd00::1/64 dev br-lan nodad\n" +
		"addr add 10.1.1.1/24 dev dsl\naddr add 10.1.2.1/24 dev lte\naddr add fd01::1/64 dev dsl nodad\naddr add fd02::1/64 dev lte nodad\n" +
		"route add default via 10.1.1.2 dev dsl\nroute add default via fd01::2 dev dsl\n" +
		"route add default via 10.1.2.2 dev lte table 102\nroute add default via fd02::2 dev lte table 102\n" +
		"rule add from 10.1.2.1 lookup 102\n" +
		"rule add iif br-lan fwmark 1/1 lookup 100\nroute add local 0.0.0.0/0 dev lo table 100\nroute add local ::/0 dev lo table 100\n" +
		"mptcp limits set subflows 4 add_addr_accepted 4\n"))
	must(h.cpe.Run("ip", "-6", "rule", "add", "iif", "br-lan", "fwmark", "1/1", "lookup", "100"))
	must(h.cpe.Run("ip", "-6", "rule", "add", "from", "fd02::1", "lookup", "102"))
	must(h.hag.Script("addr add 10.1.1.2/24 dev dsl\naddr add 10.1.2.2/24 dev lte\naddr add fd01::2/64 dev dsl nodad\naddr add fd02::2/64 dev lte nodad\n" +
		"addr add 10.9.9.9/32 dev lo\naddr add fd09::9/128 dev lo nodad\naddr add 10.8.8.8/32 dev lo\naddr add fd08::8/128 dev lo nodad\n" +
		"route add 10.0.0.0/24 via 10.1.1.1\nroute add fd00::/64 via fd01::1\nmptcp limits set subflows 4 add_addr_accepted 4\n"))
	for _, s := range []string{"net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"} {
		must(h.cpe.Sysctl(s, "1"))
	}
	for _, s := range []string{"all", "default", "dsl", "lte", "br-lan"} {
		must(h.cpe.Sysctl("net.ipv4.conf."+s+".rp_filter", "2"))
	}
	must(h.cpe.KeepMPTCP())
	must(h.cpe.Sysctl("net.ipv4.tcp_fwmark_accept", "1"))
	// As daemon and concentrator have it. Bits 0x600 would have listeners of Linux 6.1 take data in the SYN, and MPTCP there loses them.
	must(h.cpe.Sysctl("net.ipv4.tcp_fastopen", "5"))
	must(h.hag.Sysctl("net.ipv4.tcp_fastopen", "3"))
	return h
}

// relay starts a relay in the router, with its door behind tproxy.
func (h *home) relay(t *testing.T, cfg Config) {
	t.Helper()
	cmd := h.cpe.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SPILLWAY_TEST_RELAY=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	h.in, h.out = in, bufio.NewScanner(out)
	h.out.Buffer(nil, 1<<20)
	h.tell(t, order{Config: &cfg})
	h.tell(t, order{Plan: &Plan{Links: []PlanLink{
		{Name: "dsl", Device: "dsl", Addr4: netip.MustParseAddr("10.1.1.1"), Addr6: netip.MustParseAddr("fd01::1"), Usable: true},
		{Name: "lte", Device: "lte", Addr4: netip.MustParseAddr("10.1.2.1"), Addr6: netip.MustParseAddr("fd02::1"), Usable: true, Metered: true},
	}}})
	p := h.tell(t, order{Open: true})
	rules := fmt.Sprintf(`table inet t { chain pre { type filter hook prerouting priority mangle;
		iifname != "br-lan" return; meta l4proto != tcp return; fib daddr type local return
		socket transparent 1 meta mark set 1 accept
		tcp flags & (fin | syn | rst | ack) != syn return
		tcp dport 666 meta mark set 0x10
		tcp dport 7000-7099 meta mark set 0x20
		meta nfproto ipv4 meta l4proto tcp tproxy ip to 127.0.0.1:%d meta mark set meta mark | 1 accept
		meta nfproto ipv6 meta l4proto tcp tproxy ip6 to [::1]:%d meta mark set meta mark | 1 accept
	}
	}`, p.Port4, p.Port6)
	nft := h.cpe.Command("nft", "-f", "-")
	nft.Stdin = strings.NewReader(rules)
	if b, err := nft.CombinedOutput(); err != nil {
		netns.Missing(t, fmt.Sprintf("nft without tproxy: %v: %s", err, b))
	}
}

func (h *home) tell(t *testing.T, o order) (p report) {
	t.Helper()
	if err := json.NewEncoder(h.in).Encode(o); err != nil {
		t.Fatal(err)
	}
	if !h.out.Scan() {
		t.Fatal("the relay ended")
	}
	if err := json.Unmarshal(h.out.Bytes(), &p); err != nil {
		t.Fatal(err)
	}
	if p.Err != "" {
		t.Fatal(p.Err)
	}
	return p
}

// converter runs a fake one at the far side, MPTCP and fast open.
func (h *home) converter(t *testing.T, a netip.AddrPort, s script) *fake {
	t.Helper()
	return serveFake(h.listen(t, h.hag, a, true), func(c *net.TCPConn, m *convert.Message) {
		settle(c)
		s(c, m)
	})
}

// settle waits for the handshake's third ACK: an MPTCP server that writes earlier stalls (docs/CONCENTRATOR.md, Inside).
func settle(c *net.TCPConn) {
	for range 5000 {
		if o, err := mptcp.Inspect(c); err != nil || o.Established {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func (h *home) listen(t *testing.T, ns *netns.NS, a netip.AddrPort, multipath bool) *net.TCPListener {
	t.Helper()
	var l *net.TCPListener
	err := ns.Do(func() (err error) {
		l, err = mptcp.Listen(context.Background(), a, mptcp.ListenOptions{MPTCP: multipath, FastOpenQueue: 64, NoCookie: true})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func (h *home) dial(t *testing.T, a netip.AddrPort) (*net.TCPConn, error) {
	t.Helper()
	var c *net.TCPConn
	err := h.lan.Do(func() (err error) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		c, err = mptcp.Dial(ctx, a, mptcp.DialOptions{PlainTCP: true})
		return err
	})
	if err == nil {
		c.SetDeadline(time.Now().Add(15 * time.Second))
		t.Cleanup(func() { c.Close() })
	}
	return c, err
}

// echo sends and wants the same back.
func (h *home) echo(t *testing.T, a netip.AddrPort, n int) {
	t.Helper()
	c, err := h.dial(t, a)
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n)}).Read(want)
	go func() {
		c.Write(want)
		c.CloseWrite()
	}()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%v: %d of %d octets, %v", a, len(got), n, err)
	}
}

// many holds n connections open at once, then checks every octet of each, and prints what an idle one costs.
func (h *home) many(t *testing.T, a netip.AddrPort, n int) {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err == nil && lim.Max < uint64(3*n) {
		netns.Missing(t, fmt.Sprintf("needs %d descriptors, the limit is %d", 3*n, lim.Max))
	}
	before := h.tell(t, order{})
	cs := make([]*net.TCPConn, n)
	for i := range cs {
		c, err := h.dial(t, a)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		cs[i] = c
	}
	until(t, "all established", func() bool { return h.tell(t, order{}).Stats.Established >= n })
	p := h.tell(t, order{})
	per := (int64(p.Alloc) - int64(before.Alloc)) / int64(n)
	t.Logf("an idle connection costs %d octets of heap; %d established", per, p.Stats.Established)
	if per > 4096 {
		t.Errorf("an idle connection costs %d octets of heap", per)
	}
	var all sync.WaitGroup
	for i, c := range cs {
		all.Go(func() {
			defer c.Close()
			c.SetDeadline(time.Now().Add(60 * time.Second)) // from now on: on a slow machine it has taken longer to open all
			want := make([]byte, 3000)
			rand.NewChaCha8([32]byte{byte(i), byte(i >> 8)}).Read(want)
			c.Write(want)
			c.CloseWrite()
			if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, want) {
				t.Errorf("connection %d: %d octets, %v", i, len(got), err)
			}
		})
	}
	await.All(t, "the connections", &all)
	until(t, "all ended", func() bool { return h.tell(t, order{}).Stats.Sessions == 0 })
}
