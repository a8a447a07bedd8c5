// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"spillway/testbed/qemu/guest"
)

// daemon is the program that is tested or measured; its output goes to the console.
type daemon struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

func (d *daemon) start(name string, args ...string) error {
	if d.cmd != nil && d.ended() == "" {
		return errors.New("it runs already")
	}
	cmd, done := exec.Command(name, args...), make(chan struct{})
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	d.cmd, d.done = cmd, done
	go func() {
		d.err = cmd.Wait()
		close(done)
	}()
	return nil
}

func (d *daemon) signal(n int) error {
	if d.cmd == nil {
		return errors.New("nothing runs")
	}
	sig := syscall.Signal(n)
	switch n { // the host's numbers; MIPS has its own
	case 18:
		sig = syscall.SIGCONT
	case 19:
		sig = syscall.SIGSTOP
	}
	if err := d.cmd.Process.Signal(sig); err != nil {
		return err
	}
	if sig == syscall.SIGKILL {
		<-d.done
	}
	return nil
}

// ended says how it ended; "": it runs.
func (d *daemon) ended() string {
	if d.cmd == nil {
		return "never started"
	}
	select {
	case <-d.done:
		return d.cmd.ProcessState.String()
	default:
		return ""
	}
}

// control sends a line to a unix socket and returns the line that comes back.
func control(path, line string) (json.RawMessage, error) {
	c, err := net.DialTimeout("unix", path, 5*time.Second)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		return nil, err
	}
	return bufio.NewReaderSize(c, 64<<10).ReadBytes('\n')
}

// nft loads a ruleset, or with none returns the one that there is.
func nft(text string) (string, error) {
	cmd := exec.Command("nft", "-f", "-")
	if text == "" {
		cmd = exec.Command("nft", "list", "ruleset")
	}
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("nft: %w: %s", err, out)
	}
	return string(out), nil
}

// measure reads what the daemon and the machine have used.
func (d *daemon) measure(exactly bool) (u guest.Usage, err error) {
	if d.cmd != nil {
		pid := d.cmd.Process.Pid
		status := fields(fmt.Sprintf("/proc/%d/status", pid))
		u.RSS, u.Peak = status["VmRSS:"]<<10, status["VmHWM:"]<<10
		u.Anon, u.File = status["RssAnon:"]<<10, (status["RssFile:"]+status["RssShmem:"])<<10
		// Until 6.2 the kernel tells those from counters of each thread's, up to 64 pages late; a walk through the pages is exact.
		if exact := rollup(pid, exactly); exact["Rss:"] > 0 {
			u.RSS, u.Anon = exact["Rss:"]<<10, exact["Anonymous:"]<<10
			u.File = u.RSS - u.Anon
		}
		files, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		u.Files = len(files)
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, rest, _ := strings.Cut(string(stat), ") ")
		if f := strings.Fields(rest); len(f) > 12 {
			u.CPU = ticks(f[11]) + ticks(f[12])
		}
	}
	stat, err := os.ReadFile("/proc/stat")
	for i, f := range strings.Fields(string(stat)) {
		if i >= 1 && i <= 8 && i != 4 && i != 5 { // user nice system idle iowait irq softirq steal
			u.Busy += ticks(f)
		}
	}
	u.Available = fields("/proc/meminfo")["MemAvailable:"] << 10
	u.OOM = fields("/proc/vmstat")["oom_kill"]
	u.Now = time.Now().UnixNano()
	return u, err
}

// rollup sums up all pages of a process, if they are to be walked through.
func rollup(pid int, exactly bool) map[string]int64 {
	if !exactly {
		return nil
	}
	return fields(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
}

// ticks reads a number of hundredths of a second: USER_HZ is 100 on all of these machines.
func ticks(s string) time.Duration {
	n := int64(0)
	fmt.Sscan(s, &n)
	return time.Duration(n) * 10 * time.Millisecond
}

// fields reads the numbers of a file of "name number" lines.
func fields(path string) map[string]int64 {
	all := map[string]int64{}
	text, _ := os.ReadFile(path)
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) >= 2 {
			n := int64(0)
			fmt.Sscan(f[1], &n)
			all[f[0]] = n
		}
	}
	return all
}

func bigEndian() bool { return binary.NativeEndian.Uint16([]byte{1, 0}) == 0x100 }

// splice is the yardstick: the least that a relay has to do, in the same language, on the same machine.
func splice(listen, to string) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	for {
		near, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer near.Close()
			far, err := net.Dial("tcp", to)
			if err != nil {
				return
			}
			defer far.Close()
			go func() { io.Copy(far, near); far.(*net.TCPConn).CloseWrite() }()
			io.Copy(near, far)
		}()
	}
}
