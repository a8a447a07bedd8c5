// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"spillway/testbed/await"
	"spillway/testbed/netns"
)

// TestASocketIsClosedWhenItsEndHasArrived: both sides have ended, but what upstream is sent is lost. The socket stays open until that
// comes through again: a closed one would be lost for the kernel with its endpoint.
func TestASocketIsClosedWhenItsEndHasArrived(t *testing.T) {
	ns := netns.New(t, "part")
	if _, err := exec.LookPath("nft"); err != nil {
		netns.Missing(t, "needs nft (Debian package nftables)")
	}
	e := start(t, 1)
	var lan, up *net.TCPConn
	var c *Conn
	var end chan End
	if err := ns.Do(func() error { lan, up, c, end = join(t, e, true); return nil }); err != nil {
		t.Fatal(err)
	}
	var socket string
	c.Control(func(_, up int) {
		var st unix.Stat_t
		if err := unix.Fstat(up, &st); err != nil {
			t.Error(err)
		}
		socket = fmt.Sprintf("socket:[%d]", st.Ino)
	})
	up.CloseWrite()
	if _, err := lan.Read(make([]byte, 1)); err == nil {
		t.Fatal("the server's end did not come")
	}
	port := up.LocalAddr().(*net.TCPAddr).Port
	if err := ns.Run("nft", fmt.Sprintf("table inet lost { chain out { type filter hook output priority 0; tcp dport %d drop; }; }", port)); err != nil {
		t.Fatal(err)
	}
	lan.Close()
	if got := await.Value(t, "the end", end); got != Closed {
		t.Errorf("it ended as %d, want %d", got, Closed)
	}
	time.Sleep(3 * time.Duration(partingEvery))
	if !isOpen(t, socket) {
		t.Error("the socket was closed before its end had arrived")
	}
	if err := ns.Run("nft", "delete table inet lost"); err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(30 * time.Second); isOpen(t, socket); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("the socket was not closed after its end had arrived")
		}
	}
}

// isOpen tells whether this process has a descriptor of that name.
func isOpen(t *testing.T, name string) bool {
	t.Helper()
	all, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range all {
		if to, _ := os.Readlink(fd); to == name {
			return true
		}
	}
	return false
}
