// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// minIdle is the least idle timeout of an established connection (RFC 5382, REQ-5).
const minIdle = 2*time.Hour + 4*time.Minute

// build turns the raw file into clean values; errors are collected in p.
func (p *parser) build(raw *rawFile) *Config {
	c := &Config{
		lines:    p.lines,
		LogLevel: p.choice("log.level", raw.Log.Level, "info", "debug", "warn", "error"),
		Daemon: Daemon{
			Control: or(raw.Daemon.Control, "/var/run/spillway.sock"),
			State:   or(raw.Daemon.State, "/etc/spillway/usage.json"),
			Ubus:    or(raw.Daemon.Ubus, "auto"),
		},
		LAN: LAN{
			Interfaces:  raw.LAN.Interfaces,
			NativeMPTCP: p.choice("lan.native_mptcp", raw.LAN.NativeMPTCP, "pass", "relay"),
		},
		Numbers: Numbers{
			MarkMask: uint32(p.number("numbers.mark_mask", raw.Numbers.MarkMask, 0, 1, 0xffffffff)),
			Table:    uint32(p.number("numbers.table", raw.Numbers.Table, 0, 256, 1<<31-64)),
			Priority: uint32(p.number("numbers.priority", raw.Numbers.Priority, 0, 1, 32000)),
			Endpoint: uint8(p.number("numbers.endpoint", raw.Numbers.Endpoint, 0, 64, 255)),
		},
		Policy: p.policy(&raw.Policy),
		Relay:  p.relay(&raw.Relay),
	}
	if m := c.Numbers.MarkMask; m != 0 && bits.OnesCount32(m) != 8 {
		p.fail("numbers.mark_mask", "%#x has %d bits set; write a mask of eight, e.g. 0xff000000", m, bits.OnesCount32(m))
	}
	if len(c.LAN.Interfaces) == 0 {
		p.fail("lan.interfaces", "missing: name the interfaces whose TCP is relayed, e.g. interfaces = [\"br-lan\"]")
	}
	for _, name := range c.LAN.Interfaces {
		p.device("lan.interfaces", name)
	}
	for i := range raw.Link {
		c.Links = append(c.Links, p.link(i, &raw.Link[i]))
	}
	p.links(c)
	for i := range raw.Concentrator {
		c.Concentrators = append(c.Concentrators, p.concentrator(i, &raw.Concentrator[i]))
	}
	p.names(c, raw)
	if len(c.Concentrators) == 0 {
		p.fail("concentrator", "missing: at least one [[concentrator]] with an address and a port")
	}
	for i := range raw.Rule {
		c.Rules = append(c.Rules, p.rule(i, &raw.Rule[i]))
	}
	p.rules(c)
	return c
}

// links checks what holds between links.
func (p *parser) links(c *Config) {
	if len(c.Links) == 0 {
		p.fail("link", "missing: at least one [[link]] with a name and a device")
		return
	}
	p.unique("link", "name", len(c.Links), func(i int) string { return c.Links[i].Name })
	p.unique("link", "device", len(c.Links), func(i int) string { return c.Links[i].Device })
	p.unique("link", "interface", len(c.Links), func(i int) string { return c.Links[i].Interface })
	primary := slices.ContainsFunc(c.Links, func(l Link) bool { return l.Role == "primary" })
	if !primary {
		p.fail("link[0].role", "no link has role \"primary\"; give it to the line that is to be used first")
	}
	if len(c.Links) > 8 {
		p.fail("link[8]", "%d links; the kernel's path manager takes 8 at most", len(c.Links))
	}
	for i, l := range c.Links {
		if l.Interface != "" && c.Daemon.Ubus == "off" {
			p.fail(key("link", i, "interface"), "netifd is asked over ubus, which daemon.ubus = \"off\" forbids; give the kernel's device")
		}
		if l.Device != "" && slices.Contains(c.LAN.Interfaces, l.Device) {
			p.fail(key("link", i, "device"), "%q is a LAN interface too; a link is a line to the Internet", l.Device)
		}
	}
}

