// SPDX-License-Identifier: Apache-2.0

// Package guest is what the host and the program inside an emulated router say to each other: a JSON line each way over a
// virtio serial port, one request after the other. testbed/qemu/guest/init is that program.
package guest

import (
	"encoding/json"
	"time"
)

// Job is what an emulated PC does: one command, whose end it answers with the exit code as the result.
type Job struct {
	Command []string `json:"command"`
	Dir     string   `json:"dir"`
	Env     []string `json:"env"` // NAME=VALUE, all there is
}

// Kept is the directory of an emulated PC whose files are the host's and stay.
const Kept = "/kept"

// Request asks the guest for one thing.
type Request struct {
	Do     Verb              `json:"do"`
	Path   string            `json:"path,omitempty"`
	Text   string            `json:"text,omitempty"`
	Signal int               `json:"signal,omitempty"`
	Names  map[string]string `json:"names,omitempty"`  // device names by hardware address
	Script string            `json:"script,omitempty"` // of Start: a file of shell that becomes the daemon
}

// Verb names what to do.
type Verb string

const (
	Hello   Verb = "hello"   // result: About
	Name    Verb = "name"    // name the devices of Names and set them up
	Sysctl  Verb = "sysctl"  // each line of Text is name=value
	IP      Verb = "ip"      // each line of Text is arguments of ip: of addr and route the few forms that the testbed uses
	NFT     Verb = "nft"     // Text is a ruleset; "": result is the one that there is
	Shell   Verb = "shell"   // Text is lines of shell
	Start   Verb = "start"   // write Text to Path and run the daemon with this configuration
	Write   Verb = "write"   // write Text to Path
	Read    Verb = "read"    // result: the content of Path
	Signal  Verb = "signal"  // send Signal to the daemon
	Ended   Verb = "ended"   // result: whether the daemon has ended, as a string of how; "": it runs
	Control Verb = "control" // send the line Text to the control socket Path; result: the answer's line
	Measure Verb = "measure" // result: Usage; with the text Brief no exact memory, for which all pages are walked through
	Splice  Verb = "splice"  // run the yardstick relay with the argument Text, "LISTEN CONNECT"; it is measured instead of the daemon from then on
	Halt    Verb = "halt"    // switch the machine off
)

// Brief is for Measure.
const Brief = "brief"

// Answer is what became of a request.
type Answer struct {
	Error  string          `json:"error,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
}

// About is what the guest is.
type About struct {
	Kernel  string  `json:"kernel"`  // release
	Machine string  `json:"machine"` // as uname says
	Boot    float64 `json:"boot"`    // seconds of the guest's clock from the kernel's start to this answer
	Total   int64   `json:"total"`   // octets of memory that the kernel manages
	Big     bool    `json:"big"`     // big-endian
}

// Usage is what the daemon and the machine have used so far.
type Usage struct {
	RSS       int64         `json:"rss"`  // octets, of the daemon
	Anon      int64         `json:"anon"` // its part that is the daemon's own
	File      int64         `json:"file"` // its part that is pages of the program, which the kernel can drop and read again
	Peak      int64         `json:"peak"` // the most it was
	CPU       time.Duration `json:"cpu"`  // of the daemon, user and system
	Busy      time.Duration `json:"busy"` // of the machine, everything but idle
	Available int64         `json:"available"`
	Files     int           `json:"files"` // descriptors of the daemon
	OOM       int64         `json:"oom"`   // processes killed for want of memory
	Now       int64         `json:"now"`   // the guest's clock, Unix ns
}
