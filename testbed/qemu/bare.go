// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"spillway/testbed/qemu/guest"
	"spillway/testbed/traffic"
	"spillway/testbed/world"
)

// Bare tries what can be tried in a guest without nft, where nothing leads LAN traffic to the relay: the machine boots, the
// yardstick relays checked octets, and the daemon starts, sees both links, and sets routes, rules and MPTCP endpoints.
func (b Bench) Bare(dir string, out io.Writer) (err error) {
	slot := &Slot{Guest: b.Guest, Image: b.Image}
	w, err := world.Make(world.Config{Links: world.Two(), On: slot.On}, dir, b.Bin)
	if err != nil {
		return err
	}
	defer w.Close()
	m := slot.Machine
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\nthe console's end:\n%s", err, m.Console(3000))
		}
	}()
	fmt.Fprintf(out, "  %s on %s, big-endian: %v, %d MB; boot %.1f s by the guest's clock, %.1f by the host's\n",
		m.About.Kernel, m.About.Machine, m.About.Big, b.Guest.Memory, m.About.Boot, m.Took.Seconds())
	if err := errors.Join(w.StartServer(w.Dir), w.StartConcentrator(), m.Ask(guest.Request{Do: guest.Splice, Text: "0.0.0.0:7777 " + world.To("4")}, nil)); err != nil {
		return err
	}
	cost, err := b.cost(w, m, traffic.Demand{Kind: traffic.Get, Octets: 2_000_000, To: world.Router4 + ":7777"})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "  splice relay (the yardstick): %.1f Mbit/s, %.1f s of CPU per GiB by the machine\n", cost.Mbit, cost.Machine)
	if err := m.Ask(guest.Request{Do: guest.Signal, Signal: 9}, nil); err != nil {
		return err
	}
	if err := m.Ask(guest.Request{Do: guest.Start, Path: filepath.Join(w.Dir, "spillway.toml"), Text: w.TOML()}, nil); err != nil {
		return err
	}
	var status json.RawMessage
	err = world.WaitFor("a first link in the daemon's status", 60*time.Second, func() bool {
		time.Sleep(100 * time.Millisecond)
		s, err := w.Router.Status()
		if err != nil || len(s.Links) != 2 || s.Links[0].State != "first" {
			return false
		}
		status, err = w.Router.Control("status", nil)
		return err == nil
	})
	fmt.Fprintf(out, "  status: %s\n", status)
	return err
}
