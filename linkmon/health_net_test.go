// SPDX-License-Identifier: Apache-2.0

package linkmon

import (
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"spillway/testbed/netns"
)

// sample reads a real connection as main will.
func sample(t *testing.T, c *net.TCPConn) PathSample {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var i *unix.TCPInfo
	if e := raw.Control(func(fd uintptr) { i, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); e != nil || err != nil {
		t.Fatal(e, err)
	}
	us := func(n uint32) time.Duration { return time.Duration(n) * time.Microsecond }
	return PathSample{Key: 1, Unacked: i.Unacked, NotSent: i.Notsent_bytes, LastAck: time.Duration(i.Last_ack_recv) * time.Millisecond,
		RTT: us(i.Rtt), MinRTT: us(i.Min_rtt), RTO: us(i.Rto), RcvRTT: us(i.Rcv_rtt), Timeouts: max(i.Backoff, i.Retransmits), Lost: i.Lost,
		BytesAcked: i.Bytes_acked, BytesReceived: i.Bytes_received, BytesSent: i.Bytes_sent, BytesRetrans: i.Bytes_retrans}
}

// The rules of health_test.go against the kernel's own figures: a connection that sends, rests, meets a silent
// blackhole (the far end gets another hardware address, so that it drops all that comes) and is found again.
func TestHealthOfARealConnection(t *testing.T) {
	ns, far := netns.New(t, "cpe"), netns.New(t, "isp")
	if err := netns.Veth(ns, "wan", far, "isp"); err != nil {
		t.Fatal(err)
	}
	const mac, otherMAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
	script(t, far, "link set isp address "+mac+"\naddr add 192.0.2.1/24 dev isp\n")
	script(t, ns, "addr add 192.0.2.2/24 dev wan\nneigh replace 192.0.2.1 lladdr "+mac+" dev wan nud permanent\n")

	var l net.Listener
	if err := far.Do(func() (err error) { l, err = net.Listen("tcp4", "192.0.2.1:0"); return err }); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			io.Copy(io.Discard, c)
			c.Close()
		}
	}()
	var c net.Conn
	if err := ns.Do(func() (err error) { c, err = net.Dial("tcp4", l.Addr().String()); return err }); err != nil {
		t.Fatal(err)
	}
	defer c.Close()

	var h Health
	link := Link{Name: "dsl", Index: 3, Usable: true, Carrier: true}
	// follow steps the health until ok or the time is over; it writes at each step if send.
	follow := func(d time.Duration, send bool, ok func(Verdict) bool) (v Verdict) {
		for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if send {
				c.SetWriteDeadline(time.Now().Add(time.Millisecond)) // a full buffer is no matter
				c.Write(make([]byte, 20_000))
			}
			if v = h.Step(time.Now(), []PathSample{sample(t, c.(*net.TCPConn))}, link); ok(v) {
				break
			}
		}
		return v
	}
	dead := func(v Verdict) bool { return v.Dead }
	if v := follow(time.Second, true, dead); v.Dead || v.MinRTT == 0 {
		t.Fatalf("while it sends: %+v", v)
	}
	if v := follow(time.Second, false, dead); v.Dead {
		t.Fatalf("while it rests: %s", v.Reason)
	}
	script(t, far, "link set isp address "+otherMAC+"\n")
	v := follow(20*time.Second, true, dead)
	if !v.Dead {
		t.Fatalf("a blackhole is not found: %+v", v)
	}
	t.Logf("blackhole: %s", v.Reason)
	script(t, far, "link set isp address "+mac+"\n")
	if v := follow(60*time.Second, false, func(v Verdict) bool { return !v.Dead }); v.Dead {
		t.Errorf("the kernel's retransmission was acknowledged, yet the link stays dead: %s", v.Reason)
	}
}
