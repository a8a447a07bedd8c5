// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"spillway/testbed/netns"
)

// dropAsk in the environment makes this test binary drop its privileges, try what it should not be able to do, and print how that went.
const dropAsk = "SPILLWAY_TEST_DROP"

func TestMain(m *testing.M) {
	if os.Getenv(dropAsk) == "" {
		os.Exit(m.Run())
	}
	if err := dropPrivileges(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	report := func(what string, err error) { fmt.Printf("%s: %v\n", what, err) }
	report("mount", unix.Mount("none", "/mnt", "tmpfs", 0, ""))
	report("chroot", unix.Chroot("/"))
	report("clock", unix.ClockSettime(unix.CLOCK_REALTIME, &unix.Timespec{}))
	report("hostname", unix.Sethostname([]byte("x")))
	report("chown", os.Chown("/proc/self/comm", 1, 1))
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TRANSPARENT, 1)
	}
	report("transparent", err)
	_, err = net.Interfaces()
	report("interfaces", err)
	out, err := exec.Command("grep", "CapEff", "/proc/self/status").Output()
	report("child "+strings.TrimSpace(string(out)), err)
	os.Exit(0)
}

func TestPrivilegesAreGone(t *testing.T) {
	ns := netns.New(t, "caps")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := ns.Command(self)
	cmd.Env = append(os.Environ(), dropAsk+"=1")
	text, err := cmd.CombinedOutput()
	if strings.Contains(string(text), "operation not supported") {
		netns.Missing(t, "a test binary with cgo can't change all its threads: CGO_ENABLED=0 go test")
	}
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	got := string(text)
	for _, what := range []string{"mount", "chroot", "clock", "hostname"} {
		if !strings.Contains(got, what+": operation not permitted") {
			t.Errorf("%s is still possible:\n%s", what, got)
		}
	}
	mask := uint64(0)
	for _, c := range kept {
		mask |= 1 << c
	}
	for _, want := range []string{"transparent: <nil>", "interfaces: <nil>", fmt.Sprintf("child CapEff:\t%016x: <nil>", mask)} {
		if !strings.Contains(got, want) {
			t.Errorf("want %q in:\n%s", want, got)
		}
	}
}
