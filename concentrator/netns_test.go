// SPDX-License-Identifier: Apache-2.0

package concentrator

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"spillway/convert"
	"spillway/mptcp"
	"spillway/testbed/accept"
	"spillway/testbed/netns"
)

// childMode makes the test binary a converter, so that it can live in a namespace: "wait", or "nowait" with the kernel bug
// of established.go left open.
const childMode = "SPILLWAY_TEST_CONVERTER"

func TestMain(m *testing.M) {
	if mode := os.Getenv(childMode); mode != "" {
		child(mode)
		return
	}
	os.Exit(m.Run())
}

// child serves on port 5124 and prints its counters for each line it reads, until its input ends.
func child(mode string) {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	Prepare(log)
	everybody := prefixes("0.0.0.0/0", "::/0")
	s, err := New(Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("[::]:5124")}, AllowClients: everybody, AllowDestinations: everybody}, log)
	if err == nil {
		s.waits = mode == "wait"
		err = s.Open(context.Background())
	}
	if err != nil {
		log.Error("child", "err", err)
		os.Exit(1)
	}
	go s.Run(context.Background())
	fmt.Println("ready")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		s.Stats().WriteMetrics(os.Stdout)
		fmt.Println()
	}
}

// street is a client's namespace, the converter's, and a server's, in a row.
type street struct {
	t             *testing.T
	cli, hag, srv *netns.NS
	in            io.Writer
	out           *bufio.Reader
	converter     *os.Process
}

func newStreet(t *testing.T, mode string) *street {
	st := &street{t: t, cli: netns.New(t, "cli"), hag: netns.New(t, "hag"), srv: netns.New(t, "srv")}
	for _, err := range []error{
		netns.Veth(st.cli, "tohag", st.hag, "tocli"), netns.Veth(st.hag, "tosrv", st.srv, "tohag"),
		st.cli.Script("addr add 10.1.0.1/24 dev tohag\naddr add fd01::1/64 dev tohag nodad\n"),
		st.hag.Script("addr add 10.1.0.2/24 dev tocli\naddr add fd01::2/64 dev tocli nodad\naddr add 10.2.0.1/24 dev tosrv\naddr add fd02::1/64 dev tosrv nodad\n"),
		st.srv.Script("addr add 10.2.0.2/24 dev tohag\naddr add fd02::2/64 dev tohag nodad\n"),
		st.hag.Sysctl("net.ipv4.tcp_fastopen", "1"), // the converter must put that right
		st.cli.Sysctl("net.ipv4.tcp_fastopen", "1"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	st.start(mode)
	return st
}

// start starts the converter and waits until it listens.
func (st *street) start(mode string) {
	cmd := st.hag.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childMode+"="+mode)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		st.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		st.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		st.t.Fatal(err)
	}
	st.t.Cleanup(func() { in.Close(); cmd.Wait() })
	st.in, st.out, st.converter = in, bufio.NewReader(out), cmd.Process
	if line, err := st.out.ReadString('\n'); line != "ready\n" {
		st.t.Fatalf("the converter said %q, %v", line, err)
	}
}

// counters asks the converter.
func (st *street) counters() map[string]string {
	st.t.Helper()
	fmt.Fprintln(st.in)
	all := map[string]string{}
	for {
		line, err := st.out.ReadString('\n')
		if err != nil {
			st.t.Fatal(err)
		}
		if line == "\n" {
			return all
		}
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name != "#" {
			all[strings.TrimPrefix(name, "spillway_concentrator_")] = value
		}
	}
}

// origin echoes in the server's namespace; accepted tells each connection.
func (st *street) origin(at string) (accepted chan struct{}) {
	accepted = make(chan struct{}, 256)
	err := st.srv.Do(func() error {
		l, err := net.Listen("tcp", at)
		if err != nil {
			return err
		}
		accept.Until(st.t, l, func(c *net.TCPConn) {
			accepted <- struct{}{}
			echo(c)
		})
		return nil
	})
	if err != nil {
		st.t.Fatal(err)
	}
	return accepted
}

