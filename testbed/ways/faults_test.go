// SPDX-License-Identifier: Apache-2.0

package ways

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"spillway/convert"
	"spillway/mptcp"
	"spillway/testbed/accept"
	"spillway/testbed/world"
)

// faulty is what a concentrator may do wrong, to every connection alike. TestConcentratorsFail has one that says nothing.
var faulty = []struct {
	name  string
	serve func(c *net.TCPConn) // nil: nobody listens
	drop  bool                 // packets to it vanish
}{
	{name: "refused"},
	{name: "blackholed", drop: true},
	{name: "resetting", serve: func(c *net.TCPConn) { c.SetLinger(0) }},
	{name: "closing", serve: func(c *net.TCPConn) {}},
	{name: "garbage", serve: func(c *net.TCPConn) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }},
	{name: "half a message", serve: func(c *net.TCPConn) {
		c.Write([]byte{1, 9, 0x22, 0x63, 30, 1})
		io.Copy(io.Discard, c)
	}},
	{name: "Error 64", serve: func(c *net.TCPConn) {
		b, _ := (&convert.Message{Error: &convert.Error{Code: convert.CodeResourceExceeded, Value: []byte{60}}}).Append(nil)
		c.Write(b)
		c.CloseWrite()
		io.Copy(io.Discard, c)
	}},
}

// TestFaultyConcentrators points the router at a concentrator with a fault that nobody knows of yet, and takes the time
// until a LAN host's connection works, natively.
func TestFaultyConcentrators(t *testing.T) {
	h, must := inService(t)
	for i, f := range faulty {
		t.Run(f.name, func(t *testing.T) {
			port := 6100 + i
			if f.serve != nil {
				must(h.faulty(t, port, f.serve))
			}
			if f.drop {
				must(h.HAG.Run("nft", fmt.Sprintf("table inet fault { chain in { type filter hook input priority 0; tcp dport %d drop; }; }", port)))
			}
			u := Upstream{Name: fmt.Sprintf("fault-%d", i), Keys: keys("convert", port)}
			must(h.Router.Reload(u.TOML(h)))
			must(world.WaitFor("the configuration", time.Minute, func() bool {
				states, err := h.Concentrators()
				return err == nil && states[u.Name] != ""
			}))
			began := time.Now()
			works := make(chan struct{}, 1000)
			stop := make(chan struct{})
			go func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(200 * time.Millisecond):
						go func() {
							if talk, err := h.Dial(Server("4", 9000), 0); err == nil {
								talk.Close()
								works <- struct{}{}
							}
						}()
					}
				}
			}()
			defer close(stop)
			select {
			case <-works:
				t.Logf("works after %v (aim 3 s)", time.Since(began).Round(10*time.Millisecond))
			case <-time.After(10 * time.Second): // it takes 3 s; the rest is for a machine that has no time for us
				t.Errorf("does not work after 10 s")
			}
		})
	}
}

// faulty runs a concentrator with a fault until the test ends.
func (h Home) faulty(t *testing.T, port int, serve func(*net.TCPConn)) error {
	var l *net.TCPListener
	err := h.HAG.Do(func() (err error) {
		a := netip.AddrPortFrom(netip.MustParseAddr(world.Concentrator4), uint16(port))
		l, err = mptcp.Listen(context.Background(), a, mptcp.ListenOptions{MPTCP: true, FastOpenQueue: 64, NoCookie: true})
		return err
	})
	if err != nil {
		return err
	}
	accept.Until(t, l, func(c *net.TCPConn) {
		for range 1000 { // as a good one does: not before the handshake's third packet
			if o, err := mptcp.Inspect(c); err != nil || o.Established {
				break
			}
			time.Sleep(time.Millisecond)
		}
		serve(c)
	})
	return nil
}
