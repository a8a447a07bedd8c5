// SPDX-License-Identifier: Apache-2.0

package world

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Router is the device under test. In a world of its own it is a daemon in the namespace cpe; an emulated router fills
// the same fields in its own way, and the scenarios can't tell.
type Router struct {
	Start   func(config string) error // returns when LAN connections are relayed, or the start has failed
	Stop    func() error              // as an init script would
	Kill    func() error              // SIGKILL
	Freeze  func(on bool) error       // SIGSTOP, SIGCONT
	Reload  func(config string) error
	Control func(method string, args any) (json.RawMessage, error) // a command of the control socket
	CPU     func() time.Duration                                   // processor time of the daemon
	Usage   func() (Usage, error)                                  // what the daemon holds; nil: not told
	Log     func() string
}

// local is a router that runs in the namespace cpe.
func (w *World) local() Router {
	var p *Process
	var running atomic.Pointer[Process] // p, for those who count while it is restarted
	config, socket := filepath.Join(w.Dir, "spillway.toml"), w.socket()
	control := func(method string, args any) (json.RawMessage, error) { return call(socket, method, args) }
	write := func(text string) error { return os.WriteFile(config, []byte(text), 0o644) }
	r := Router{Control: control}
	return Router{
		Start: func(text string) (err error) {
			if err := write(text); err != nil {
				return err
			}
			if p, err = w.Start(w.CPE, "router", w.router("run", "-config", config)...); err != nil {
				return err
			}
			running.Store(p)
			err = WaitFor("the daemon's control socket, its door and the rules that lead there", 2*time.Minute, func() bool {
				s, err := r.Status()
				return !p.Running() || err == nil && s.Doors.Open && w.leadsToDoor()
			})
			if !p.Running() {
				err = fmt.Errorf("the daemon ended: %v", p.err)
			}
			if err != nil {
				return fmt.Errorf("%w\n%s", err, p.Text())
			}
			return nil
		},
		Stop:   func() error { return p.Stop(time.Minute) },
		Kill:   func() error { p.Kill(); return nil },
		Freeze: func(on bool) error { return p.Signal(stopOrGo(on)) },
		Reload: func(text string) error {
			if err := write(text); err != nil {
				return err
			}
			return p.Signal(syscall.SIGHUP)
		},
		Control: control,
		CPU: func() time.Duration {
			if q := running.Load(); q != nil {
				return q.CPU()
			}
			return 0
		},
		Log:   func() string { return p.Text() },
		Usage: func() (Usage, error) { return w.usage(p, r) },
	}
}

func stopOrGo(stop bool) syscall.Signal {
	if stop {
		return syscall.SIGSTOP
	}
	return syscall.SIGCONT
}

// leadsToDoor is whether LAN connections are sent to the relay: until then the kernel forwards them.
func (w *World) leadsToDoor() bool {
	out, err := w.CPE.Output("nft", "list", "table", "inet", "spillway")
	return err == nil && strings.Contains(out, "tproxy ip to") && strings.Contains(out, "tproxy ip6 to")
}

func (w *World) socket() string { return filepath.Join(w.Dir, "control") }

// call asks the control socket: a line of JSON each way.
func call(socket, method string, args any) (json.RawMessage, error) {
	c, err := net.DialTimeout("unix", socket, 5*time.Second)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	if args == nil {
		args = struct{}{}
	}
	if err := json.NewEncoder(c).Encode(map[string]any{"method": method, "args": args}); err != nil {
		return nil, err
	}
	line, err := bufio.NewReaderSize(c, 1<<16).ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	var answer struct {
		Result json.RawMessage
		Error  string
	}
	if err := json.Unmarshal(line, &answer); err != nil {
		return nil, fmt.Errorf("control socket's answer %q: %w", line, err)
	}
	if answer.Error != "" {
		return nil, fmt.Errorf("control socket: %s: %s", method, answer.Error)
	}
	return answer.Result, nil
}

// Status is what the testbed reads of the daemon's status.
type Status struct {
	State    string
	Why      string
	Sessions int
	Doors    struct {
		Open       bool
		IPv4, IPv6 uint16
	}
	Links    []struct{ Name, State, Why string }
	Counters map[string]uint64

	Goroutines   int
	NativeNewest []string `json:"native_newest"`
}

// Status asks the router for its status.
func (r Router) Status() (s Status, err error) {
	b, err := r.Control("status", nil)
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(b, &s)
}
