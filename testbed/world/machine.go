// SPDX-License-Identifier: Apache-2.0

package world

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"spillway/testbed/linkemu"
	"spillway/testbed/netns"
)

// Machine is what the router runs on: the namespace cpe, or an emulated computer (testbed/qemu). The functions are called
// once each in this order, Script also later.
type Machine struct {
	Home   func() error                             // makes the LAN host's eth0, up, and the router's lan0 behind it
	Port   func(i int) (*linkemu.Port, error)       // makes the router's end of a link
	Ready  func(sysctls []string, nft string) error // all ends are there: settings and ruleset before the daemon
	Script func(lines string) error                 // lines of ip arguments
	Router Router
}

// local is the namespace cpe.
func (w *World) local() (Machine, error) {
	return Machine{
		Home: func() error { return netns.Veth(w.LAN, "eth0", w.CPE, LANDevice) },
		Port: func(i int) (*linkemu.Port, error) { return linkemu.Open(w.CPE, w.Links[i].Device, w.Links[i].Kind) },
		Ready: func(settings []string, nft string) error {
			if err := sysctls(w.CPE, settings...); err != nil {
				return err
			}
			return w.CPE.Run("nft", nft)
		},
		Script: w.CPE.Script,
		Router: w.daemon(),
	}, w.openCounters()
}

// daemon is a router that runs in the namespace cpe.
func (w *World) daemon() Router {
	var p *Process
	config, socket := filepath.Join(w.Dir, "spillway.toml"), w.socket()
	control := func(method string, args any) (json.RawMessage, error) { return call(socket, method, args) }
	write := func(text string) error { return os.WriteFile(config, []byte(text), 0o644) }
	r := Router{Control: control}
	return Router{
		Start: func(text string) (err error) {
			if err := write(text); err != nil {
				return err
			}
			if p, err = w.Start(w.CPE, "router", w.Bin.Spillway, "run", "-config", config); err != nil {
				return err
			}
			err = WaitFor("the daemon's control socket, its door and the rules that lead there", 30*time.Second, func() bool {
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
		Stop: func() error { return p.Stop(15 * time.Second) },
		Kill: func() error { p.Kill(); return nil },
		Reload: func(text string) error {
			if err := write(text); err != nil {
				return err
			}
			return p.Signal(syscall.SIGHUP)
		},
		Control: control,
		CPU:     func() time.Duration { return p.CPU() },
		Log:     func() string { return p.Text() },
	}
}
