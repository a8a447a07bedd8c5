// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"spillway/config"
	"spillway/kernel"
	"spillway/linkmon"
	"spillway/policy"
	"spillway/relay"
	"spillway/ubus/netifd"
)

// Here the configuration becomes each room's own. Pure but for the machine's memory size, which is passed in.

// linkmonConfig is what linkmon shall watch. devices are the links' kernel devices, which netifd may have named.
func linkmonConfig(c *config.Config, devices []string) linkmon.Config {
	out := linkmon.Config{OwnTable: kernelNumbers(c).OwnTable}
	for i, l := range c.Links {
		out.Links = append(out.Links, linkmon.LinkConfig{Name: l.Name, Device: devices[i], DownBit: l.DownBit, UpBit: l.UpBit})
	}
	return out
}

// kernelNumbers are ours in the kernel: the usual ones, but for those that are configured.
func kernelNumbers(c *config.Config) kernel.Numbers {
	n := kernel.Usual()
	if m := c.Numbers; m.MarkMask > 0 {
		n.Mark = m.MarkMask
	}
	if m := c.Numbers; m.Table > 0 {
		n.Table = m.Table
	}
	if m := c.Numbers; m.Priority > 0 {
		n.Priority = m.Priority
	}
	if m := c.Numbers; m.Endpoint > 0 {
		n.Endpoint = m.Endpoint
	}
	return n
}

// policyConfig is what the owner wants of the links. said decides the roles that are not written.
func policyConfig(c *config.Config, said netifd.State) policy.Config {
	p := c.Policy
	mode, _ := policy.ParseMode(p.Mode) // config allows no other names
	out := policy.Config{
		Mode: mode, OverflowEnter: p.OverflowEnter, OverflowEnterFor: p.OverflowEnterFor,
		OverflowLeave: p.OverflowLeave, OverflowLeaveFor: p.OverflowLeaveFor, HoldUp: p.HoldUp, NoGuard: !p.NeverWorse,
		Standby: map[string]policy.StandbyMode{"off": policy.StandbyOff, "busy": policy.StandbyBusy, "on": policy.StandbyOn}[p.Standby],
	}
	// Each connection's first subflow is where its class wants it with path_manager "user".
	spread := p.Mode == "bond" && p.PathManager != "user" && slices.ContainsFunc(c.Links, func(l config.Link) bool { return l.Weight > 1 })
	links, _ := roled(c.Links, said)
	for _, l := range links {
		role, _ := policy.ParseRole(l.Role)
		link := policy.LinkConfig{Name: l.Name, Role: role, DownBit: l.DownBit, UpBit: l.UpBit, Metered: l.Metered, Line: l.Device + " " + l.Interface,
			Quota: policy.Quota{Limit: l.Quota.Limit, Soft: uint64(l.Quota.SoftShare * float64(l.Quota.Limit)), Daily: l.Quota.Daily, BillingDay: l.Quota.BillingDay}}
		if spread {
			link.Weight = float64(l.Weight)
		}
		for _, h := range l.AllowHours {
			link.Quota.Windows = append(link.Quota.Windows, policy.Window{From: h.From, To: h.To})
		}
		out.Links = append(out.Links, link)
	}
	return out
}

// connectWithin is how long a connection may take to reach its server. A full line with a deep buffer delays the handshake by
// seconds, and loses some of its packets: RFC 6298 asks for a second before the first repetition, and doubles it.
const connectWithin = 15 * time.Second

// relayConfig is what the relay must know. addrs are the concentrators' resolved addresses, by their index; numbers are the
// rules'.
func relayConfig(c *config.Config, addrs [][]netip.AddrPort, numbers map[string]int) relay.Config {
	out := relay.Config{
		Block:          c.Policy.OnConcentratorDown == "block",
		ConnectTimeout: connectWithin,
		MaxSessions:    c.Relay.MaxSessions, MaxPerHost: c.Relay.MaxPerHost, IdleTimeout: c.Relay.IdleTimeout, DrainTimeout: c.Relay.StopWithin,
		NativeBypass: c.Relay.NativeServers == "bypass", IgnoreDSCP: c.Relay.DSCP == "clear", Race: c.Relay.Race, Warm: c.Relay.Warm, Faithful: c.Relay.Faithful,
		Rules: relayRules(c, numbers), RuleMask: kernelNumbers(c).MarkRule(),
	}
	for i, u := range c.Concentrators {
		if len(addrs[i]) == 0 && u.Protocol != "transparent" {
			continue // its name is not resolved yet
		}
		out.Upstreams = append(out.Upstreams, relay.Upstream{Name: u.Name, Protocol: u.Protocol, Addrs: addrs[i], FastOpen: u.FastOpen,
			User: u.User, Password: u.Password, Cookie: u.Cookie, Pipeline: u.Pipeline, Priority: u.Priority, Weight: u.Weight})
	}
	return out
}

// nftTable is nft's share. addrs as in relayConfig; the ports are the door's.
func nftTable(c *config.Config, devices []string, addrs [][]netip.AddrPort, numbers map[string]int, port4, port6 uint16) kernel.Table {
	out := kernel.Table{Numbers: kernelNumbers(c), Interfaces: c.LAN.Interfaces, Links: known(devices), Door4: port4, Door6: port6, RelayNative: c.LAN.NativeMPTCP == "relay",
		Rules: tableRules(c.Rules, numbers)}
	for _, a := range addrs {
		out.Concentrators = append(out.Concentrators, a...)
	}
	return out
}

// transparent tells whether the relay makes connections with LAN hosts' own addresses.
func transparent(c *config.Config) bool {
	return slices.ContainsFunc(c.Concentrators, func(u config.Concentrator) bool { return u.Protocol == "transparent" })
}

// inward are the interfaces from which packets for other machines may be the relay's.
func inward(lan, devices []string, transparent bool) []string {
	if !transparent {
		return lan
	}
	return slices.Concat(lan, known(devices))
}

// window is when a rule holds.
func window(r config.Rule) kernel.Window {
	var w kernel.Window
	for _, d := range r.Days {
		w.Days[d] = true
	}
	if r.Hours != nil {
		w.From, w.To = time.Duration(r.Hours.From)*time.Minute, time.Duration(r.Hours.To)*time.Minute
	}
	return w
}

func parseMAC(s string) kernel.MAC {
	var m kernel.MAC
	for i, part := range strings.Split(s, ":") {
		b, _ := strconv.ParseUint(part, 16, 8) // config has checked it
		if i < len(m) {
			m[i] = byte(b)
		}
	}
	return m
}

// receiveBuffer is the receive window of a bonded connection in octets: configured, else a 64th of the memory, between
// 512 KiB and 4 MiB. Too small a window makes two links together slower than one, as the slow one's data holds up the fast one's.
func receiveBuffer(configured int, memory uint64) int {
	if configured > 0 {
		return configured
	}
	return int(min(max(memory/64, 512<<10), 4<<20))
}

// onlyPrimary tells whether the router's own DSL modem can only be the one primary's.
func onlyPrimary(links []config.Link) bool {
	n := 0
	for _, l := range links {
		if l.Role == "primary" {
			n++
		}
	}
	return n == 1
}

// known are the devices whose names are known by now.
func known(devices []string) []string {
	return slices.DeleteFunc(slices.Clone(devices), func(d string) bool { return d == "" })
}
