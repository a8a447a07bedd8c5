// SPDX-License-Identifier: Apache-2.0

package ways

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"spillway/convert"
	"spillway/testbed/world"
)

// peer is a scripted concentrator, called with each Connect.
type peer func(c *net.TCPConn, m *convert.Message)

// refusing answers an error and closes as RFC 8803 has it.
func refusing(code convert.Code, value ...byte) peer {
	return func(c *net.TCPConn, _ *convert.Message) {
		b, _ := (&convert.Message{Error: &convert.Error{Code: code, Value: value}}).Append(nil)
		c.Write(b)
		c.CloseWrite()
		io.Copy(io.Discard, c)
	}
}

// serving is the server itself: it greets and echoes as Home.Serve's does.
func serving(c *net.TCPConn, _ *convert.Message) {
	c.Write([]byte{1, 1, 0x22, 0x63})
	fmt.Fprintln(c, "192.0.2.9")
	io.Copy(c, c)
}

// codes are the errors of RFC 8803 section 6.2.8 and what they lead to for the connection that met them.
var codes = []struct {
	name   string
	peer   peer
	native bool // with native_servers = "bypass", for which options are asked
	by     string
	down   bool // the scripted one, afterwards
}{
	{name: "0 unsupported version", peer: refusing(convert.CodeUnsupportedVersion, 2), by: "second", down: true},
	{name: "1 malformed message", peer: refusing(convert.CodeMalformed, 0), by: "second"},
	{name: "2 unsupported message", peer: refusing(convert.CodeUnsupportedMessage, 0), by: "second"},
	{name: "3 missing cookie", by: "scripted", peer: func(c *net.TCPConn, m *convert.Message) {
		if len(m.Cookie) == 0 {
			refusing(convert.CodeMissingCookie, 0, 'c', 'o', 'o', 'k')(c, m)
			return
		}
		serving(c, m)
	}},
	{name: "32 not authorized", peer: refusing(convert.CodeNotAuthorized, 0), by: "second"},
	{name: "33 unsupported option", by: "scripted", native: true, peer: func(c *net.TCPConn, m *convert.Message) {
		if len(m.Connect.Options) > 0 {
			refusing(convert.CodeUnsupportedOption, convert.OptionMPTCP)(c, m)
			return
		}
		serving(c, m)
	}},
	{name: "64 resource exceeded", peer: refusing(convert.CodeResourceExceeded, 60), by: "second", down: true},
	{name: "65 network failure", peer: refusing(convert.CodeNetworkFailure, 60), by: "second", down: true},
	{name: "96 connection reset", peer: refusing(convert.CodeConnectionReset, 0)},
	{name: "97 destination unreachable", peer: refusing(convert.CodeUnreachable, 1)},
	{name: "slow: an answer after 2.5 s", by: "scripted", peer: func(c *net.TCPConn, m *convert.Message) {
		time.Sleep(2500 * time.Millisecond)
		serving(c, m)
	}},
}

// TestErrorCodes has a scripted concentrator answer each error; a good one stands behind it. The LAN host's very connection that
// meets the error is served all the same, unless the server is at fault.
func TestErrorCodes(t *testing.T) {
	h, must := inService(t)
	for i, c := range codes {
		t.Run(c.name, func(t *testing.T) {
			port := 6200 + i
			var met atomic.Int32
			must(h.faulty(t, port, func(conn *net.TCPConn) {
				m, err := readMessage(conn)
				if err != nil {
					return
				}
				if m.Connect == nil { // a question
					conn.Write([]byte{1, 1, 0x22, 0x63})
					return
				}
				met.Add(1)
				c.peer(conn, m)
			}))
			h.Settings.Relay = nil
			if c.native {
				h.Settings.Relay = map[string]string{"native_servers": `"bypass"`}
			}
			name := fmt.Sprintf("scripted-%d", i)
			text := Upstream{Name: name, Keys: keys("convert", port)}.TOML(h)
			must(h.Router.Reload(text + fmt.Sprintf("[[concentrator]]\nname = \"second\"\naddress = %q\nport = %d\npriority = 1\n", world.Concentrator4, world.Port)))
			must(world.WaitFor("the configuration", 15*time.Second, func() bool {
				states, err := h.Concentrators()
				return err == nil && states[name] == "up" && states["second"] == "up"
			}))
			began := time.Now()
			talk, err := h.Dial(Server("4", 9000), 0)
			took := time.Since(began)
			if c.by == "" {
				if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.ECONNREFUSED) {
					t.Errorf("the LAN host saw %v, not a reset", err)
				}
			} else {
				must(err)
				defer talk.Close()
				if err := talk.Echo(10_000); err != nil {
					t.Error(err)
				}
				f, err := h.FlowOf(talk)
				if err != nil || f == nil || strings.TrimSuffix(f.Upstream, fmt.Sprintf("-%d", i)) != c.by {
					t.Errorf("%+v, %v; want it by %s", f, err, c.by)
				}
			}
			states, err := h.Concentrators()
			if err != nil || (states[name] == "down") != c.down {
				t.Errorf("%v, %v; want %s down: %v", states, err, name, c.down)
			}
			if met.Load() == 0 {
				t.Error("the scripted concentrator was not asked")
			}
			t.Logf("the LAN host had its answer after %v; then %v", took.Round(time.Millisecond), states)
		})
	}
}

// readMessage reads a Convert message from a stream.
func readMessage(c io.Reader) (*convert.Message, error) {
	b := make([]byte, convert.HeaderLen, convert.MaxMessage)
	if _, err := io.ReadFull(c, b); err != nil {
		return nil, err
	}
	n, err := convert.Length(b)
	if err != nil {
		return nil, err
	}
	b = b[:n]
	if _, err := io.ReadFull(c, b[convert.HeaderLen:]); err != nil {
		return nil, err
	}
	m, _, err := convert.Parse(b)
	return m, err
}
