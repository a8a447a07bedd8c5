// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"spillway/testbed/netns"
)

// Proc is a program that runs in a namespace.
type Proc struct {
	name string
	cmd  *exec.Cmd
	log  string
	done chan struct{}

	account, field, grouped string // see group
}

// Start runs a program in a namespace, its output in a log of its name.
func (s *Stage) Start(ns *netns.NS, name string, args ...string) (*Proc, error) {
	p := &Proc{name: name, cmd: ns.Command(args[0], args[1:]...), log: filepath.Join(s.dir, name+".log"), done: make(chan struct{})}
	f, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p.cmd.Stdout, p.cmd.Stderr = f, f
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	s.procs = append(s.procs, p)
	go func() {
		p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Stop ends it, with force after ten seconds.
func (p *Proc) Stop() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	if p.grouped != "" {
		defer os.Remove(p.grouped)
	}
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		p.cmd.Process.Kill()
		<-p.done
	}
}

func (p *Proc) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// text is the end of its log.
func (p *Proc) text() string {
	b, _ := os.ReadFile(p.log)
	return string(b[max(0, len(b)-2000):])
}

// Usage is what a process has used so far, or the machine.
type Usage struct {
	CPU          time.Duration // on a processor, all threads, from the scheduler's clock
	User, System time.Duration // the same, split by the timer tick
	Wakeups      int64         // voluntary switches of all threads: how often they went to sleep
	Machine      time.Duration // not idle, all processors
}

func (u Usage) minus(v Usage) Usage {
	return Usage{u.CPU - v.CPU, u.User - v.User, u.System - v.System, u.Wakeups - v.Wakeups, u.Machine - v.Machine}
}

// usage reads /proc; p nil: of the machine alone.
func usage(p *Proc) (u Usage) {
	u.Machine = machine()
	if p == nil {
		return u
	}
	dir := fmt.Sprintf("/proc/%d", p.cmd.Process.Pid)
	if b, err := os.ReadFile(dir + "/stat"); err == nil {
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		u.User, u.System = ticks(f[11]), ticks(f[12])
	}
	tasks, _ := filepath.Glob(dir + "/task/*")
	for _, t := range tasks {
		var ns int64
		b, _ := os.ReadFile(t + "/schedstat")
		fmt.Sscan(string(b), &ns)
		u.CPU += time.Duration(ns)
		u.Wakeups += field(t+"/status", "voluntary_ctxt_switches:")
	}
	return u
}

// machine is the time that processors were not idle.
func machine() time.Duration {
	b, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(b), "\n")
	var busy time.Duration
	for i, f := range strings.Fields(line) {
		if i >= 1 && i <= 7 && i != 4 && i != 5 { // without idle and iowait
			busy += ticks(f)
		}
	}
	return busy
}

// ticks reads a number of USER_HZ, which is 100 everywhere.
func ticks(s string) time.Duration {
	var n int64
	fmt.Sscan(s, &n)
	return time.Duration(n) * 10 * time.Millisecond
}

// field reads a number after its name from a file of /proc, 0 if it is not there.
func field(path, name string) (n int64) {
	b, _ := os.ReadFile(path)
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			fmt.Sscan(rest, &n)
			break
		}
	}
	return n
}

// memory is the octets of user memory that the process has to itself.
func (p *Proc) memory() int64 {
	path := fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid)
	return (field(path, "RssAnon:") + field(path, "RssShmem:")) << 10
}

// slab is the octets of the kernel's objects in use, of the whole machine; where the kernel does not list them, of all its slabs,
// which hold many free ones.
func slab() (octets int64) {
	b, _ := os.ReadFile("/proc/slabinfo")
	for line := range strings.Lines(string(b)) {
		var name string
		var active, all, size int64
		if n, _ := fmt.Sscan(line, &name, &active, &all, &size); n == 4 {
			octets += active * size
		}
	}
	if octets == 0 {
		octets = field("/proc/meminfo", "Slab:") << 10
	}
	return octets
}

// sent is what devices of a namespace have sent, in octets, with all headers.
func sent(ns *netns.NS, devices ...string) (octets int64, err error) {
	err = ns.Do(func() error {
		b, err := os.ReadFile("/proc/thread-self/net/dev")
		for line := range strings.Lines(string(b)) {
			name, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
			if f := strings.Fields(rest); slices.Contains(devices, name) && len(f) > 8 {
				n, _ := strconv.ParseInt(f[8], 10, 64)
				octets += n
			}
		}
		return err
	})
	return octets, err
}

// counters reads /proc/net/netstat of a namespace, one extension, by name.
func counters(ns *netns.NS, extension string) map[string]int64 {
	all := map[string]int64{}
	ns.Do(func() error {
		b, err := os.ReadFile("/proc/thread-self/net/netstat")
		var names []string
		for line := range strings.Lines(string(b)) {
			rest, ok := strings.CutPrefix(line, extension+":")
			if !ok {
				continue
			}
			f := strings.Fields(rest)
			if names == nil {
				names = f
				continue
			}
			for i := range min(len(f), len(names)) {
				var n int64
				fmt.Sscan(f[i], &n)
				all[names[i]] = n
			}
		}
		return err
	})
	return all
}

func await(what string, within time.Duration, cond func() bool) error {
	for deadline := time.Now().Add(within); !cond(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: not within %v", what, within)
		}
	}
	return nil
}
