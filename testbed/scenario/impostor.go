// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"spillway/testbed/accept"
	"spillway/testbed/world"
)

// impostor stands in the concentrator's place and speaks something else.
type impostor struct {
	name, about string
	talk        func(net.Conn)
}

func impostors() []impostor {
	return []impostor{
		{"garbage", "the concentrator answers with octets that are no Convert", func(c net.Conn) {
			c.Write([]byte("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n" + strings.Repeat("x", 2000)))
			io.Copy(io.Discard, c)
		}},
		{"half", "the concentrator answers with half a message and ends", func(c net.Conn) {
			c.Read(make([]byte, 512))
			c.Write([]byte{1, 5, 0x22, 0x63, 0x16})
		}},
		{"mute", "the concentrator accepts and says nothing", func(c net.Conn) { io.Copy(io.Discard, c) }},
		{"drip", "the concentrator answers one octet a second", func(c net.Conn) {
			for {
				if _, err := c.Write([]byte{1}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}},
		{"hanging-up", "the concentrator accepts and ends the connection at once", func(net.Conn) {}},
	}
}

// replace kills the concentrator and listens in its place.
func (i impostor) replace(w *world.World) error {
	w.KillConcentrator()
	for _, a := range []string{world.Concentrator4, world.Concentrator6} {
		var l net.Listener
		err := w.HAG.Do(func() (err error) {
			var lc net.ListenConfig
			lc.SetMultipathTCP(true)
			l, err = lc.Listen(context.Background(), "tcp", net.JoinHostPort(a, fmt.Sprint(world.Port)))
			return err
		})
		if err != nil {
			return err
		}
		w.AtClose(func() { l.Close() })
		accept.Each(l, func(c *net.TCPConn) { i.talk(c) })
	}
	return nil
}

// Wrap has the router's daemon started by a shell that runs lines first: limits, mounts of its own.
func Wrap(lines ...string) func(*world.World) error {
	return func(w *world.World) error {
		path := filepath.Join(w.Dir, "spillway.sh")
		text := "#!/bin/sh\nset -e\n" + strings.Join(lines, "\n") + "\nexec " + w.Bin.Spillway + " \"$@\"\n"
		w.Bin.Spillway = path
		return os.WriteFile(path, []byte(text), 0o755)
	}
}
