// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// inside marks the process that was started in a user namespace.
const inside = "SPILLWAY_DEMO_INSIDE"

// enter checks what the demo needs. Without root it runs the demo again in a user namespace, where it is root over
// namespaces of its own, and returns that process's exit code; -1: go on in this one.
func enter() (code int, err error) {
	if err := needs(); err != nil {
		return 1, err
	}
	if os.Getenv(inside) != "" {
		return -1, ownRun()
	}
	if os.Geteuid() == 0 {
		return -1, nil
	}
	fmt.Println("no root: running in a user namespace")
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	if err := cmd.Start(); err != nil {
		return 1, fmt.Errorf("this system allows no user namespaces: run `sudo make demo` instead: %w", err)
	}
	cmd.Wait() // Ctrl-C reaches it through the terminal
	return cmd.ProcessState.ExitCode(), nil
}

// ownRun gives a user namespace a /run of its own, where ip keeps the names of network namespaces.
func ownRun() error {
	err := errors.Join(unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("tmpfs", "/run", "tmpfs", 0, ""), os.MkdirAll("/run/netns", 0o755))
	if err != nil {
		return fmt.Errorf("prepare the user namespace (run `sudo make demo` instead): %w", err)
	}
	return nil
}

// needs names all that is missing at once, each with the remedy.
func needs() error {
	var missing []error
	for _, p := range []struct{ program, pkg string }{{"ip", "iproute2"}, {"ss", "iproute2"}, {"nft", "nftables"}, {"curl", "curl"}} {
		if _, err := exec.LookPath(p.program); err != nil {
			missing = append(missing, fmt.Errorf("%s is missing: apt-get install %s", p.program, p.pkg))
		}
	}
	for _, f := range []struct{ path, remedy string }{
		{"/dev/net/tun", "modprobe tun"},
		{"/proc/sys/net/mptcp/enabled", "this kernel has no MPTCP: use one with CONFIG_MPTCP, such as Debian 12's"},
	} {
		if _, err := os.Stat(f.path); err != nil {
			missing = append(missing, fmt.Errorf("%s is missing: %s", f.path, f.remedy))
		}
	}
	return errors.Join(missing...)
}