func (p *parser) link(i int, raw *rawLink) Link {
	k := func(name string) string { return key("link", i, name) }
	l := Link{
		Name: raw.Name, Device: raw.Device, Interface: raw.Interface,
		Role:    p.choice(k("role"), raw.Role, "primary", "overflow", "backup", "off"),
		DownBit: p.kbit(k("down_kbit"), raw.DownKbit), UpBit: p.kbit(k("up_kbit"), raw.UpKbit),
		Weight:    int(p.number(k("weight"), raw.Weight, 1, 1, 100)),
		RoleGiven: raw.Role != "", MeteredGiven: raw.Metered != nil,
	}
	p.name(k("name"), l.Name)
	switch {
	case l.Device == "" && l.Interface == "":
		p.fail(k("device"), "missing: give the kernel's device, e.g. device = \"eth1\", or netifd's interface = \"wan\"")
	case l.Device != "" && l.Interface != "":
		p.fail(k("interface"), "device and interface are both given; keep one")
	case l.Device != "":
		p.device(k("device"), l.Device)
	}
	l.Metered = l.Role == "overflow" || l.Role == "backup"
	if l.MeteredGiven {
		l.Metered = *raw.Metered
	}
	q := &l.Quota
	q.Limit = p.size(k("quota"), raw.Quota)
	q.Daily = p.size(k("quota_daily"), raw.QuotaDaily)
	q.BillingDay = int(p.number(k("billing_day"), raw.BillingDay, 1, 1, 31))
	if raw.QuotaSoft != "" {
		q.SoftShare = try(p, k("quota_soft"), raw.QuotaSoft, parsePercent)
		if q.Limit == 0 && raw.Quota == "" {
			p.fail(k("quota_soft"), "needs quota: it is a share of it")
		}
	}
	if raw.Hours != "" {
		for part := range strings.SplitSeq(raw.Hours, ",") {
			l.AllowHours = append(l.AllowHours, try(p, k("hours"), strings.TrimSpace(part), parseHours))
		}
	}
	return l
}

func (p *parser) concentrator(i int, raw *rawConcentrator) Concentrator {
	k := func(name string) string { return key("concentrator", i, name) }
	c := Concentrator{
		Address: raw.Address, User: raw.User, Password: raw.Password, Priority: int(raw.Priority),
		Protocol: p.choice(k("protocol"), raw.Protocol, "convert", "socks5", "socks4a", "transparent"),
		FastOpen: p.choice(k("fast_open"), raw.FastOpen, "auto", "always", "never"),
		Weight:   int(p.number(k("weight"), raw.Weight, 1, 1, 100)),
		Name:     or(raw.Name, raw.Address), Cookie: raw.Cookie, Learn: raw.Learn,
		Pipeline:  raw.Pipeline,
		LearnCode: int(p.number(k("learn_code"), raw.LearnCode, 224, 1, 65535)),
		Port:      uint16(p.number(k("port"), raw.Port, 0, 1, 65535)),
	}
	if c.Learn != "" {
		c.Name = or(raw.Name, "learnt")
	}
	p.whereIs(k, &c)
	if raw.Port == nil && !isSRV(c.Address) && c.Protocol != "transparent" {
		p.fail(k("port"), "missing: RFC 8803 names no default port; write the one the concentrator listens on, e.g. port = 5124")
	}
	p.belongs(k, &c)
	return c
}

// isSRV tells a name of an SRV record, which brings the port, from a host's.
func isSRV(name string) bool { return strings.HasPrefix(name, "_") }

