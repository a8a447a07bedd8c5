// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"bytes"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// Counters are the kernel's MPTcpExt and TcpExt of a network namespace. The zero value is ready for Read. It keeps the text that it read,
// some 8 KiB: one counter is asked for each second, and a table of all would be most of an idle daemon's garbage.
type Counters struct{ text []byte }

// Read takes the counters of the current thread's namespace.
func (c *Counters) Read() error {
	// thread-self: /proc/net is that of the process's first thread, which may live in another namespace. Read without package os, whose
	// poller would take it in: the file can always be read, so that a second thread woke to hear of it.
	fd, err := unix.Open("/proc/thread-self/net/netstat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("read kernel counters: %w", err)
	}
	defer unix.Close(fd)
	if c.text == nil {
		c.text = make([]byte, 0, 8<<10)
	}
	for c.text = c.text[:0]; ; {
		n, err := unix.Read(fd, c.text[len(c.text):cap(c.text)])
		switch {
		case err != nil:
			return fmt.Errorf("read kernel counters: %w", err)
		case n == 0:
			return nil
		}
		if c.text = c.text[:len(c.text)+n]; len(c.text) == cap(c.text) {
			c.text = append(c.text, 0)[:len(c.text)]
		}
	}
}

// Get returns a counter by its name without prefix ("MPCapableSYNTX", "TCPFastOpenActiveFail"). Which ones are there depends on the
// kernel; one that is not, or is no number, is 0: counters are never worth failing for.
func (c *Counters) Get(name string) uint64 {
	for text := c.text; len(text) > 0; {
		var names, values []byte // of pairs of lines, "Group: names..." and "Group: values..."
		names, text, _ = bytes.Cut(text, []byte("\n"))
		values, text, _ = bytes.Cut(text, []byte("\n"))
		group, names, _ := bytes.Cut(names, []byte(":"))
		again, values, _ := bytes.Cut(values, []byte(":"))
		if string(group) != string(again) || string(group) != "TcpExt" && string(group) != "MPTcpExt" {
			continue
		}
		for len(names) > 0 && len(values) > 0 {
			var n, v []byte
			n, names = nextWord(names)
			v, values = nextWord(values)
			if string(n) == name {
				number, err := strconv.ParseUint(string(v), 10, 64)
				if err != nil {
					return 0
				}
				return number
			}
		}
	}
	return 0
}

// nextWord splits the first word off b.
func nextWord(b []byte) (word, rest []byte) {
	b = bytes.TrimLeft(b, " ")
	word, rest, _ = bytes.Cut(b, []byte(" "))
	return word, rest
}
