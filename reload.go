// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"spillway/config"
	"spillway/kernel"
	"spillway/relay"
)

// currentConfig is the configuration in force, for any goroutine.
func (h *house) currentConfig() *config.Config { return h.shared.Load() }

// reload reads the configuration anew and applies it. Established connections go on. A configuration that is not good is refused
// whole, and the one in force stays.
func (h *house) reload(ctx context.Context) (*Reloaded, error) {
	h.reloading.Lock() // whoever reads later adopts later
	defer h.reloading.Unlock()
	c, err := config.Load(h.file)
	if err != nil {
		return nil, err
	}
	answer := &Reloaded{NeedRestart: needRestart(h.currentConfig(), c)}
	if e := h.call(ctx, func() { err = h.adopt(c) }); e != nil {
		return nil, e
	}
	if err != nil {
		return nil, err
	}
	select {
	case h.rename <- struct{}{}:
	default:
	}
	h.log.Info("configuration reloaded", "file", h.file)
	if len(answer.NeedRestart) > 0 { // a signal has nobody to tell
		h.log.Warn("what changed here applies at the next start of the daemon", "keys", strings.Join(answer.NeedRestart, " "))
	}
	return answer, nil
}

// needRestart lists what changed and applies only at the next start.
func needRestart(old, new *config.Config) []string {
	keys := []string{}
	add := func(key string, changed bool) {
		if changed {
			keys = append(keys, key)
		}
	}
	add("daemon.control", old.Daemon.Control != new.Daemon.Control)
	add("daemon.state", old.Daemon.State != new.Daemon.State)
	add("daemon.ubus", old.Daemon.Ubus != new.Daemon.Ubus)
	add("numbers", old.Numbers != new.Numbers)
	add("policy.path_manager", old.Policy.PathManager != new.Policy.PathManager)
	return keys
}

// adopt makes a configuration the one in force, or returns an error and changes nothing. Links keep what is known of them, by name.
func (h *house) adopt(c *config.Config) error {
	old, addrs, numbers := h.cfg, h.addrs, h.numbers
	c.Daemon, c.Numbers = old.Daemon, old.Numbers // at the next start: under these our things are in the kernel
	c.Policy.PathManager = old.Policy.PathManager
	names := devicesOf(c.Links, h.network)
	watched := linkmonConfig(c, names)
	if err := watched.Validate(); err != nil {
		return fmt.Errorf("%s: %w", h.file, err)
	}
	h.cfg, h.addrs, h.numbers = c, addressesOf(c, old, addrs), numberRules(c.Rules, numbers)
	if err := h.relay.SetConfig(h.relayConfig()); err != nil {
		h.cfg, h.addrs, h.numbers = old, addrs, numbers
		return fmt.Errorf("%s: %w", h.file, err)
	}
	if !sameLinks(old, c) {
		senses := make([]sense, len(c.Links))
		for i, l := range c.Links {
			if j := linkNamed(old.Links, l.Name); j >= 0 {
				senses[i] = h.senses[j]
			}
		}
		h.senses, h.paths = senses, make([]pathState, len(c.Links))
		h.joined, h.repeats, h.reached = make([]bool, len(c.Links)), make([]repeat, len(c.Links)), make([]bool, len(c.Links))
		if h.steering != nil {
			clear(h.steering.conns) // of other links
		}
		h.snap.Links = nil // until the monitor has looked at the new ones
	}
	h.names = names
	h.monitor.SetConfig(watched) // is valid
	h.transparent = h.transparent || transparent(c)
	h.machine.Reconfigure(policyConfig(c, h.network))
	h.tellRoles()
	h.setCapacities()
	h.setModems()
	h.shared.Store(c)
	if old.Relay.Faithful != c.Relay.Faithful {
		select {
		case h.rehold <- struct{}{}:
		default:
		}
	}
	h.log.SetLevel(logLevel(c.LogLevel))
	h.sysctl = sysctlCache{}
	h.render()
	return nil
}