// connect sends a Connect and some user data in the SYN.
func (st *street) connect(converter, server, data string) *net.TCPConn {
	st.t.Helper()
	var c *net.TCPConn
	err := st.cli.Do(func() (err error) {
		c, err = mptcp.Dial(context.Background(), netip.MustParseAddrPort(converter), mptcp.DialOptions{FastOpen: true})
		if err == nil {
			_, err = c.Write(append(to(st.t, netip.MustParseAddrPort(server)), data...))
		}
		return err
	})
	if err != nil {
		st.t.Fatal(err)
	}
	st.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

// needSYNData skips the test on kernels whose MPTCP listeners take no data in a SYN: those before Linux 6.2.
func needSYNData(t *testing.T) {
	t.Helper()
	netns.Require(t)
	if f := mptcp.Probe(); f.MPTCP && !f.FastOpenServer {
		t.Skip("needs MPTCP listeners that take data in the SYN (TCP_FASTOPEN on MPTCP sockets, Linux 6.2)")
	}
}

func TestSYNDataAndMPTCPAreKept(t *testing.T) {
	needSYNData(t)
	st := newStreet(t, "wait")
	for _, c := range []struct{ converter, server string }{
		{"10.1.0.2:5124", "10.2.0.2:80"}, {"[fd01::2]:5124", "[fd02::2]:80"}, {"[fd01::2]:5124", "10.2.0.2:81"}, {"10.1.0.2:5124", "[fd02::2]:81"},
	} {
		st.origin(c.server)
		conn := st.connect(c.converter, c.server, "data in the SYN")
		if m := answer(t, conn); m.Error != nil {
			t.Fatalf("%v: %v", c, m.Error)
		}
		buf := make([]byte, 15)
		if _, err := io.ReadFull(conn, buf); err != nil || string(buf) != "data in the SYN" {
			t.Errorf("%v: echoed %q, %v", c, buf, err)
		}
		if out, err := mptcp.Inspect(conn); err != nil || !out.MPTCP || !out.SYNDataAcked {
			t.Errorf("%v: outcome %+v, %v", c, out, err)
		}
	}
	got := st.counters()
	if got["syn_data_total"] != "4" || got["mptcp_total"] != "4" || got["sessions_total"] != "4" || got["plain_tcp_total"] != "0" {
		t.Errorf("counted %v", got)
	}
	st.wantKernelPrepared()
}

// wantKernelPrepared looks at what Prepare did.
func (st *street) wantKernelPrepared() {
	if out, err := st.hag.Output("cat", "/proc/sys/net/ipv4/tcp_fastopen"); strings.TrimSpace(out) != "3" {
		st.t.Errorf("tcp_fastopen is %q, %v", out, err)
	}
	if out, err := st.hag.Output("ip", "mptcp", "limits"); !strings.Contains(out, "subflows 8") || !strings.Contains(out, "add_addr_accepted 8") {
		st.t.Errorf("limits are %q, %v", out, err)
	}
}

// What a router on the way says about a server becomes the error's ICMP code. (Linux takes "prohibited" for "host unreachable" on IPv4.)
func TestICMPCodes(t *testing.T) {
	st := newStreet(t, "wait")
	for _, err := range []error{
		st.hag.Script("route add 203.0.113.0/24 via 10.2.0.2\nroute add 2001:db8::/32 via fd02::2\n"),
		st.srv.Script("route add unreachable 203.0.113.1\nroute add prohibit 203.0.113.2\nroute add prohibit 2001:db8::2/128\n"),
		st.srv.Sysctl("net.ipv4.ip_forward", "1"), st.srv.Sysctl("net.ipv6.conf.all.forwarding", "1"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for server, want := range map[string]uint8{"203.0.113.1:80": 1, "203.0.113.2:80": 1, "[2001:db8::2]:80": 1, "[3fff::1]:80": 0} {
		m := answer(t, st.connect("10.1.0.2:5124", server, ""))
		if m.Error == nil || m.Error.Code != convert.CodeUnreachable || m.Error.ICMPCode() != want {
			t.Errorf("%s: %+v, want ICMP code %d", server, m.Error, want)
		}
	}
	// A refusal through the fast-open listener, read before the end of the stream.
	conn := st.connect("10.1.0.2:5124", "10.2.0.2:9", "data")
	if m := answer(t, conn); m.Error == nil || m.Error.Code != convert.CodeConnectionReset {
		t.Errorf("refused: %+v", m.Error)
	}
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("after the error: %d, %v", n, err)
	}
}

// The kernel's error: what an MPTCP socket writes before its third ACK is never sent. The ACK is held back until the
// converter must have answered; the SYN+ACK's repetition then brings it.
func TestAnswerWaitsForTheThirdACK(t *testing.T) {
	needSYNData(t) // without it the third ACK brings what is answered
	if _, err := exec.LookPath("nft"); err != nil {
		netns.Missing(t, "needs nft (Debian package nftables)")
	}
	t.Run("wait", func(t *testing.T) {
		st := newStreet(t, "wait")
		conn := st.connectWithLateACK()
		if m := answer(t, conn); m.Error != nil {
			t.Error(m.Error)
		}
		buf := make([]byte, 4)
		if _, err := io.ReadFull(conn, buf); err != nil || string(buf) != "data" {
			t.Errorf("echoed %q, %v", buf, err)
		}
		if out, err := mptcp.Inspect(conn); err != nil || !out.MPTCP {
			t.Errorf("outcome %+v, %v", out, err)
		}
		if got := st.counters(); got["handshake_waits_total"] != "1" {
			t.Errorf("counted %v", got)
		}
	})
	t.Run("nowait", func(t *testing.T) {
		st := newStreet(t, "nowait")
		conn := st.connectWithLateACK()
		conn.SetReadDeadline(time.Now().Add(4 * time.Second))
		n, err := conn.Read(make([]byte, convert.HeaderLen))
		if n > 0 {
			t.Skip("this kernel sends what was written before the third ACK: the wait isn't needed on it")
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read %d, %v; the stall was expected", n, err)
		}
	})
}

// TestAnEndWaitsForTheAnswersOctets: a server ends right after its answer, and the line that it goes by is lost before any of it has arrived. The
// kernel takes no further subflow for a connection that has told its end; so it is told when the answer was acknowledged, and another line
// brings both.
func TestAnEndWaitsForTheAnswersOctets(t *testing.T) {
	if _, err := exec.LookPath("nft"); err != nil {
		netns.Missing(t, "needs nft (Debian package nftables)")
	}
	st := newStreet(t, "wait")
	st.second()
	const octets = 5000
	answer1, answered := make(chan struct{}), make(chan struct{})
	if err := st.srv.Do(func() error {
		l, err := net.Listen("tcp", "10.2.0.2:80")
		if err != nil {
			return err
		}
		accept.Until(t, l, func(c *net.TCPConn) {
			defer close(answered)
			defer c.Close()
			select {
			case <-answer1:
				io.ReadFull(c, make([]byte, len("request"))) // else the close would be a reset
				c.Write(make([]byte, octets))
			case <-time.After(patience):
			}
		})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	conn := st.connect("10.1.0.2:5124", "10.2.0.2:80", "request")
	if m := answer(t, conn); m.Error != nil {
		t.Fatal(m.Error)
	}
	st.filter(st.cli, "table inet lost { chain in { type filter hook input priority 0; iifname tohag drop; }; chain out { type filter hook output priority 0; oifname tohag drop; }; }")
	close(answer1)
	select {
	case <-answered:
	case <-time.After(patience):
		t.Fatal("the server was not asked")
	}
	time.Sleep(300 * time.Millisecond) // an end that doesn't wait is told by now
	if err := st.cli.Run("ip", "mptcp", "endpoint", "add", "10.3.0.1", "dev", "second", "subflow"); err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(3 * patience))
	if n, err := io.Copy(io.Discard, conn); err != nil || n != octets {
		t.Errorf("%d octets of %d came, and then %v", n, octets, err)
	}
}

// TestTheAnswerGoesByAnotherLine: the line that a connection began on is lost while a slow server keeps it waiting. It goes on by the other one.
func TestTheAnswerGoesByAnotherLine(t *testing.T) {
	if _, err := exec.LookPath("nft"); err != nil {
		netns.Missing(t, "needs nft (Debian package nftables)")
	}
	st := newStreet(t, "wait")
	st.second()
	st.origin("10.2.0.2:80")
	st.filter(st.srv, "table inet slow { chain in { type filter hook input priority 0; tcp dport 80 drop; }; }")
	conn := st.connect("10.1.0.2:5124", "10.2.0.2:80", "")
	if _, err := conn.Write([]byte("request")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond) // until that is acknowledged no subflow joins
	if err := st.cli.Run("ip", "mptcp", "endpoint", "add", "10.3.0.1", "dev", "second", "subflow"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a second subflow", func() bool {
		in, err := mptcp.ConnInfo(conn)
		return err == nil && in.ExtraSubflows == 1
	})
	if err := st.cli.Run("ip", "mptcp", "endpoint", "delete", "id", "0", "10.1.0.1"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	if err := st.srv.Run("nft", "delete", "table", "inet", "slow"); err != nil {
		t.Fatal(err)
	}
	if m := answer(t, conn); m.Error != nil {
		t.Fatal(m.Error)
	}
	buf := make([]byte, 7)
	if _, err := io.ReadFull(conn, buf); err != nil || string(buf) != "request" {
		t.Errorf("echoed %q, %v", buf, err)
	}
}

// second gives the client a second line to the converter.
func (st *street) second() {
	st.t.Helper()
	for _, err := range []error{
		netns.Veth(st.cli, "second", st.hag, "second"),
		st.cli.Script("addr add 10.3.0.1/24 dev second\nroute add 10.1.0.2 via 10.3.0.2 table 103\nrule add from 10.3.0.1 lookup 103\n"),
		st.hag.Script("addr add 10.3.0.2/24 dev second\n"),
		st.cli.Run("ip", "mptcp", "limits", "set", "subflows", "2"),
	} {
		if err != nil {
			st.t.Fatal(err)
		}
	}
}

// TestAKilledConvertersUploadIsReset: a server to which half of an upload has come sees a reset, and no end, when the converter's process is killed.
func TestAKilledConvertersUploadIsReset(t *testing.T) {
	st := newStreet(t, "wait")
	came, ended := make(chan struct{}), make(chan error, 1)
	if err := st.srv.Do(func() error {
		l, err := net.Listen("tcp", "10.2.0.2:80")
		if err != nil {
			return err
		}
		accept.Until(t, l, func(c *net.TCPConn) {
			c.SetDeadline(time.Now().Add(patience))
			_, err := io.ReadFull(c, make([]byte, 20_000))
			close(came)
			if err == nil {
				_, err = c.Read(make([]byte, 1))
			}
			ended <- err
		})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	conn := st.connect("10.1.0.2:5124", "10.2.0.2:80", "")
	if m := answer(t, conn); m.Error != nil {
		t.Fatal(m.Error)
	}
	if _, err := conn.Write(make([]byte, 20_000)); err != nil {
		t.Fatal(err)
	}
	select {
	case <-came:
	case <-time.After(patience):
		t.Fatal("the upload does not come")
	}
	if err := st.converter.Kill(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the server read %v, not a reset", err)
		}
	case <-time.After(patience):
		t.Error("the server hears of nothing")
	}
}

// filter has a namespace's kernel follow a ruleset.
func (st *street) filter(ns *netns.NS, rules string) {
	st.t.Helper()
	nft := ns.Command("nft", "-f", "-")
	nft.Stdin = strings.NewReader(rules)
	if out, err := nft.CombinedOutput(); err != nil {
		netns.Missing(st.t, fmt.Sprintf("nft can't filter in a namespace: %v: %s", err, out))
	}
}

// connectWithLateACK lets no ACK out of the client until the converter has its server, and a while longer.
func (st *street) connectWithLateACK() *net.TCPConn {
	st.t.Helper()
	st.filter(st.cli, "table inet late { chain out { type filter hook output priority 0; tcp dport 5124 tcp flags & (syn|ack) == ack drop; }; }")
	accepted := st.origin("10.2.0.2:80")
	conn := st.connect("10.1.0.2:5124", "10.2.0.2:80", "data")
	select {
	case <-accepted:
	case <-time.After(patience):
		st.t.Fatal("the converter does not connect")
	}
	time.Sleep(300 * time.Millisecond) // an answer that doesn't wait is written by now
	if err := st.cli.Run("nft", "delete", "table", "inet", "late"); err != nil {
		st.t.Fatal(err)
	}
	return conn
}
