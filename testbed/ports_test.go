// SPDX-License-Identifier: Apache-2.0

package testbed_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"spillway/testbed/world"
)

// TestAPortOfARelayedConnectionServesAfterAStop: a host's connection was relayed, and the daemon is stopped. The next one between the same ports is
// forwarded, and translated as any other.
func TestAPortOfARelayedConnectionServesAfterAStop(t *testing.T) {
	w := ready(t, world.Config{Links: world.Two()})
	if err := w.LAN.Sysctl("net.ipv4.tcp_tw_reuse", "1"); err != nil {
		t.Fatal(err)
	}
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{Port: 40123}, Timeout: 10 * time.Second, Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
	}}
	fetch := func() time.Duration {
		t.Helper()
		begin := time.Now()
		if err := w.LAN.Do(func() error {
			c, err := dialer.DialContext(context.Background(), "tcp4", world.To("4"))
			if err != nil {
				return err
			}
			defer c.Close() // first, so that conntrack does not take the next one for a connection opened anew
			fmt.Fprintf(c, "keep 1000 1 0\n")
			_, err = io.ReadFull(c, make([]byte, 1000))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return time.Since(begin)
	}
	fetch()
	if err := w.Router.Stop(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1100 * time.Millisecond) // until the host may take the port again
	if took := fetch(); took > 900*time.Millisecond {
		t.Errorf("it took %v: its first SYN was lost", took)
	}
}
