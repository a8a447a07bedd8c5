// SPDX-License-Identifier: Apache-2.0

package world

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"spillway/testbed/netns"
)

// Process is a program that runs in a namespace, its output in a log.
type Process struct {
	Log  string // path
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// Start runs a program in a namespace; Close ends it at the latest.
func (w *World) Start(ns *netns.NS, name string, args ...string) (*Process, error) {
	log, err := os.OpenFile(filepath.Join(w.Dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p := &Process{Log: log.Name(), cmd: ns.Command(args[0], args[1:]...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:   true,            // Ctrl-C is ours to handle
		Pdeathsig: syscall.SIGKILL, // should this process be killed, nothing of the world stays behind
	}
	started := make(chan error)
	w.spawn <- func() { started <- p.cmd.Start() }
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	w.atClose(func() { p.Stop(5 * time.Second) })
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// spawner starts processes for a world on one thread that outlives them: a parent's death, as Pdeathsig has it, is that
// of the thread.
func spawner(work <-chan func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for fn := range work {
		fn()
	}
}

// Running is whether it has not ended yet.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Pid is the process's id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Signal sends a signal.
func (p *Process) Signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// Stop asks it to end, and makes it after a while. The error is the process's own.
func (p *Process) Stop(within time.Duration) error {
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return p.err
	case <-time.After(within):
		p.Kill()
		return fmt.Errorf("process %d did not end within %v", p.Pid(), within)
	}
}

// Kill ends it without a chance to tidy up.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.done
}

// Text is the log so far.
func (p *Process) Text() string {
	b, _ := os.ReadFile(p.Log)
	return string(b)
}

// CPU is the processor time used so far, user and system.
func (p *Process) CPU() time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid()))
	_, rest, ok := strings.Cut(string(b), ") ")
	if err != nil || !ok {
		return 0
	}
	var user, system int64
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0
	}
	fmt.Sscan(f[11], &user)
	fmt.Sscan(f[12], &system)
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100 everywhere
}

// WaitFor polls until a condition holds; the error says what was awaited.
func WaitFor(what string, within time.Duration, cond func() bool) error {
	deadline := time.Now().Add(within)
	for !cond() {
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: not within %v", what, within)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}

// ask runs a program in a namespace with JSON in and JSON out.
func ask(cmd *exec.Cmd, in, out any) error {
	request, err := json.Marshal(in)
	if err != nil {
		return err
	}
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(request), &stderr
	answer, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", cmd.Path, err, &stderr)
	}
	return json.Unmarshal(answer, out)
}
