// SPDX-License-Identifier: Apache-2.0

package openwrt

import (
	"bufio"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"spillway/testbed/netns"
)

//go:embed root
var skeleton embed.FS

// ours are the programs of the tree that are cmd/owrt by another name.
var ours = []string{"sbin/uci", "bin/ubus", "bin/opkg", "usr/bin/apk", "sbin/ujail", "sbin/procd-call"}

// dependencies are the packages that the tree pretends to have, or to be able to get.
const dependencies = "nftables kmod-nft-tproxy kmod-nft-socket kmod-nft-fib kmod-inet-mptcp-diag luci-base"

// Tree is a root tree, and the machine that runs in it.
type Tree struct {
	Dir   string // seen from outside
	Using string // which package managers are in it
	pid   int
}

// Lay writes a tree: OpenWrt's parts, busybox, nft and ip with their libraries, and a UCI network of these interfaces (name to device and
// protocol). owrt is the built cmd/owrt.
func Lay(dir, owrt string, network string) (*Tree, error) {
	t := &Tree{Dir: dir, Using: "opkg and apk of testbed/openwrt"}
	for _, d := range []string{"bin", "sbin", "usr/bin", "usr/sbin", "usr/lib", "usr/share", "usr/libexec", "lib/functions", "lib/upgrade/keep.d", "etc/config", "etc/init.d",
		"etc/rc.d", "etc/uci-defaults", "proc", "sys", "dev", "tmp", "root", "www"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	if err := os.Symlink("tmp", filepath.Join(dir, "var")); err != nil {
		return nil, err
	}
	if err := t.skeleton(); err != nil {
		return nil, err
	}
	for from, to := range map[string]string{owrt: "usr/libexec/owrt", "busybox": "bin/busybox", "nft": "usr/sbin/nft", "ip": "sbin/ip"} {
		if err := t.program(from, to); err != nil {
			return nil, err
		}
	}
	list, err := exec.Command(filepath.Join(dir, "bin/busybox"), "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("busybox --list: %w", err)
	}
	for _, name := range strings.Fields(string(list)) {
		if name != "ip" && name != "busybox" {
			os.Symlink("busybox", filepath.Join(dir, "bin", name))
		}
	}
	for _, name := range ours {
		to := filepath.Join(dir, name)
		os.Remove(to)
		if real, err := exec.LookPath("opkg"); err == nil && name == "bin/opkg" {
			if err := t.realOpkg(real, name); err != nil {
				return nil, err
			}
			continue
		}
		if err := os.Symlink("/usr/libexec/owrt", to); err != nil {
			return nil, err
		}
	}
	for name, text := range map[string]string{
		"etc/config/network":      network,
		"etc/TZ":                  "CST-8\n", // a zone without summer time, so that the test is the same all year
		"etc/init.d/rpcd":         "#!/bin/sh\nlogger -t rpcd \"$1\"\n",
		"etc/available-packages":  "nftables kmod-nft-tproxy kmod-nft-socket kmod-nft-fib kmod-inet-mptcp-diag luci-base",
		"etc/passwd":              "root:x:0:0:root:/root:/bin/ash\n",
		"etc/group":               "root:x:0:\n",
		"etc/opkg.conf":           "dest root /\nlists_dir ext /var/opkg-lists\narch all 1\narch x86_64 10\n",
		"etc/resolv.conf":         "nameserver 127.0.0.1\n",
		"etc/hosts":               "127.0.0.1 localhost\n",
		"lib/upgrade/keep.d/base": "/etc/config/\n",
		"etc/openwrt_release":     "DISTRIB_ID='OpenWrt'\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	if err := os.Chmod(filepath.Join(dir, "etc/init.d/rpcd"), 0o755); err != nil {
		return nil, err
	}
	return t, nil
}

// realOpkg puts the machine's own opkg into the tree, and has it find installed what our packages depend on.
func (t *Tree) realOpkg(from, to string) error {
	t.Using = "real opkg, apk of testbed/openwrt"
	if err := t.program(from, to); err != nil {
		return err
	}
	var status strings.Builder
	for _, name := range strings.Fields(dependencies) {
		fmt.Fprintf(&status, "Package: %s\nVersion: 1\nStatus: install user installed\nArchitecture: all\n\n", name)
	}
	info := filepath.Join(t.Dir, "usr/lib/opkg")
	if err := os.MkdirAll(info, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(info, "status"), []byte(status.String()), 0o644)
}

func (t *Tree) skeleton() error {
	return fs.WalkDir(skeleton, "root", func(name string, d fs.DirEntry, err error) error {
		to := filepath.Join(t.Dir, strings.TrimPrefix(name, "root"))
		if err != nil || d.IsDir() {
			return err
		}
		text, err := skeleton.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(to, text, 0o755)
	})
}

// program copies a program and what it is linked with.
func (t *Tree) program(name, to string) error {
	from, err := exec.LookPath(name)
	if err != nil {
		return err
	}
	if err := copyFile(from, filepath.Join(t.Dir, to)); err != nil {
		return err
	}
	for _, lib := range libraries(from) {
		if err := copyFile(lib, filepath.Join(t.Dir, lib)); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	if _, err := os.Stat(to); err == nil {
		return nil
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o755)
}

// Start boots the tree in a network namespace. stop ends it and all that runs in it.
func (t *Tree) Start(ns *netns.NS) (stop func(), err error) {
	cmd := ns.Command(filepath.Join(t.Dir, "usr/libexec/owrt"), "init", t.Dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	var said strings.Builder
	cmd.Stderr = &said
	started, done := make(chan error), make(chan struct{})
	go func() { // the parent whose death ends the tree is this thread
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		started <- cmd.Start()
		<-done
	}()
	if err := <-started; err != nil {
		close(done)
		return nil, err
	}
	stop = func() {
		cmd.Process.Kill() // the first process of a PID namespace takes all others along
		cmd.Wait()
		close(done)
	}
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		stop()
		return nil, fmt.Errorf("the tree does not boot: %s%s", line, &said)
	}
	t.pid = cmd.Process.Pid
	return stop, nil
}

// Command prepares a shell command in the tree.
func (t *Tree) Command(line string) *exec.Cmd {
	cmd := exec.Command("nsenter", "--target", strconv.Itoa(t.pid), "--mount", "--pid", "--net", "--root", "--wd", "/bin/sh", "-c", line)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}
	return cmd
}

// Run runs a shell command in the tree and returns what it printed, errors too.
func (t *Tree) Run(line string) (string, error) {
	out, err := t.Command(line).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", line, err, out)
	}
	return string(out), err
}

// Files are the tree's files with mode and content's hash or link, by path. What lies on mounts of its own (/tmp, /dev) is not among them.
func (t *Tree) Files() (map[string]string, error) {
	found := map[string]string{}
	err := filepath.WalkDir(t.Dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		what := info.Mode().String()
		switch {
		case info.Mode().IsRegular():
			b, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			what += " " + hash(b)
		case info.Mode()&fs.ModeSymlink != 0:
			to, _ := os.Readlink(name)
			what += " " + to
		}
		found[strings.TrimPrefix(name, t.Dir)] = what
		return nil
	})
	return found, err
}
