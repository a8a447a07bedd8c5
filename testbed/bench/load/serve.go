// SPDX-License-Identifier: Apache-2.0

// Package load is the traffic of the benchmark: a server and a client that are as cheap as they can be, because they share
// the machine with what is measured. Octets are counted, not checked; package traffic checks.
//
// A request is one line; the first octet says what it is:
//
//	g RATE    send for ever, at so many octets/s (0: as fast as it goes), paced by the kernel
//	u         take all that comes
//	b OCTETS  send so many octets
//	p...      200 octets in all: answer with 200
//	c...      the same, then close
package load

import (
	"bufio"
	"context"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Small is the octets of a small request and of its answer.
const Small = 200

// Serve answers on a listener until it is closed.
func Serve(l net.Listener) {
	block := make([]byte, 128<<10)
	for {
		c, err := l.Accept()
		if err != nil {
			if ne, ok := err.(net.Error); ok && ne.Timeout() {
				continue
			}
			if strings.Contains(err.Error(), "closed") {
				return
			}
			time.Sleep(10 * time.Millisecond)
			continue
		}
		go answer(c.(*net.TCPConn), block)
	}
}

func answer(c *net.TCPConn, block []byte) {
	defer c.Close()
	r := bufio.NewReaderSize(c, 2*Small)
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		number, _ := strconv.Atoi(strings.TrimSpace(string(line[1:])))
		switch line[0] {
		case 'g':
			pace(c, number)
			for err == nil {
				_, err = c.Write(block)
			}
		case 'b':
			for number > 0 && err == nil {
				var n int
				n, err = c.Write(block[:min(number, len(block))])
				number -= n
			}
		case 'u':
			sink := make([]byte, 256<<10)
			for err == nil {
				_, err = c.Read(sink)
			}
		case 'p':
			_, err = c.Write(block[:Small])
		case 'c':
			c.Write(block[:Small])
			return
		}
		if err != nil {
			return
		}
	}
}

// pace has TCP itself space the segments, as a line would.
func pace(c *net.TCPConn, rate int) {
	if rate == 0 {
		return
	}
	if rc, err := c.SyscallConn(); err == nil {
		rc.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, rate) })
	}
}

// dial connects as an ordinary host does: without MPTCP.
func dial(ctx context.Context, to string) (*net.TCPConn, error) {
	d := net.Dialer{Timeout: 20 * time.Second, KeepAlive: -1}
	d.SetMultipathTCP(false)
	c, err := d.DialContext(ctx, "tcp", to)
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}
