// SPDX-License-Identifier: Apache-2.0

package faults_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
	"spillway/testbed/await"
)

// traced is a daemon under ptrace(2): each system call by which it changes something outside itself is a step, and it can be
// killed at the entry of any of them, so that this one has not happened and all before it have.
type traced struct {
	dead  atomic.Int64  // kill at this step, counted from 1; 0: never
	count atomic.Int64  // steps so far
	names chan string   // of each step
	ended chan struct{} // the process is no more
	pid   atomic.Int64
}

// trace starts a command. Step dead, counted from 1, is not made any more.
func trace(tb testing.TB, cmd *exec.Cmd, dead int64) (*traced, error) {
	tb.Helper()
	t := &traced{names: make(chan string, 10_000), ended: make(chan struct{})}
	t.dead.Store(dead)
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the tracer is a thread
		defer runtime.UnlockOSThread()
		defer close(t.ended)
		cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		t.pid.Store(int64(cmd.Process.Pid))
		started <- nil
		t.follow(cmd.Process.Pid)
		cmd.Wait() // has been reaped: closes the output
	}()
	return t, await.Value(tb, "the start of a traced daemon", started)
}

// kill ends it at once, and waits until it has.
func (t *traced) kill(tb testing.TB) {
	tb.Helper()
	select {
	case <-t.ended:
		return // its number may be another's by now
	default:
	}
	unix.Kill(int(t.pid.Load()), unix.SIGKILL)
	await.Value(tb, "the end of a daemon that was killed", t.ended)
}

// follow runs the process, and its threads as they come, from system call to system call until it ends. Processes that it starts
// are not followed.
func (t *traced) follow(pid int) {
	const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_EXITKILL
	ready := false
	for {
		var status unix.WaitStatus
		tid, err := unix.Wait4(-1, &status, unix.WALL|unix.WNOTHREAD, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || tid == pid && (status.Exited() || status.Signaled()) {
			return
		}
		if !status.Stopped() {
			continue
		}
		if !ready {
			if err := unix.PtraceSetOptions(pid, options); err != nil {
				unix.Kill(pid, unix.SIGKILL)
			}
			ready = true
		}
		pass := 0
		switch s := status.StopSignal(); {
		case s == unix.SIGTRAP|0x80:
			t.call(pid, tid)
		case s == unix.SIGTRAP || s == unix.SIGSTOP: // an event, or a thread's beginning
		default:
			pass = int(s)
		}
		unix.PtraceSyscall(tid, pass) // fails when it has been killed meanwhile
	}
}

// call looks at a system call of a thread that has stopped at its entry or exit.
func (t *traced) call(pid, tid int) {
	var info struct { // struct ptrace_syscall_info of include/uapi/linux/ptrace.h
		op   uint8
		_    [3]uint8
		arch uint32
		_    [2]uint64
		nr   uint64
		args [6]uint64
		_    uint64
	}
	const getSyscallInfo, entry = 0x420e, 1
	if _, _, e := unix.Syscall6(unix.SYS_PTRACE, getSyscallInfo, uintptr(tid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0); e != 0 || info.op != entry {
		return
	}
	name := step(tid, info.nr, info.args)
	if name == "" {
		return
	}
	n := t.count.Add(1)
	select {
	case t.names <- name:
	default:
	}
	if n == t.dead.Load() {
		unix.Kill(pid, unix.SIGKILL)
	}
}

// step names a system call that changes something outside the process; "": it does not.
func step(tid int, nr uint64, args [6]uint64) string {
	switch nr {
	case unix.SYS_OPENAT:
		if args[2]&unix.O_ACCMODE == unix.O_RDONLY {
			return ""
		}
		return "open " + text(tid, args[1]) + " to write"
	case unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2:
		return "rename to " + text(tid, args[3])
	case unix.SYS_UNLINKAT:
		return "remove " + text(tid, args[1])
	case unix.SYS_MKDIRAT:
		return "make directory " + text(tid, args[1])
	case unix.SYS_CLONE:
		if args[0]&unix.CLONE_VFORK == 0 {
			return ""
		}
		return "run a command"
	case unix.SYS_BIND:
		return family(tid, args[1])
	case unix.SYS_LISTEN:
		return "listen"
	case unix.SYS_SENDTO:
		return request(memory(tid, args[1], min(args[2], 64)), args[2])
	case unix.SYS_WRITE:
		return request(memory(tid, args[1], min(args[2], 64)), args[2])
	case unix.SYS_SENDMSG: // struct msghdr: name, its length, vector of address and length
		word := uint64(unsafe.Sizeof(uintptr(0)))
		h := memory(tid, args[1], 4*word)
		if len(h) < int(4*word) {
			return ""
		}
		v := memory(tid, number(h[2*word:], word), 2*word)
		if len(v) < int(2*word) {
			return ""
		}
		n := number(v[word:], word)
		return request(memory(tid, number(v, word), min(n, 64)), n)
	}
	return ""
}

// request names a netlink message that changes something.
func request(b []byte, whole uint64) string {
	if len(b) < unix.NLMSG_HDRLEN+4 || uint64(binary.NativeEndian.Uint32(b)) != whole {
		return ""
	}
	kind, flags := binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint16(b[6:])
	if flags&unix.NLM_F_REQUEST == 0 || flags&unix.NLM_F_DUMP == unix.NLM_F_DUMP {
		return ""
	}
	if name, ok := map[uint16]string{unix.RTM_NEWROUTE: "add a route", unix.RTM_DELROUTE: "delete a route", unix.RTM_NEWRULE: "add a rule", unix.RTM_DELRULE: "delete a rule"}[kind]; ok {
		return name
	}
	if kind < unix.GENL_MIN_ID || kind == unix.GENL_ID_CTRL || kind >= 0x100 {
		return ""
	}
	return map[byte]string{1: "add an endpoint", 2: "delete an endpoint", 4: "flush endpoints", 5: "set limits", 7: "set an endpoint's flags"}[b[unix.NLMSG_HDRLEN]] // MPTCP_PM_CMD_*
}

func number(b []byte, word uint64) uint64 {
	if word == 4 {
		return uint64(binary.NativeEndian.Uint32(b))
	}
	return binary.NativeEndian.Uint64(b)
}

// memory reads what a thread has at an address; shorter where there is less.
func memory(tid int, at, n uint64) []byte {
	f, err := os.Open(fmt.Sprintf("/proc/%d/mem", tid))
	if err != nil {
		return nil
	}
	defer f.Close()
	b := make([]byte, n)
	k, _ := f.ReadAt(b, int64(at))
	return b[:k]
}

func text(tid int, at uint64) string {
	b := memory(tid, at, 128)
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return strings.TrimPrefix(string(b), "/proc/sys/")
}

func family(tid int, at uint64) string {
	b := memory(tid, at, 2)
	if len(b) < 2 {
		return "bind a socket"
	}
	switch binary.NativeEndian.Uint16(b) {
	case unix.AF_UNIX:
		return "bind the control socket"
	case unix.AF_NETLINK:
		return "" // a socket of its own
	}
	return "bind a socket"
}
