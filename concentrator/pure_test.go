// SPDX-License-Identifier: Apache-2.0

package concentrator

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"spillway/convert"
	"spillway/mptcp"
)

func TestDestinations(t *testing.T) {
	d := &destinations{allow: prefixes("10.1.0.0/16"), deny: prefixes("203.0.113.0/24", "10.1.2.0/24")}
	for a, want := range map[string]verdict{
		"192.0.2.1": open, "2001:db8::1": open, "8.8.8.8": open, "64:ff9b::808:808": open,
		"10.1.0.1": open, "10.1.2.3": closed, "10.2.0.1": closed, "203.0.113.1": closed,
		"192.168.1.1": closed, "172.16.0.1": closed, "172.32.0.1": open, "100.64.0.1": closed, "169.254.169.254": closed,
		"fe80::1": closed, "fd00:ec2::254": closed, "fec0::1": closed, "0.1.2.3": closed, "168.63.129.16": closed,
		"64:ff9b::a9fe:a9fe": closed, "2002:a00:1::": closed, "64:ff9b::7f00:1": malformed, "::7f00:1": closed,
		"127.0.0.1": malformed, "::1": malformed, "0.0.0.0": malformed, "::": malformed, "224.0.0.1": malformed,
		"255.255.255.255": malformed, "ff02::1": malformed,
		"::ffff:10.2.0.1": closed, "::ffff:169.254.169.254": closed, "::ffff:127.0.0.1": malformed, "::ffff:0:10.2.0.1": closed, "::ffff:8.8.8.8": open,
		"2002:a9fe:a9fe::1": closed, "2002:7f00:1::": malformed, "64:ff9b:1::a02:1": closed, "64:ff9b::a01:1": open, "240.0.0.1": closed,
	} {
		if got := d.judge(netip.MustParseAddr(a)); got != want {
			t.Errorf("%s: %v, want %v", a, got, want)
		}
	}
	barred := &destinations{allow: prefixes("0.0.0.0/0", "::/0"), deny: prefixes("203.0.113.0/24")}
	for a, want := range map[string]verdict{"203.0.113.1": closed, "64:ff9b::cb00:7101": closed, "2002:cb00:7101::1": closed, "64:ff9b::a00:1": open} {
		if got := barred.judge(netip.MustParseAddr(a)); got != want {
			t.Errorf("everything allowed but one prefix, %s: %v, want %v", a, got, want)
		}
	}
	all := &destinations{allow: prefixes("0.0.0.0/0", "::/0")}
	for a, want := range map[string]verdict{"127.0.0.1": open, "10.0.0.1": open, "::1": open, "224.0.0.1": malformed, "0.0.0.0": malformed} {
		if got := all.judge(netip.MustParseAddr(a)); got != want {
			t.Errorf("everything allowed, %s: %v, want %v", a, got, want)
		}
	}
}

func TestOwnAddressesAreClosed(t *testing.T) {
	own := netip.MustParseAddr("198.51.100.7")
	d := &destinations{}
	d.own.addrs, d.own.read = map[netip.Addr]bool{own: true}, time.Now()
	if got := d.judge(own); got != closed {
		t.Errorf("own address: %v", got)
	}
	if got := d.judge(own.Next()); got != open {
		t.Errorf("the neighbour: %v", got)
	}
	if all, err := interfaceAddrs(); err != nil || !all[netip.MustParseAddr("127.0.0.1")] {
		t.Errorf("loopback isn't among the host's addresses: %v", err)
	}
}

// A host that is out of descriptors, as clients can make it, can't list its addresses. Those that it had stay closed.
func TestOwnAddressesStayClosedWhileTheyCannotBeListed(t *testing.T) {
	var usual unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &usual); err != nil {
		t.Fatal(err)
	}
	own := netip.MustParseAddr("198.51.100.7")
	d := &destinations{}
	d.own.addrs, d.own.read = map[netip.Addr]bool{own: true}, time.Now().Add(-time.Hour)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: usual.Max}); err != nil {
		t.Fatal(err)
	}
	got := d.judge(own)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &usual); err != nil {
		t.Fatal(err)
	}
	if got != closed {
		t.Errorf("own address: %v", got)
	}
	if d.judge(own); d.own.addrs[own] {
		t.Error("an address that is no longer the host's stays closed for ever")
	}
}

func TestCookiesRotateAndBelongToOneClient(t *testing.T) {
	j := jar{secret: []byte("0123456789abcdef"), life: time.Hour}
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	now := time.Unix(1_800_000_000, 0)
	cookie := j.make(a, now)
	for age, want := range map[time.Duration]bool{0: true, time.Hour: true, 2 * time.Hour: false, -2 * time.Hour: false} {
		if got := j.good(cookie, a, now.Add(age)); got != want {
			t.Errorf("after %v: good = %v", age, got)
		}
	}
	if j.good(cookie, b, now) {
		t.Error("another client's cookie is good")
	}
	if j.good(cookie[:8], a, now) || j.good(nil, a, now) {
		t.Error("a short cookie is good")
	}
	if other := (jar{secret: []byte("another secret!!"), life: time.Hour}); other.good(cookie, a, now) {
		t.Error("a cookie of another secret is good")
	}
	if bytes.Equal(cookie, j.make(a, now.Add(time.Hour))) {
		t.Error("the cookie doesn't change with time")
	}
}