// addressesOf are those that the concentrators had before. Names are the resolver's task; the loop doesn't wait for it.
func addressesOf(c, old *config.Config, before [][]netip.AddrPort) [][]netip.AddrPort {
	addrs := literal(c.Concentrators)
	for i, u := range c.Concentrators {
		if j := slices.IndexFunc(old.Concentrators, func(o config.Concentrator) bool {
			return o.Address == u.Address && o.Port == u.Port && o.Learn == u.Learn
		}); j >= 0 {
			addrs[i] = before[j]
		}
	}
	return addrs
}

// sameLinks tells whether the links are the same ones in the same order; then nothing about them is forgotten.
func sameLinks(a, b *config.Config) bool {
	return slices.EqualFunc(a.Links, b.Links, func(x, y config.Link) bool {
		return x.Name == y.Name && x.Device == y.Device && x.Interface == y.Interface
	})
}

// setCapacities tells the learners what is configured.
func (h *house) setCapacities() {
	for i, l := range h.cfg.Links {
		h.senses[i].down.Configured, h.senses[i].up.Configured = l.DownBit, l.UpBit
		h.senses[i].timing = timing{} // the mode may be another
	}
}

// resolved are the addresses of a configuration's concentrators.
type resolved struct {
	of    *config.Config
	addrs [][]netip.AddrPort
}

// adoptAddresses takes the concentrators' newly resolved addresses. Where there is no answer those before it stay.
func (h *house) adoptAddresses(r resolved) {
	if r.of != h.cfg {
		return // of the configuration before
	}
	h.addrs = slices.Clone(h.addrs)
	for i, addrs := range r.addrs {
		if len(addrs) > 0 {
			h.addrs[i] = addrs
		}
	}
	if err := h.relay.SetConfig(h.relayConfig()); err != nil {
		h.log.Warn("concentrators' addresses", "error", err)
	}
	h.render()
}

// adoptDevices takes what netifd says of the links' devices.
func (h *house) adoptDevices(names []string) {
	if len(names) != len(h.names) || slices.Equal(names, h.names) {
		return
	}
	if err := h.monitor.SetConfig(linkmonConfig(h.cfg, names)); err != nil {
		h.log.Warn("devices named by netifd", "error", err)
		return
	}
	h.names = names
	h.render()
}

// render makes the nft text anew: something it is made of changed, or a time window begins or ends.
func (h *house) render() {
	port4, port6 := h.relay.Ports()
	t := nftTable(h.cfg, h.names, h.addrs, h.numbers, port4, port6)
	t.Conntrack, t.Transparent, t.Queue, t.Burst = kernel.HasConntrack(), h.transparent, h.notHeld == nil, h.relay.Queue()
	now := time.Now()
	h.rendered, h.edge = now.Round(0), t.NextChange(now)
	set, err := kernel.Render(t.At(now))
	if err != nil {
		h.log.Error("the rules do not make an nft table; keeping the one before", "error", err)
		return
	}
	h.ruleset = set
}

// sysctlCache holds the sysctls, which change only with the devices that are there.
type sysctlCache struct {
	devices []string
	values  map[string]string
}

// sysctls are the wanted ones.
func (h *house) sysctls() map[string]string {
	var devices []string
	for i := range h.snap.Links {
		if h.snap.Links[i].Present {
			devices = append(devices, h.snap.Links[i].Device)
		}
	}
	if h.sysctl.values == nil || !slices.Equal(devices, h.sysctl.devices) {
		h.sysctl = sysctlCache{devices, h.kernel.Sysctls(kernel.SysctlOptions{
			Devices: devices, FastOpenNoCookie: !h.features.FastOpenNoCookie, ReceiveMax: receiveBuffer(h.cfg.Relay.ReceiveBuffer, memory()),
			AcceptMark: len(h.numbers) > 0, UserManager: h.steering != nil,
		})}
	}
	return h.sysctl.values
}

// relayConfig is the relay's, of what is in force.
func (h *house) relayConfig() relay.Config {
	c := relayConfig(h.cfg, h.addrs, h.numbers)
	m := ourMeans()
	c.MaxSessions = sessionsWithin(c.MaxSessions, m)
	c.Queue = queueWithin(c.MaxSessions, m)
	if h.steering != nil {
		c.Apart, c.Mark = true, classMark(kernelNumbers(h.cfg), markAny)
	}
	return c
}
