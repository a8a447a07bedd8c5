// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net"
	"os"
	"testing"
)

// TestDoorOfAPredecessorWithoutMPTCP: nobody would serve who waits in a door that was taken over and not opened. Without it the kernel forwards.
func TestDoorOfAPredecessorWithoutMPTCP(t *testing.T) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	h := &house{inherited: []*os.File{f}}
	if err := h.openDoor(); err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
		c.Close()
		t.Error("it still takes connections")
	}
}