// whereIs checks a concentrator's address, or what stands for it.
func (p *parser) whereIs(k func(string) string, c *Concentrator) {
	switch addr, err := netip.ParseAddr(c.Address); {
	case c.Learn != "":
		if c.Address != "" || c.Protocol == "transparent" || !strings.HasPrefix(c.Learn, "/") {
			p.fail(k("learn"), "it brings the address: write the whole path of a file, leave address away, and protocol \"transparent\" needs none")
		}
	case c.Protocol == "transparent":
		// The concentrator is on the path; it has no address of its own.
	case c.Address == "":
		p.fail(k("address"), "missing: the concentrator's address, e.g. address = \"198.51.100.10\"")
	case err == nil && (addr.IsUnspecified() || addr.IsMulticast() || addr.Zone() != ""):
		p.fail(k("address"), "%q is not the address of a server", c.Address)
	case err != nil && !isSRV(c.Address):
		if _, err := parseDomain(c.Address); err != nil || strings.HasPrefix(c.Address, "*") {
			p.fail(k("address"), "%q is neither an address nor a host name", c.Address)
		}
	}
}

// belongs checks what only some protocols have.
func (p *parser) belongs(k func(string) string, c *Concentrator) {
	if c.Cookie != "" && (c.Protocol != "convert" || len(c.Cookie) > 255) {
		p.fail(k("cookie"), "a cookie belongs to protocol \"convert\" and has at most 255 octets")
	}
	if (c.User != "" || c.Password != "") && c.Protocol != "socks5" && c.Protocol != "socks4a" {
		p.fail(k("user"), "user and password belong to protocol \"socks5\" or \"socks4a\"")
	}
	if c.Password != "" && c.Protocol == "socks4a" {
		p.fail(k("password"), "only protocol \"socks5\" has a password; socks4a has a user")
	}
	if c.Pipeline && c.Protocol != "socks5" {
		p.fail(k("pipeline"), "only protocol \"socks5\" has several questions to send at once")
	}
	if len(c.User) > 255 || len(c.Password) > 255 {
		p.fail(k("user"), "user and password have at most 255 octets each (RFC 1929)")
	}
}

// names tells concentrators at one address apart, and holds those apart that have names.
func (p *parser) names(c *Config, raw *rawFile) {
	taken := map[string]bool{}
	for i := range c.Concentrators {
		u := &c.Concentrators[i]
		if taken[u.Name] && raw.Concentrator[i].Name == "" && u.Port > 0 {
			u.Name += fmt.Sprintf(" port %d", u.Port)
		}
		taken[u.Name] = true
	}
	p.unique("concentrator", "name", len(c.Concentrators), func(i int) string { return c.Concentrators[i].Name })
}

func (p *parser) policy(raw *rawPolicy) Policy {
	c := Policy{
		Mode:               p.choice("policy.mode", raw.Mode, "overflow", "backup", "bond", "smallest-delay", "primary-only"),
		OnConcentratorDown: p.choice("policy.on_concentrator_down", raw.OnConcentratorDown, "direct", "block"),
		OverflowEnter:      p.share("policy.overflow_enter", raw.OverflowEnter, 0.95),
		OverflowEnterFor:   p.duration("policy.overflow_enter_for", raw.OverflowEnterFor, 400*time.Millisecond, 50*time.Millisecond, time.Hour),
		OverflowLeave:      p.share("policy.overflow_leave", raw.OverflowLeave, 0.85),
		OverflowLeaveFor:   p.duration("policy.overflow_leave_for", raw.OverflowLeaveFor, 2*time.Second, 100*time.Millisecond, time.Hour),
		HoldUp:             p.duration("policy.hold_up", raw.HoldUp, 10*time.Second, 100*time.Millisecond, time.Hour),
		Standby:            p.choice("policy.standby", raw.Standby, "off", "busy", "on"),
		NeverWorse:         raw.NeverWorse == nil || *raw.NeverWorse,
		PathManager:        p.choice("policy.path_manager", raw.PathManager, "auto", "kernel", "user"),
	}
	if c.OverflowLeave >= c.OverflowEnter {
		p.fail("policy.overflow_leave", "%.2f is not below overflow_enter (%.2f): the overflow would come and go without end", c.OverflowLeave, c.OverflowEnter)
	}
	return c
}

