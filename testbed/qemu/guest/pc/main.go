// SPDX-License-Identifier: Apache-2.0

// Command pc is the first process of an emulated PC: it makes the files of the host its own root, read-only below an overlay in
// memory, runs the one command that the host asks for, and switches the machine off.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"spillway/testbed/qemu/guest"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "pc:", err)
	}
	guest.SwitchOff()
}

func run() error {
	if err := guest.Begin(); err != nil {
		return err
	}
	if err := guest.LoadModules("/modules"); err != nil {
		return err
	}
	job, output, err := ports()
	if err != nil {
		return err
	}
	var j guest.Job
	line, err := bufio.NewReader(job).ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read what to do: %w", err)
	}
	if err := json.Unmarshal(line, &j); err != nil {
		return fmt.Errorf("read what to do: %w", err)
	}
	result := guest.Answer{}
	code, err := carryOut(j, output)
	if err != nil {
		result.Error = err.Error()
	}
	result.Result = json.RawMessage(fmt.Sprint(code))
	return json.NewEncoder(job).Encode(result)
}

// carryOut runs the command below the host's root. code is what it ended with.
func carryOut(j guest.Job, output *os.File) (code int, err error) {
	if err := enter(); err != nil {
		return 0, err
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return 0, fmt.Errorf("set up the loopback: %w: %s", err, out)
	}
	cmd := exec.Command(j.Command[0], j.Command[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = j.Dir, j.Env, output, output
	err = cmd.Run()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

type mount struct {
	kind, source, target string
	flags                uintptr
	options              string
}

func mounts(all []mount) error {
	for _, m := range all {
		if err := guest.Mount(m.kind, m.source, m.target, m.flags, m.options); err != nil {
			return err
		}
	}
	return nil
}

// enter makes the host's root ours. What is written stays in memory, but for what goes to guest.Kept. The root is entered by moving
// the mount, as switch_root does: an initramfs can't be left by pivot_root.
func enter() error {
	const nine = "trans=virtio,version=9p2000.L,msize=512000"
	err := mounts([]mount{
		{"9p", "root", "/host", unix.MS_RDONLY, nine + ",cache=loose"},
		{"tmpfs", "memory", "/memory", 0, "size=70%"},
	})
	if err != nil {
		return err
	}
	for _, dir := range []string{"/memory/upper", "/memory/work"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	err = mounts([]mount{
		{"overlay", "root", "/new", 0, "lowerdir=/host,upperdir=/memory/upper,workdir=/memory/work"},
		{"9p", "kept", "/new" + guest.Kept, 0, nine},
		{"tmpfs", "run", "/new/run", 0, ""},
		{"", "/proc", "/new/proc", unix.MS_MOVE, ""},
		{"", "/sys", "/new/sys", unix.MS_MOVE, ""},
		{"", "/dev", "/new/dev", unix.MS_MOVE, ""},
	})
	if err != nil {
		return err
	}
	if err := errors.Join(unix.Chdir("/new"), unix.Mount(".", "/", "", unix.MS_MOVE, ""), unix.Chroot("."), unix.Chdir("/")); err != nil {
		return fmt.Errorf("enter the host's root: %w", err)
	}
	for name, to := range map[string]string{"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"} { // what udev makes
		os.Symlink("/proc/self/fd"+to, "/dev/"+name)
	}
	os.Setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
	return mounts([]mount{
		{"devpts", "pts", "/dev/pts", 0, ""}, {"tmpfs", "shm", "/dev/shm", 0, ""}, {"cgroup2", "cgroup", "/sys/fs/cgroup", 0, ""},
		{"tracefs", "trace", "/sys/kernel/tracing", 0, ""},
	})
}

// ports are the virtio serial ports "job" and "output".
func ports() (job, output *os.File, err error) {
	found := map[string]string{}
	for range 500 {
		names, _ := filepath.Glob("/sys/class/virtio-ports/*/name")
		for _, n := range names {
			if name, err := os.ReadFile(n); err == nil {
				found[strings.TrimSpace(string(name))] = filepath.Join("/dev", filepath.Base(filepath.Dir(n)))
			}
		}
		if len(found) == 2 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if job, err = os.OpenFile(found["job"], os.O_RDWR, 0); err != nil {
		return nil, nil, err
	}
	output, err = os.OpenFile(found["output"], os.O_WRONLY, 0)
	return job, output, err
}