// The converter's clock is set a day back, 46 days forward and right again. A client's cookie is refused when it is of another time, and the client,
// asking without, is given one that is good then.
func TestCookiesUnderAChangedClock(t *testing.T) {
	s, err := New(Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, AllowClients: prefixes("192.0.2.0/24"),
		CookieSecret: []byte("0123456789abcdef")}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	client, begin := netip.MustParseAddr("192.0.2.1"), time.Unix(1_800_000_000, 0)
	ask := func(cookie []byte, now time.Time) *convert.Error {
		return s.judge(client, &convert.Message{Info: true, Cookie: cookie}, nil, now)
	}
	held := s.jar.make(client, begin)
	for _, days := range []int{-1, 46, -1, 0} {
		now := begin.Add(time.Duration(days) * 24 * time.Hour)
		if e := ask(held, now); (e == nil) != (days == 0) || e != nil && e.Code != convert.CodeNotAuthorized {
			t.Errorf("%d days: the cookie of before: %v", days, e)
		}
		e := ask(nil, now)
		if e == nil || e.Code != convert.CodeMissingCookie {
			t.Fatalf("%d days: no cookie: %v", days, e)
		}
		if e := ask(e.Cookie(), now); e != nil {
			t.Errorf("%d days: the cookie that was given: %v", days, e)
		}
	}
}

func TestClientKey(t *testing.T) {
	for _, c := range []struct {
		addr string
		bits int
		want string
	}{
		{"192.0.2.1", 64, "192.0.2.1"}, {"::ffff:192.0.2.1", 48, "192.0.2.1"},
		{"2001:db8:1:2:3:4:5:6", 64, "2001:db8:1:2::"}, {"2001:db8:1:2ff:3:4:5:6", 56, "2001:db8:1:200::"}, {"fe80::1%lo", 64, "fe80::"},
	} {
		if got := clientKey(netip.MustParseAddr(c.addr), c.bits); got != netip.MustParseAddr(c.want) {
			t.Errorf("%s, %d bits: %v, want %s", c.addr, c.bits, got, c.want)
		}
	}
}

func TestBucket(t *testing.T) {
	var b bucket
	now := time.Unix(0, 0)
	take := func() (n int) {
		for range 100 {
			if b.take(now, 10, 40) {
				n++
			}
		}
		return n
	}
	if got := take(); got != 40 {
		t.Errorf("burst of %d", got)
	}
	now = now.Add(time.Second)
	if got := take(); got != 10 {
		t.Errorf("%d after a second", got)
	}
	now = now.Add(-time.Hour) // a clock set back gives nothing and takes nothing for long
	take()
	now = now.Add(time.Hour + time.Second)
	if got := take(); got < 10 || got > 40 {
		t.Errorf("%d after the clock was set", got)
	}
}

func TestClientsAreForgotten(t *testing.T) {
	c := clients{maxSessions: 1, maxPending: 1, errorsASec: 1, all: map[netip.Addr]*client{}}
	a := netip.MustParseAddr("192.0.2.1")
	if !c.enter(a) || c.enter(a) {
		t.Error("the limit of one doesn't hold")
	}
	c.forget(time.Now().Add(time.Hour))
	if len(c.all) != 1 {
		t.Error("a client with a session is forgotten")
	}
	c.connected(a)
	c.leave(a, false)
	c.forget(time.Now())
	if len(c.all) != 1 {
		t.Error("a client is forgotten at once")
	}
	c.mayAnswer(netip.MustParseAddr("192.0.2.2"), time.Now())
	c.forget(time.Now().Add(2 * time.Minute))
	if len(c.all) != 0 {
		t.Errorf("%d clients stay for ever", len(c.all))
	}
}

func TestNobodyTakesTheLastSeats(t *testing.T) {
	for _, tt := range []struct{ greedy, each, free int }{{1, 16000, 4000}, {2, 8889, 2222}, {10, 1952, 487}, {1000, 20, 4}} {
		c := clients{seats: 20000, all: map[netip.Addr]*client{}}
		client := func(k int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(k >> 8), byte(k)}) }
		for got := true; got; { // one after the other, as long as anybody gets one
			got = false
			for k := range tt.greedy {
				got = c.seat(client(k)) || got
			}
		}
		if each, free := c.all[client(0)].seated, c.seats-c.seated; each != tt.each || free != tt.free {
			t.Errorf("%d greedy clients: %d each, %d free; want %d and %d", tt.greedy, each, free, tt.each, tt.free)
		}
		t.Logf("%d greedy clients: %d each, %d free", tt.greedy, c.all[client(0)].seated, c.seats-c.seated)
	}
}

