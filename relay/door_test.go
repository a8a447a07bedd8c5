// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"spillway/convert"
	"spillway/journal"
	"spillway/mptcp"
	"spillway/relay/engine"
	"spillway/testbed/accept"
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

var (
	converterAddr  = netip.MustParseAddrPort("10.9.9.9:5124")
	converterAddr6 = netip.MustParseAddrPort("[fd09::9]:5124")
)

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

// settle waits for the handshake's third ACK: an MPTCP server that writes earlier stalls (facts/kernel.md 2).
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

// TestHome plays a household: one topology, several stories, because namespaces are slow to make.
func TestHome(t *testing.T) {
	home := t
	h := newHome(t)
	asked := make(chan netip.AddrPort, 100)
	asking := func(c *net.TCPConn, m *convert.Message) {
		if m.Connect != nil {
			select {
			case asked <- m.Connect.Addr:
			default: // nobody counts that many
			}
		}
		accepted(c, m)
	}
	f := h.converter(t, converterAddr, asking)
	cfg := Config{Upstreams: []Upstream{{Addrs: []netip.AddrPort{converterAddr, converterAddr6}}},
		RuleMask: 0xf0, Rules: []Rule{{Name: "no", Mark: 0x10, Action: Block}, {Name: "first", Mark: 0x20, Action: Primary}}}
	h.relay(t, cfg)
	web, web6 := netip.MustParseAddrPort("10.8.8.8:80"), netip.MustParseAddrPort("[fd08::8]:80")

	t.Run("IPv4 in the SYN, IPv6 destination", func(t *testing.T) {
		for _, a := range []netip.AddrPort{web, web6} {
			h.echo(t, a, 1<<20)
			if got := await.Value(t, "the Connect", asked); got != a {
				t.Fatalf("asked for %v, want %v", got, a)
			}
		}
		s := h.tell(t, order{}).Stats
		if s.FastOpen.Tried != 2 || s.Relayed != 2 {
			t.Fatalf("%+v", s)
		}
		t.Logf("fast open: %+v", s.FastOpen)
	})
	t.Run("flow is visible", func(t *testing.T) {
		c, err := h.dial(t, web)
		if err != nil {
			t.Fatal(err)
		}
		c.Write([]byte("hello"))
		io.ReadFull(c, make([]byte, 5))
		await.Value(t, "the Connect", asked)
		var p report
		until(t, "one flow", func() bool { // which is counted a moment after its octets went
			p = h.tell(t, order{})
			return len(p.Flows) == 1 && p.Flows[0].Down == 5
		})
		fl := p.Flows[0]
		if fl.Dst != web || fl.Link != "dsl" || fl.Up != 5 || fl.Down != 5 || fl.MPTCP && fl.Token == 0 {
			t.Fatalf("%+v", fl)
		}
		t.Logf("%+v", fl)
	})
	t.Run("rules", func(t *testing.T) {
		c, err := h.dial(t, netip.AddrPortFrom(web.Addr(), 666))
		if err == nil {
			isReset(t, c)
		}
		for _, a := range []netip.Addr{web.Addr(), web6.Addr()} {
			c, err := h.dial(t, netip.AddrPortFrom(a, 7005))
			if err != nil {
				t.Fatal(err)
			}
			c.Write([]byte("hello"))
			io.ReadFull(c, make([]byte, 5))
			await.Value(t, "the Connect", asked)
			taken := func(f Flow) bool { return f.Dst.Addr() == a && f.Rule == "first" && f.Action == "primary" && !f.MPTCP }
			if p := h.tell(t, order{}); !slices.ContainsFunc(p.Flows, taken) {
				t.Fatalf("%+v", p.Flows)
			}
		}
		if s := h.tell(t, order{}).Stats; s.Blocked != 1 {
			t.Fatalf("%+v", s)
		}
	})
	t.Run("door's own address", func(t *testing.T) {
		p := h.tell(t, order{})
		var c *net.TCPConn
		err := h.cpe.Do(func() (err error) {
			c, err = mptcp.Dial(context.Background(), netip.AddrPortFrom(doorAddr[0], p.Port4), mptcp.DialOptions{PlainTCP: true})
			return err
		})
		if err == nil { // else the reset came as the connect did
			defer c.Close()
			c.SetDeadline(time.Now().Add(10 * time.Second))
			isReset(t, c)
		}
		if n := h.tell(t, order{}).Stats.Refused; n != 1 {
			t.Fatalf("counted %d", n)
		}
		if len(asked) != 0 {
			t.Fatal("an open proxy")
		}
	})
	t.Run("converter refused: native within seconds, then back", func(t *testing.T) {
		native := h.listen(home, h.hag, netip.MustParseAddrPort("10.8.8.8:8080"), false)
		accept.Each(native, func(c *net.TCPConn) { io.Copy(c, c) })
		f.Close()
		if c, err := h.dial(t, native8080); err == nil {
			c.CloseWrite()
			io.ReadAll(c) // the one that finds out
		}
		until(t, "closed door", func() bool { return !h.tell(t, order{}).Stats.DoorOpen })
		h.echo(t, native8080, 5000)
		h.converter(home, converterAddr, asking)
		until(t, "open door", func() bool { return h.tell(t, order{}).Stats.DoorOpen })
		h.echo(t, native8080, 5000)
	})
	t.Run("full: native, then back", func(t *testing.T) {
		few := cfg
		few.MaxSessions, few.MaxPerHost = 8, 100
		h.tell(t, order{Config: &few})
		var cs []*net.TCPConn
		for range 8 {
			c, err := h.dial(t, web)
			if err != nil {
				t.Fatal(err)
			}
			cs = append(cs, c)
		}
		until(t, "closed door", func() bool { s := h.tell(t, order{}).Stats; return s.Full && !s.DoorOpen })
		h.echo(t, native8080, 5000)
		for _, c := range cs {
			c.Write([]byte("still here"))
			b := make([]byte, 10)
			if _, err := io.ReadFull(c, b); err != nil {
				t.Fatal(err)
			}
			c.Close()
		}
		until(t, "open door", func() bool { s := h.tell(t, order{}).Stats; return !s.Full && s.DoorOpen })
		h.tell(t, order{Config: &cfg})
	})
	t.Run("nobody is reset when the door closes", func(t *testing.T) {
		var served atomic.Int64
		var all sync.WaitGroup
		stop := make(chan struct{})
		for range 16 {
			all.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						h.echo(t, native8080, 2000)
						served.Add(1)
					}
				}
			})
		}
		for round := range int64(4) {
			until(t, "connections", func() bool { return served.Load() >= 50*(round+1) })
			h.tell(t, order{Close: true})
			h.tell(t, order{Open: true})
		}
		close(stop)
		await.All(t, "the connections", &all)
	})
	t.Run("silent first link: the second serves", func(t *testing.T) {
		before := h.tell(t, order{}).Stats.Retried
		drop := h.hag.Command("nft", "add table inet b; add chain inet b in { type filter hook prerouting priority 0; }; add rule inet b in iifname dsl drop")
		if b, err := drop.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, b)
		}
		at := time.Now()
		h.echo(t, web, 5000)
		t.Log("served after", time.Since(at))
		s := h.tell(t, order{}).Stats
		if s.Retried <= before {
			t.Fatalf("%+v", s)
		}
		racing := cfg
		racing.Race = "always"
		h.tell(t, order{Config: &racing})
		for len(asked) > 0 {
			<-asked
		}
		h.echo(t, web, 5000)
		if after := h.tell(t, order{Config: &cfg}).Stats; after.Retried != s.Retried || len(asked) != 1 {
			t.Fatalf("racing: %d Connects, %+v", len(asked), after)
		}
		if err := h.hag.Run("nft", "delete table inet b"); err != nil {
			t.Fatal(err)
		}
		if u := h.tell(t, order{}).Upstreams[0]; !u.Up {
			t.Fatalf("the upstream was blamed: %+v", u)
		}
	})
	t.Run("2,000 connections at once", func(t *testing.T) { h.many(t, web, 2000) })
}

