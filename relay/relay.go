// SPDX-License-Identifier: Apache-2.0

// Package relay carries LAN TCP connections to an upstream (an RFC 8803 converter, a SOCKS proxy) over MPTCP.
//
// The way of a connection: the door accepts it, its local address is where the host wanted to go; session picks
// rule, link and upstream, dials, speaks the upstream's few octets and hands both sockets to the engine, which
// copies until both ends are done. A failure anywhere is a RST to the LAN host, never a FIN.
//
// The listening sockets are the switch: while they are closed, the firewall's tproxy statement finds no socket and
// the kernel forwards natively. The relay closes them itself when it is full or, unless Config.Block, when every
// upstream is out.
package relay

import (
	"context"
	"log/slog"
	"os"
)

// Relay is the room. Its methods may be called from any goroutine.
type Relay struct{}

// New checks the configuration and prepares a relay; nothing listens yet.
func New(cfg Config, log *slog.Logger) (*Relay, error) { return &Relay{}, cfg.Validate() }

// Run serves until ctx ends, then closes the door, lets connections finish for Config.DrainTimeout, resets the
// rest and returns nil.
func (r *Relay) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// SetPlan tells on which links new connections go. Established ones are not touched.
func (r *Relay) SetPlan(p Plan) {}

// SetConfig replaces the configuration; established connections keep what they were given. An invalid one is
// refused and the old one stays.
func (r *Relay) SetConfig(cfg Config) error { return cfg.Validate() }

// OpenDoor listens on 127.0.0.1:port4 and [::1]:port6 for intercepted connections; 0 lets the kernel choose (see
// Ports). The relay may hold the door closed for a while by itself, see the package comment.
func (r *Relay) OpenDoor(port4, port6 uint16) error { return nil }

// CloseDoor closes the listening sockets; established connections go on.
func (r *Relay) CloseDoor() {}

// Ports tells the door's ports; once chosen they stay. 0: no such family on this machine, or never opened.
func (r *Relay) Ports() (port4, port6 uint16) { return 0, 0 }

// OnState names a function that is called, without locks held, when the door opens or closes or an upstream's
// health changes. Call it before Run.
func (r *Relay) OnState(fn func()) {}

// Listeners gives duplicates of the listening sockets for a successor process; AdoptListeners takes them instead
// of OpenDoor. The caller closes the files.
func (r *Relay) Listeners() ([]*os.File, error) { return nil, nil }

// AdoptListeners is OpenDoor with sockets of a predecessor. The files may be closed afterwards.
func (r *Relay) AdoptListeners(files []*os.File) error { return nil }

// Flows lists established connections in the order of their start, limit at most, after skipping offset.
func (r *Relay) Flows(offset, limit int) []Flow { return nil }

// Stats gives the counters.
func (r *Relay) Stats() Stats { return Stats{} }

// Upstreams tells the health of each upstream in the order of the configuration.
func (r *Relay) Upstreams() []UpstreamStatus { return nil }
