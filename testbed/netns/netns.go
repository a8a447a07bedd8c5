// SPDX-License-Identifier: Apache-2.0

// Package netns makes network namespaces for tests and for the demo, runs code and commands in them, and
// removes them. A namespace has a name of its own (`ip netns list` shows it), so that a person can look inside
// while a test stands still.
//
// Under `go test -short` New skips: the short run is the one for every machine. Without root it skips by name
// too, unless CI=true, where a missing right is a failure.
package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// NS is one network namespace.
type NS struct {
	Name string
	fd   int
}

var counter atomic.Uint32

// New makes a namespace with loopback up and removes it when the test ends. hint becomes part of its name.
func New(tb testing.TB, hint string) *NS {
	tb.Helper()
	Require(tb)
	ns, err := Make(hint)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(ns.Close)
	return ns
}

// Require skips the test, by name, where namespaces can't be made; with CI=true it fails instead.
func Require(tb testing.TB) {
	tb.Helper()
	if testing.Short() {
		tb.Skip("needs network namespaces: not run with -short (make net runs it)")
	}
	why := ""
	if os.Geteuid() != 0 {
		why = "needs root for network namespaces"
	} else if _, err := exec.LookPath("ip"); err != nil {
		why = "needs ip (Debian package iproute2)"
	}
	if why != "" {
		Missing(tb, why)
	}
}

// Missing says what a test lacks: a failure with CI=true, a skip elsewhere.
func Missing(tb testing.TB, why string) {
	tb.Helper()
	if os.Getenv("CI") == "true" {
		tb.Fatal(why)
	}
	tb.Skip(why)
}

// Make is New outside tests; the caller closes.
func Make(hint string) (*NS, error) {
	return enter(nextName(hint), "ip", "netns", "add")
}

// MakeSmall makes one that has a table of TCP sockets of its own, of so many buckets, as the kernel gives to a small machine (one for
// each 128 KiB of memory, tcp_init in net/ipv4/tcp.c), instead of sharing the host's. Dumps of sockets walk that table. The
// size is a setting of the namespace that makes another one (from Linux 6.1), so there is one in between.
func MakeSmall(hint string, buckets int) (*NS, error) {
	nursery, err := Make("nursery")
	if err != nil {
		return nil, err
	}
	defer nursery.Close()
	if err := nursery.Sysctl("net.ipv4.tcp_child_ehash_entries", fmt.Sprint(buckets)); err != nil {
		return Make(hint) // an older kernel
	}
	return enter(nextName(hint), "nsenter", "--net=/run/netns/"+nursery.Name, "ip", "netns", "add")
}

func nextName(hint string) string {
	return fmt.Sprintf("spw%d-%d-%s", os.Getpid(), counter.Add(1), hint)
}

// enter makes a namespace by a command that takes its name last.
func enter(name, maker string, args ...string) (*NS, error) {
	if err := command(maker, append(args, name)...); err != nil {
		return nil, err
	}
	fd, err := unix.Open("/run/netns/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		command("ip", "netns", "del", name)
		return nil, fmt.Errorf("open namespace %s: %w", name, err)
	}
	ns := &NS{Name: name, fd: fd}
	if err := ns.Run("ip", "link", "set", "lo", "up"); err != nil {
		ns.Close()
		return nil, err
	}
	return ns, nil
}

// Sweep removes the namespaces of runs that were killed before they could do it themselves.
func Sweep() {
	entries, _ := os.ReadDir("/run/netns")
	for _, e := range entries {
		var pid, n int
		if _, err := fmt.Sscanf(e.Name(), "spw%d-%d-", &pid, &n); err == nil && unix.Kill(pid, 0) == unix.ESRCH {
			command("ip", "netns", "del", e.Name())
		}
	}
}

// Close removes the namespace. What still runs in it keeps it alive until it ends.
func (ns *NS) Close() {
	unix.Close(ns.fd)
	command("ip", "netns", "del", ns.Name)
}

// Do runs fn on a thread inside the namespace: sockets that fn opens belong to it. fn must not start goroutines that open sockets.
// The thread is thrown away afterwards, so no state of it can leak.
func (ns *NS) Do(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := unix.Setns(ns.fd, unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter namespace %s: %w", ns.Name, err)
			return
		}
		done <- fn()
	}()
	return <-done
}

// Command prepares a command that will run inside the namespace.
func (ns *NS) Command(name string, args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", ns.Name, name}, args...)...)
}

// Run runs a command inside the namespace; the error carries what it printed.
func (ns *NS) Run(name string, args ...string) error {
	return run(ns.Command(name, args...))
}

// Output runs a command inside the namespace and returns what it printed.
func (ns *NS) Output(name string, args ...string) (string, error) {
	cmd := ns.Command(name, args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out), nil
}

// Script runs lines of "ip" arguments, one command a line, empty lines ignored.
func (ns *NS) Script(lines string) error {
	cmd := exec.Command("ip", "-netns", ns.Name, "-batch", "-")
	cmd.Stdin = strings.NewReader(lines)
	return run(cmd)
}

// Sysctl sets a value under /proc/sys by its dotted name.
func (ns *NS) Sysctl(name, value string) error {
	return ns.Do(func() error {
		return os.WriteFile("/proc/sys/"+strings.ReplaceAll(name, ".", "/"), []byte(value), 0o644)
	})
}

// KeepMPTCP keeps the kernel from switching MPTCP off for the namespace after an unlucky connection. Kernels before Linux 6.12 never do,
// and have no such setting.
func (ns *NS) KeepMPTCP() error {
	err := ns.Sysctl("net.mptcp.blackhole_timeout", "0")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Veth joins two namespaces with a pair of interfaces, both up.
func Veth(a *NS, nameA string, b *NS, nameB string) error {
	if err := a.Script(fmt.Sprintf("link add %s type veth peer name %s netns %s\nlink set %s up\n", nameA, nameB, b.Name, nameA)); err != nil {
		return err
	}
	return b.Script("link set " + nameB + " up\n")
}

func command(name string, args ...string) error { return run(exec.Command(name, args...)) }

func run(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, out)
	}
	return nil
}
