// SPDX-License-Identifier: Apache-2.0

package openwrt

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// jailMount is one mount of a jail; source "" for a file system of its own, target itself for a bind onto itself.
type jailMount struct {
	source, target, kind, data string
	flags                      uintptr
	must                       bool
}

// Ujail is the command ujail as procd calls it: a mount, PID and IPC namespace whose root is empty but for what the arguments name, as
// procd's jail/jail.c and fs.c lay it. Signals are handed on. In particular /proc/sys is read-only there, but for a part that is
// mounted writable by name.
func Ujail(args []string) error {
	if len(args) > 0 && args[0] == "inside" {
		return inside(args[1:])
	}
	cmd := exec.Command("/proc/self/exe", append([]string{"inside"}, args...)...)
	cmd.Args[0] = "ujail"
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC, Pdeathsig: syscall.SIGKILL}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT)
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() {
		for s := range signals {
			cmd.Process.Signal(s)
		}
	}()
	return cmd.Wait()
}

// jailOf reads the arguments.
func jailOf(args []string) (mounts []jailMount, ronly, noNewPrivs bool, command []string) {
	add := func(m jailMount) {
		if !slices.ContainsFunc(mounts, func(o jailMount) bool { return o.target == m.target }) {
			mounts = append(mounts, m)
		}
	}
	bind := func(p string, flags uintptr, must bool) {
		add(jailMount{source: p, target: p, flags: unix.MS_BIND | flags, must: must})
	}
	procfs, sysfs := false, false
	for len(args) > 0 && args[0] != "--" {
		flag := args[0]
		args = args[1:]
		switch flag {
		case "-n":
			args = args[1:]
		case "-r", "-w":
			mode := uintptr(0)
			if flag == "-r" {
				mode = unix.MS_RDONLY
			}
			bind(args[0], mode, false)
			for _, lib := range libraries(args[0]) {
				bind(lib, unix.MS_RDONLY, true)
			}
			args = args[1:]
		case "-p":
			procfs = true
		case "-s":
			sysfs = true
		case "-u":
			bind(Socket, 0, true)
		case "-l":
			bind("/dev/log", 0, true)
		case "-o":
			ronly = true
		case "-c":
			noNewPrivs = true
		}
	}
	command = args[1:]
	bind(command[0], unix.MS_RDONLY, true)
	for _, lib := range libraries(command[0]) {
		bind(lib, unix.MS_RDONLY, true)
	}
	bind("/etc/resolv.conf", unix.MS_RDONLY, false)
	add(jailMount{target: "/dev", kind: "tmpfs", data: "size=1M", flags: unix.MS_NOATIME | unix.MS_NOEXEC | unix.MS_NOSUID, must: true})
	if procfs {
		add(jailMount{target: "/proc", kind: "proc", flags: unix.MS_NOATIME | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOSUID, must: true})
		add(jailMount{source: "self", target: "/proc/sys", flags: unix.MS_BIND | unix.MS_RDONLY, must: true})
	}
	if sysfs {
		add(jailMount{target: "/sys", kind: "sysfs", flags: unix.MS_RELATIME | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOSUID | unix.MS_RDONLY, must: true})
	}
	slices.SortFunc(mounts, func(a, b jailMount) int { return strings.Compare(a.target, b.target) })
	return mounts, ronly, noNewPrivs, command
}

// inside lays the jail and becomes the command.
func inside(args []string) error {
	runtime.LockOSThread() // no_new_privs is a thread's own
	mounts, ronly, noNewPrivs, command := jailOf(args)
	const root = "/tmp/ujail"
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := errors.Join(os.MkdirAll(root, 0o755), unix.Mount("tmpfs", root, "tmpfs", unix.MS_NOATIME, "mode=0755")); err != nil {
		return fmt.Errorf("jail's root: %w", err)
	}
	for _, m := range mounts {
		if err := m.mount(root); err != nil && m.must {
			return fmt.Errorf("jail: mount %s: %w", m.target, err)
		}
	}
	old := root + "/old"
	if err := errors.Join(os.Mkdir(old, 0o755), unix.PivotRoot(root, old), os.Chdir("/"), unix.Unmount("/old", unix.MNT_DETACH), os.Remove("/old")); err != nil {
		return fmt.Errorf("jail: %w", err)
	}
	for name, minor := range map[string]uint32{"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9} {
		unix.Mknod("/dev/"+name, unix.S_IFCHR|0o666, int(unix.Mkdev(1, minor)))
	}
	if ronly {
		if err := unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
			return err
		}
	}
	if noNewPrivs {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return err
		}
	}
	return unix.Exec(command[0], command, os.Environ())
}

func (m jailMount) mount(root string) error {
	to := filepath.Join(root, m.target)
	source := m.source
	if source == "self" {
		source = to
	}
	if source == "" {
		return errors.Join(os.MkdirAll(to, 0o755), unix.Mount("none", to, m.kind, m.flags, m.data))
	}
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	if info.IsDir() {
		err = os.MkdirAll(to, 0o755)
	} else if err = os.MkdirAll(path.Dir(to), 0o755); err == nil {
		if f, e := os.OpenFile(to, os.O_CREATE|os.O_EXCL, 0o644); e == nil {
			f.Close()
		}
	}
	if err != nil {
		return err
	}
	if err := unix.Mount(source, to, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	return unix.Mount(source, to, "", m.flags|unix.MS_REMOUNT, "")
}

// libraries are the files that a program needs beside itself: its loader, and its shared objects and theirs.
func libraries(file string) (found []string) {
	f, err := elf.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			name := make([]byte, p.Filesz)
			if _, err := p.ReadAt(name, 0); err == nil {
				found = append(found, strings.TrimRight(string(name), "\x00"))
			}
		}
	}
	needed, _ := f.ImportedLibraries()
	for _, lib := range needed {
		for _, dir := range []string{"/lib", "/usr/lib", "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu"} {
			at := filepath.Join(dir, lib)
			if _, err := os.Stat(at); err == nil && !slices.Contains(found, at) {
				found = append(found, at)
				for _, more := range libraries(at) {
					if !slices.Contains(found, more) {
						found = append(found, more)
					}
				}
				break
			}
		}
	}
	return found
}