func (p *parser) relay(raw *rawRelay) Relay {
	return Relay{
		MaxSessions:   int(p.number("relay.max_sessions", raw.MaxSessions, 0, 0, 1<<20)),
		MaxPerHost:    int(p.number("relay.max_per_host", raw.MaxPerHost, 0, 0, 1<<20)),
		IdleTimeout:   p.duration("relay.idle_timeout", raw.IdleTimeout, minIdle, minIdle, 30*24*time.Hour),
		StopWithin:    p.duration("relay.stop_within", raw.StopWithin, 5*time.Second, 0, time.Hour),
		DSCP:          p.choice("relay.dscp", raw.DSCP, "keep", "clear"),
		NativeServers: p.choice("relay.native_servers", raw.NativeServers, "keep", "bypass"),
		Race:          p.choice("relay.race", raw.Race, "off", "auto", "always"),
		Faithful:      raw.Faithful,
		Warm:          int(p.number("relay.warm", raw.Warm, 0, 0, 64)),
		ReceiveBuffer: int(p.number("relay.receive_buffer", &raw.ReceiveBuffer, 0, 0, 64<<20)),
	}
}

// mostRelayed is how many rules the mark of a packet can name (kernel.MaxRules).
const mostRelayed = 63

// rules checks what holds between rules.
func (p *parser) rules(c *Config) {
	p.unique("rule", "name", len(c.Rules), func(i int) string { return c.Rules[i].Name })
	p.unique("rule", "name", len(c.Rules), func(i int) string { // as their nft sets are named
		if r := &c.Rules[i]; len(r.Domain) > 0 {
			return strings.NewReplacer("-", "_", ".", "_").Replace(r.Name)
		}
		return ""
	})
	relayed := 0
	for i, r := range c.Rules {
		if r.Action != "bypass" && r.Action != "block" {
			if relayed++; relayed > mostRelayed {
				p.fail(key("rule", i, "action"), "more than %d rules with the actions \"primary\", \"bond\" and \"no-lte\": join some, each key takes any number of values", mostRelayed)
				return
			}
		}
	}
}

// reserved are the names of the nft table's own counters.
var reserved = []string{"relayed", "native", "refused", "concentrator"}

func (p *parser) rule(i int, raw *rawRule) Rule {
	k := func(name string) string { return key("rule", i, name) }
	r := Rule{Name: raw.Name, Line: lineOf(p.lines, k("name")), Interface: raw.Interface}
	p.name(k("name"), r.Name)
	if slices.Contains(reserved, r.Name) {
		p.fail(k("name"), "%q is the name of a counter of ours; choose another", r.Name)
	}
	r.Src = each(p, k("src"), raw.Src, parsePrefix)
	r.Dst = each(p, k("dst"), raw.Dst, parsePrefix)
	r.MAC = each(p, k("mac"), raw.MAC, parseMAC)
	r.DstPort = each(p, k("dst_port"), raw.DstPort, parsePorts)
	r.Domain = each(p, k("domain"), raw.Domain, parseDomain)
	r.Days = each(p, k("days"), raw.Days, parseDay)
	for _, d := range raw.DSCP {
		r.DSCP = append(r.DSCP, uint8(p.number(k("dscp"), &d, 0, 0, 63)))
	}
	for _, name := range r.Interface {
		p.device(k("interface"), name)
	}
	if (raw.From == "") != (raw.To == "") {
		p.fail(k("from"), "from and to belong together; write both, e.g. from = \"08:00\", to = \"17:00\"")
	} else if raw.From != "" {
		h := try(p, k("from"), raw.From+"-"+raw.To, parseHours)
		r.Hours = &h
	}
	if raw.Action == "" {
		p.fail(k("action"), "missing: one of \"bypass\", \"primary\", \"bond\", \"no-lte\", \"block\"")
	} else {
		r.Action = p.choice(k("action"), raw.Action, "bypass", "primary", "bond", "no-lte", "block")
	}
	if len(raw.Src)+len(raw.Dst)+len(raw.MAC)+len(raw.DstPort)+len(raw.Domain)+len(raw.DSCP)+len(raw.Interface)+len(raw.Days) == 0 && r.Hours == nil {
		p.fail(key("rule", i, "name"), "matches everything; write dst = [\"0.0.0.0/0\", \"::/0\"] if that is meant")
	}
	return r
}