// A hidden listener lets those in whose handshake has begun: TCP_DEFER_ACCEPT keeps one from being complete for the server until
// the client says something.
func TestNoSYNGetsInButHandshakesEnd(t *testing.T) {
	e, err := engine.New(1)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_TCP, unix.TCP_DEFER_ACCEPT, 30),
		unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 8))
	if err != nil {
		t.Fatal(err)
	}
	to := net.TCPAddrFromAddrPort(engine.LocalAddr(fd))
	came := make(chan engine.Arrival, 8)
	l, err := e.Listen(fd, func(a engine.Arrival) { came <- a })
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	first, err := net.DialTCP("tcp", nil, to)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	l.Control(func(fd int) { err = hide(fd, true) })
	if err != nil {
		t.Fatal(err)
	}
	if c, err := net.DialTimeout("tcp", to.String(), 200*time.Millisecond); err == nil {
		c.Close()
		t.Error("a SYN got in")
	}
	hears := func(from *net.TCPConn, word string) {
		t.Helper()
		from.Write([]byte(word))
		var c *net.TCPConn
		select {
		case a := <-came:
			var err error
			if c, err = engine.ConnOf(a.FD); err != nil {
				t.Fatalf("%q: %v", word, err)
			}
		case <-time.After(15 * time.Second):
			t.Fatalf("%q: nobody came", word)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(15 * time.Second))
		got := make([]byte, len(word))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != word {
			t.Errorf("%q, want %q: %v", got, word, err)
		}
	}
	hears(first, "I had begun")
	r := &Relay{}
	r.door.open, r.door.hidden, r.door.listeners = true, true, [2]*engine.Listener{l}
	r.show()
	second, err := net.DialTCP("tcp", nil, to)
	if err != nil {
		t.Fatalf("after it is shown again: %v", err)
	}
	defer second.Close()
	hears(second, "I am new")
	// A successor's sockets are never touched.
	r.door.shared = true
	r.hide()
	third, err := net.DialTCP("tcp", nil, to)
	if err != nil {
		t.Fatalf("a successor's listener is hidden: %v", err)
	}
	defer third.Close()
	hears(third, "I am the successor's")
}

var native8080 = netip.MustParseAddrPort("10.8.8.8:8080")

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
