// SPDX-License-Identifier: Apache-2.0

// Command init is the first and only process of an emulated router: it loads the kernel modules of the initramfs, then does
// what the host asks for over a virtio serial port until the host hangs up. With the argument splice it is the yardstick
// relay.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"spillway/testbed/qemu/guest"
)

func main() {
	if len(os.Args) == 4 && os.Args[1] == "splice" {
		fmt.Fprintln(os.Stderr, "splice:", splice(os.Args[2], os.Args[3]))
		os.Exit(1)
	}
	err := boot()
	if err == nil {
		err = serve()
	}
	fmt.Fprintln(os.Stderr, "init:", err)
	guest.SwitchOff()
}

// boot makes a bare kernel a usable system.
func boot() error {
	if err := guest.Begin(); err != nil {
		return err
	}
	for _, dir := range []string{"/tmp", "/run"} {
		if err := guest.Mount("tmpfs", "tmpfs", dir, 0, ""); err != nil {
			return err
		}
	}
	os.MkdirAll("/var/run", 0o755)
	// As the package's procd script has it: with the kernel's 4096, one LAN host may not have a thousand connections.
	syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 65536, Max: 65536})
	os.Setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
	os.Setenv("HOME", "/")
	a, err := about()
	if err = errors.Join(err, fixBoard(a.Machine)); err != nil {
		fmt.Fprintln(os.Stderr, "init:", err)
	}
	if _, err := os.Stat("/bin/busybox"); err == nil {
		exec.Command("/bin/busybox", "--install", "-s", "/bin").Run() // sh, date, mount and the others, for a person and for Shell
	}
	return guest.LoadModules("/modules")
}

// serve answers the host until it hangs up.
func serve() error {
	var found []string
	for range 500 {
		if found, _ = filepath.Glob("/dev/vport*p1"); len(found) > 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if len(found) == 0 {
		return errors.New("there is no virtio serial port")
	}
	port, err := os.OpenFile(found[0], os.O_RDWR, 0)
	if err != nil {
		return err
	}
	d := &daemon{}
	lines := bufio.NewReaderSize(port, 64<<10)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return fmt.Errorf("the host hung up: %w", err)
		}
		var request guest.Request
		var answer guest.Answer
		result, err := any(nil), json.Unmarshal(line, &request)
		if err == nil {
			result, err = d.do(request)
		}
		if err == nil && result != nil {
			answer.Result, err = json.Marshal(result)
		}
		if err != nil {
			answer.Error = err.Error()
		}
		if err := json.NewEncoder(port).Encode(answer); err != nil {
			return err
		}
	}
}

// do does what one request asks for.
func (d *daemon) do(r guest.Request) (any, error) {
	switch r.Do {
	case guest.Hello:
		return about()
	case guest.Name:
		return nil, name(r.Names)
	case guest.Sysctl:
		return nil, sysctls(r.Text)
	case guest.IP:
		return nil, ip(r.Text)
	case guest.NFT:
		return nft(r.Text)
	case guest.Write:
		return nil, write(r.Path, r.Text)
	case guest.Read:
		text, err := os.ReadFile(r.Path)
		return string(text), err
	case guest.Start:
		if err := write(r.Path, r.Text); err != nil {
			return nil, err
		}
		if r.Script != "" {
			return nil, d.start("/bin/sh", r.Script, "run", "-config", r.Path)
		}
		return nil, d.start("/bin/spillway", "run", "-config", r.Path)
	case guest.Shell:
		return nil, shell(r.Text)
	case guest.Splice:
		return nil, d.start("/init", append([]string{"splice"}, strings.Fields(r.Text)...)...)
	case guest.Signal:
		return nil, d.signal(r.Signal)
	case guest.Ended:
		return d.ended(), nil
	case guest.Control:
		return control(r.Path, r.Text)
	case guest.Measure:
		return d.measure(r.Text != guest.Brief)
	case guest.Halt:
		guest.SwitchOff()
	}
	return nil, fmt.Errorf("verb %q: there is none of that name", r.Do)
}

func write(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// shell does lines as a person at the console would; the first that fails ends it. Busybox takes its own ip for the real one,
// which knows MPTCP.
func shell(lines string) error {
	if _, err := os.Stat("/bin/sh"); err != nil {
		return console(lines)
	}
	const ip = "/usr/sbin/ip"
	if _, err := os.Stat(ip); err == nil {
		lines = "ip() { " + ip + " \"$@\"; }\n" + lines
	}
	if out, err := exec.Command("/bin/sh", "-ec", lines).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// sysctls sets values. What is a default for devices to come is also set for those that are there.
func sysctls(lines string) error {
	for line := range strings.Lines(lines) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok {
			continue
		}
		path := "/proc/sys/" + strings.ReplaceAll(name, ".", "/")
		paths := []string{path}
		if strings.Contains(path, "/conf/default/") {
			all, _ := filepath.Glob(strings.Replace(path, "/conf/default/", "/conf/*/", 1))
			for _, p := range all {
				if !strings.Contains(p, "/conf/all/") {
					paths = append(paths, p)
				}
			}
		}
		for _, p := range paths {
			if err := os.WriteFile(p, []byte(value), 0o644); err != nil {
				return fmt.Errorf("sysctl %s: %w", name, err)
			}
		}
	}
	return nil
}

func about() (a guest.About, err error) {
	var u unix.Utsname
	var t unix.Timespec
	var m unix.Sysinfo_t
	if err := unix.Uname(&u); err != nil {
		return a, err
	}
	unix.ClockGettime(unix.CLOCK_BOOTTIME, &t)
	unix.Sysinfo(&m)
	text := func(b []byte) string { return string(b[:max(0, bytes.IndexByte(b, 0))]) }
	a = guest.About{Kernel: text(u.Release[:]), Machine: text(u.Machine[:]), Boot: time.Duration(t.Nano()).Seconds(), Total: int64(m.Totalram) * int64(m.Unit)}
	a.Big = bigEndian()
	return a, nil
}
