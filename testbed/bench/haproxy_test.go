// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"spillway/testbed/netns"
)

// header is the PROXY protocol's, version 2, of a TCP connection by IPv4 (haproxy's doc/proxy-protocol.txt, section 2.2).
func header(from, to netip.AddrPort) []byte {
	b := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), 0x21, 0x11, 0, 12)
	b = append(b, from.Addr().AsSlice()...)
	b = append(b, to.Addr().AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, from.Port())
	return binary.BigEndian.AppendUint16(b, to.Port())
}

// greet listens at an address and says its own to everybody.
func greet(t *testing.T, at string) string {
	l, err := net.Listen("tcp4", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(c, c.LocalAddr())
			c.Close()
		}
	}()
	return l.Addr().String()
}

// The far half of the pair goes to the address and the port that the client asked for.
func TestHAProxyPairGoesWhereAsked(t *testing.T) {
	if testing.Short() {
		t.Skip("needs haproxy, which make net installs")
	}
	program, err := exec.LookPath("haproxy")
	if err != nil {
		netns.Missing(t, "needs haproxy (Debian package haproxy)")
	}
	free, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listen := free.Addr().String()
	free.Close()
	file := filepath.Join(t.TempDir(), "far.cfg")
	if err := os.WriteFile(file, []byte(haproxyFar(10, listen)), 0o644); err != nil {
		t.Fatal(err)
	}
	far := exec.Command(program, "-db", "-f", file)
	var said bytes.Buffer
	far.Stdout, far.Stderr = &said, &said
	if err := far.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Process.Kill(); far.Wait() })
	if err := await("haproxy", 20*time.Second, func() bool {
		c, err := net.Dial("tcp4", listen)
		if err == nil {
			c.Close()
		}
		return err == nil
	}); err != nil {
		t.Fatal(err, said.String())
	}
	for _, at := range []string{"127.0.0.2:0", "127.0.0.3:0", "127.0.0.2:0"} {
		asked := greet(t, at)
		c, err := net.DialTimeout("tcp4", listen, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(20 * time.Second))
		c.Write(header(netip.MustParseAddrPort("192.168.1.2:33000"), netip.MustParseAddrPort(asked)))
		got, err := io.ReadAll(c)
		c.Close()
		if strings.TrimSpace(string(got)) != asked {
			t.Errorf("asked for %s and came to %q, %v", asked, got, err)
		}
	}
}

func TestHAProxySaysWhereOnlyInThePair(t *testing.T) {
	if one := haproxyNear(10, forwardPort, false); strings.Contains(one, "send-proxy") {
		t.Error(one)
	}
	if pair := haproxyNear(10, pairPort, true); !strings.Contains(pair, fmt.Sprintf("server hag %s:%d send-proxy-v2\n", hagAddr, pairPort)) {
		t.Error(pair)
	}
}

// What goes to one place whatever was asked is no peer: it would be the best of them.
func TestBestPeerCouldServeALAN(t *testing.T) {
	r := report()
	r.Entry(Spillway).Figures["unpaced8.mbit"] = []float64{1000}
	r.Entry(HAPair).Figures["unpaced8.mbit"] = []float64{500}
	r.Entry(HAOne).Figures["unpaced8.mbit"] = []float64{2000}
	if v, ok := bestPeer("unpaced8.mbit")(r); !ok || v != 2 {
		t.Errorf("%v, %v; want 2 x the pair's", v, ok)
	}
	if v, ok := ratio("unpaced8.mbit", HAOne)(r); !ok || v != 0.5 {
		t.Errorf("%v, %v; want 0.5 x the limit's", v, ok)
	}
}