func TestHandshakeFollowsTheLine(t *testing.T) {
	c := clients{all: map[netip.Addr]*client{}}
	a := netip.MustParseAddr("192.0.2.1")
	c.sawHandshake(a, 80*time.Millisecond)
	c.sawHandshake(a, 3*time.Second) // a lost ACK
	if got := c.usualHandshake(a); got != 70*time.Millisecond {
		t.Errorf("usual %v", got)
	}
	for range 40 { // the line is fast now: each wait takes as long as it is told to
		c.sawHandshake(a, max(c.usualHandshake(a), 10*time.Millisecond))
	}
	if got := c.usualHandshake(a); got > 10*time.Millisecond {
		t.Errorf("usual %v after the line got faster", got)
	}
}

func TestSynAckOptions(t *testing.T) {
	b := synAckOptions(optTimestamps|optSACK|optWScale, 1448, true)
	list, err := convert.Options(b)
	if err != nil || len(b)%4 != 0 || !convert.MPTCPCapable(b) {
		t.Errorf("%x: %v, %v", b, list, err)
	}
	if got := len(list); got != 5 || list[0].Value[0] != 1460>>8 || list[0].Value[1] != 1460&0xff {
		t.Errorf("options %v", list)
	}
	if b := synAckOptions(0, 536, false); !bytes.Equal(b, []byte{2, 4, 2, 24}) {
		t.Errorf("bare options %x", b)
	}
}

func TestSettings(t *testing.T) {
	for have, want := range map[string]string{"0": "2", "1": "3", "2": "", "3": "", "0x601": "1539", "1537": "1539", "": "3"} {
		if got := fastOpenServer(have); got != want {
			t.Errorf("tcp_fastopen %q: %q, want %q", have, got, want)
		}
	}
	for have, want := range map[string]string{
		"4096\t16384\t4194304": "", "4096 16384 8388608": "", "4096\t16384\t212992": "4096 16384 4194304", "": "", "1 2 x": "",
	} {
		if got := largerWmem(have); got != want {
			t.Errorf("tcp_wmem %q: %q, want %q", have, got, want)
		}
	}
	for have, want := range map[string]string{"15": "255", "255": "", "": "", "x": ""} {
		if got := atLeast(255)(have); got != want {
			t.Errorf("tcp_retries2 %q: %q, want %q", have, got, want)
		}
	}
	for have, want := range map[string]string{"120000": "3000", "3000": "", "1000": "", "": ""} {
		if got := atMost(mptcp.RTOMax)(have); got != want {
			t.Errorf("tcp_rto_max_ms %q: %q, want %q", have, got, want)
		}
	}
	for have, want := range map[string]string{"212992": "4194304", "4194304": "", "16777216": "", "": ""} {
		if got := atLeast(wmemMax)(have); got != want {
			t.Errorf("wmem_max %q: %q, want %q", have, got, want)
		}
	}
}

func TestWrongConfigurationsAreNamed(t *testing.T) {
	good := func() Config {
		return Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("[::]:5124")}, AllowClients: prefixes("::/0")}
	}
	if _, err := New(good(), nil); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"address":       func(c *Config) { c.Listen = nil },
		"nobody":        func(c *Config) { c.AllowClients = nil },
		"cookie secret": func(c *Config) { c.CookieSecret = []byte("short") },
		"exclude":       func(c *Config) { c.CookieSecret, c.Token = make([]byte, 16), []byte("x") },
		"at least 1":    func(c *Config) { c.MaxSessions = -1 },
		"retry after":   func(c *Config) { c.RetryAfter = 300 * time.Second },
		"idle timeout":  func(c *Config) { c.IdleTimeout = time.Hour },
		"cookie life":   func(c *Config) { c.CookieLife = time.Second },
		"negative":      func(c *Config) { c.DialTimeout = -1 },
		"token":         func(c *Config) { c.Token = make([]byte, 300) },
	} {
		c := good()
		change(&c)
		if _, err := New(c, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestMetricsText(t *testing.T) {
	var b bytes.Buffer
	s, err := New(Config{Listen: []netip.AddrPort{{}}, AllowClients: prefixes("::/0")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.stats.countError(convert.CodeUnreachable)
	s.stats.sessions.Add(2)
	s.Stats().WriteMetrics(&b)
	for _, want := range []string{"spillway_concentrator_sessions_total 2\n", "spillway_concentrator_errors_total{code=\"97\"} 1\n",
		"spillway_concentrator_errors_total{code=\"0\"} 0\n", "# TYPE spillway_concentrator_connections gauge\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
}
