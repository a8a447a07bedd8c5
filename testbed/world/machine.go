// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"spillway/testbed/linkemu"
	"spillway/testbed/netns"
)

// Machine is what the router runs on when that is not the namespace cpe: an emulated computer (testbed/qemu). The world
// calls Home, then Port for each link, then Ready, and Script at any time.
type Machine struct {
	Home   func() error                                                            // makes the LAN host's eth0, up, and the router's lan0 behind it
	Port   func(_ *netns.NS, device string, _ linkemu.Kind) (*linkemu.Port, error) // makes the router's end of a link
	Ready  func(sysctls []string, nft string) error                                // all ends are there: settings and ruleset before the daemon
	Script func(lines string) error                                                // lines of ip arguments
	Shell  func(lines string) error                                                // lines of shell, as root
	Read   func(path string) (string, error)                                       // the content of a file
	Wrap   func(lines string)                                                      // a shell does lines before it becomes the daemon
	Router Router
}

// home makes the cable between the LAN host and the router.
func (w *World) home() error {
	if w.machine != nil {
		return w.machine.Home()
	}
	return netns.Veth(w.LAN, "eth0", w.CPE, LANDevice)
}

// atRouter runs lines of ip arguments where the router is.
func (w *World) atRouter(lines string) error {
	if w.machine != nil {
		return w.machine.Script(lines)
	}
	return w.CPE.Script(lines)
}

// Own is whether the router is a machine of its own, whose clock and memory are nobody else's.
func (w *World) Own() bool { return w.machine != nil }

// OnRouter runs lines of shell where the router is.
func (w *World) OnRouter(lines ...string) error {
	text := strings.Join(lines, "\n")
	if w.machine != nil {
		return w.machine.Shell(text)
	}
	return w.CPE.Run("sh", "-ec", text)
}

// SetOnRouter sets a sysctl, its name with dots, where the router is.
func (w *World) SetOnRouter(name, value string) error {
	if w.machine != nil {
		return w.machine.Shell(fmt.Sprintf("echo %q >/proc/sys/%s", value, strings.ReplaceAll(name, ".", "/")))
	}
	return w.CPE.Sysctl(name, value)
}

// Wrap has the router's daemon started by a shell that runs lines first: limits, mounts of its own.
func (w *World) Wrap(lines ...string) error {
	text := strings.Join(lines, "\n")
	if w.machine != nil {
		w.machine.Wrap(text)
		return nil
	}
	path := filepath.Join(w.Dir, "spillway.sh")
	text = "#!/bin/sh\nset -e\n" + text + "\nexec " + w.Bin.Spillway + " \"$@\"\n"
	w.Bin.Spillway = path
	return os.WriteFile(path, []byte(text), 0o755)
}

// everywhere is what each machine of the world has set.
func everywhere() []string {
	return []string{"net.ipv4.tcp_no_metrics_save=1",
		"net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1",
		"net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.default.accept_ra=0"}
}

// asSmall is what a namespace that plays a router has instead of the host's: the buffers of a machine with 512 MB. Their limit decides
// how far windows are scaled.
var asSmall = []string{"net.ipv4.tcp_rmem=4096 131072 4194304"}

// asNetifd is what the router has set besides: a line without carrier is no route.
var asNetifd = []string{"net.ipv4.conf.all.ignore_routes_with_linkdown=1", "net.ipv4.conf.default.ignore_routes_with_linkdown=1",
	"net.ipv6.conf.all.ignore_routes_with_linkdown=1", "net.ipv6.conf.default.ignore_routes_with_linkdown=1"}

const outOfHome = "oifname != { lo, " + LANDevice + " }"

// masquerading translates addresses on the way out.
func masquerading(match string) string {
	return "table inet provider { chain out { type nat hook postrouting priority 100; " + match + " masquerade; }; }"
}
