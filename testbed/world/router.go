// SPDX-License-Identifier: Apache-2.0

package world

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"
)

// Router is the device under test. In a world of its own it is a daemon in the namespace cpe; an emulated router fills
// the same fields in its own way, and the scenarios can't tell.
type Router struct {
	Start   func(config string) error // returns when LAN connections are relayed, or the start has failed
	Stop    func() error              // as an init script would
	Kill    func() error              // SIGKILL
	Reload  func(config string) error
	Control func(method string, args any) (json.RawMessage, error) // a command of the control socket
	CPU     func() time.Duration                                   // processor time of the daemon
	Log     func() string
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
	c.SetDeadline(time.Now().Add(10 * time.Second))
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
	Doors    struct{ Open bool }
	Links    []struct{ Name, State, Why string }
	Counters map[string]uint64
}

// Status asks the router for its status.
func (r Router) Status() (s Status, err error) {
	b, err := r.Control("status", nil)
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(b, &s)
}
