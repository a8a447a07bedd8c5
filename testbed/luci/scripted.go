// SPDX-License-Identifier: Apache-2.0

package luci

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"sync"
	"time"

	"spillway/openwrt/uci"
	"spillway/ubus"
)

// Scripted is an object `spillway` with moving figures: a demand that swells and falls, a DSL line that carries what
// it can, LTE for the rest. It answers as the daemon does, field by field, so that the pages can be looked at and
// tested without one. Reload reads the links' roles from the UCI file.
type Scripted struct {
	mu          sync.Mutex
	start       time.Time
	links       []scriptedLink
	transitions []ubus.Msg
	overflow    bool
	last        time.Time
}

type scriptedLink struct {
	name, device, role     string
	capDown, capUp         float64
	down, up, peakD, peakU float64
	rx, tx                 float64
	quota                  float64
	state, why             string
	since                  time.Time
}

// NewScripted makes the object's world as of now.
func NewScripted() *Scripted {
	now := time.Now()
	s := &Scripted{start: now.Add(-26 * time.Hour), last: now, links: []scriptedLink{
		{name: "dsl", device: "pppoe-wan", role: "primary", capDown: 50e6, capUp: 10e6, rx: 812e9, tx: 96e9, state: "first", why: "primary, usable", since: now.Add(-26 * time.Hour)},
		{name: "lte", device: "wwan0", role: "overflow", capDown: 40e6, capUp: 15e6, rx: 31e9, tx: 4e9, quota: 50e9, state: "off", why: "dsl carries all: 62 % of its capacity", since: now.Add(-20 * time.Minute)},
	}}
	s.note(now.Add(-26*time.Hour), "dsl", "off", "first", "usable for 10s: carrier, address, route")
	s.note(now.Add(-3*time.Hour), "lte", "off", "active", "dsl at 96 % of 50 Mbit/s for 500ms")
	s.note(now.Add(-3*time.Hour+4*time.Minute), "lte", "active", "draining", "all links carry 31 Mbit/s, under 80 % of dsl's capacity for 3s")
	s.note(now.Add(-3*time.Hour+4*time.Minute+2*time.Second), "lte", "draining", "off", "empty")
	return s
}

func (s *Scripted) note(at time.Time, link, from, to, why string) {
	s.transitions = append(s.transitions, ubus.Msg{{Name: "at", Value: at.Format(time.RFC3339)}, {Name: "link", Value: link},
		{Name: "from", Value: from}, {Name: "to", Value: to}, {Name: "why", Value: why}})
}

// step moves the figures on to now: demand swings between 20 and 85 Mbit/s.
func (s *Scripted) step(now time.Time) {
	dt := now.Sub(s.last).Seconds()
	s.last = now
	demand := 52e6 + 32e6*math.Sin(now.Sub(s.start).Seconds()/9) + 2e6*math.Sin(now.Sub(s.start).Seconds()*2)
	primary, room := -1, 0.0
	for i := range s.links {
		if l := &s.links[i]; l.role == "primary" {
			if primary < 0 {
				primary = i
			}
			room += l.capDown
		}
	}
	s.overflow = primary >= 0 && demand > 0.9*room
	for i := range s.links {
		l := &s.links[i]
		state, why, take := "off", "role off", 0.0
		switch {
		case l.role == "primary":
			state, why, take = "active", "primary, usable", math.Min(demand*l.capDown/room, 0.985*l.capDown)
			if i == primary {
				state = "first"
			}
		case primary < 0 && l.role != "off":
			state, why, take = "first", "no primary is usable", math.Min(demand, 0.985*l.capDown)
		case l.role == "overflow" && s.overflow:
			state, why = "active", fmt.Sprintf("primary at %.0f %% of %.0f Mbit/s: takes what it can't carry", math.Min(98, 100*demand/room), room/1e6)
			take = math.Max(0, math.Min(demand-0.985*room, 0.985*l.capDown))
		case l.role == "overflow":
			why = fmt.Sprintf("primary carries all: %.0f %% of its capacity", 100*demand/room)
		case l.role == "backup":
			why = "backup: the primary is usable"
		}
		if state != l.state {
			s.note(now, l.name, l.state, state, why)
			l.since = now
		}
		l.state, l.why = state, why
		l.down, l.up = take, math.Min(take/9, l.capUp)
		l.peakD, l.peakU = math.Max(l.peakD, l.down), math.Max(l.peakU, l.up)
		l.rx, l.tx = l.rx+l.down*dt/8, l.tx+l.up*dt/8
	}
}

func (s *Scripted) linkList() []ubus.Msg {
	var list []ubus.Msg
	for _, l := range s.links {
		address := map[string]string{"dsl": "192.0.2.17", "lte": "10.64.3.2"}[l.name]
		m := ubus.Msg{{Name: "name", Value: l.name}, {Name: "device", Value: l.device}, {Name: "role", Value: l.role}, {Name: "state", Value: l.state}, {Name: "why", Value: l.why},
			{Name: "since", Value: l.since.Format(time.RFC3339)}, {Name: "usable", Value: true}, {Name: "carrier", Value: true}, {Name: "address4", Value: address}, {Name: "address6", Value: ""},
			{Name: "down_bps", Value: l.down}, {Name: "up_bps", Value: l.up}, {Name: "down_peak_bps", Value: l.peakD}, {Name: "up_peak_bps", Value: l.peakU},
			{Name: "rx_bytes", Value: int64(l.rx)}, {Name: "tx_bytes", Value: int64(l.tx)},
			{Name: "capacity", Value: ubus.Msg{{Name: "down_bps", Value: l.capDown}, {Name: "up_bps", Value: l.capUp}, {Name: "source", Value: map[bool]string{true: "modem", false: "learnt"}[l.quota == 0]}}},
			{Name: "rtt_ms", Value: 18.4 + l.down/4e6}, {Name: "min_rtt_ms", Value: 15.2}, {Name: "loss", Value: 0.0004}, {Name: "subflows", Value: 14}}
		if l.quota > 0 {
			now := time.Now()
			start := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, now.Location())
			m = append(m, ubus.Field{Name: "quota", Value: ubus.Msg{{Name: "used", Value: int64(l.rx + l.tx)}, {Name: "limit", Value: int64(l.quota)}, {Name: "soft", Value: int64(0.9 * l.quota)},
				{Name: "today", Value: int64(1.1e9)}, {Name: "daily", Value: int64(0)}, {Name: "period_start", Value: start.Format(time.RFC3339)}, {Name: "period_end", Value: start.AddDate(0, 1, 0).Format(time.RFC3339)},
				{Name: "forecast", Value: int64(47e9)}, {Name: "exhausted", Value: false}}})
		}
		list = append(list, m)
	}
	return list
}

func (s *Scripted) status() ubus.Msg {
	why := "dsl carries everything; lte is not used"
	if s.overflow {
		why = "dsl is full; lte takes what it can't carry"
	}
	for _, l := range s.links {
		if l.name == "dsl" && l.role != "primary" {
			why = "no primary is usable; everything goes by " + map[bool]string{true: "lte", false: "nothing"}[s.links[1].role != "off"]
		}
	}
	return ubus.Msg{{Name: "api", Value: 1}, {Name: "version", Value: "scripted"}, {Name: "state", Value: "running"}, {Name: "since", Value: s.start.Format(time.RFC3339)},
		{Name: "uptime", Value: int64(time.Since(s.start).Seconds())}, {Name: "why", Value: why}, {Name: "mode", Value: "overflow"}, {Name: "overflow_down", Value: s.overflow}, {Name: "overflow_up", Value: false},
		{Name: "doors", Value: ubus.Msg{{Name: "open", Value: true}, {Name: "ipv4", Value: 34101}, {Name: "ipv6", Value: 34102}, {Name: "why", Value: ""}}},
		{Name: "concentrators", Value: []ubus.Msg{{{Name: "name", Value: "home"}, {Name: "address", Value: "198.51.100.10:5124"}, {Name: "protocol", Value: "convert"}, {Name: "state", Value: "up"}, {Name: "why", Value: ""}, {Name: "rtt_ms", Value: 17.9}, {Name: "sessions", Value: 57}}}},
		{Name: "links", Value: s.linkList()}, {Name: "sessions", Value: 57}, {Name: "counters", Value: ubus.Msg{}}, {Name: "rules", Value: []ubus.Msg{}}, {Name: "warnings", Value: []string{}}}
}

func (s *Scripted) flows(args ubus.Msg) ubus.Msg {
	offset, _ := args.Int("offset")
	limit, ok := args.Int("limit")
	if !ok {
		limit = 100
	}
	list := []ubus.Msg{}
	for i := max(offset, 0); i < min(57, offset+limit); i++ {
		rx, lte := int64(4e9/(i+1)), int64(0)
		parts := []ubus.Msg{{{Name: "link", Value: "dsl"}, {Name: "rx_bytes", Value: rx}, {Name: "tx_bytes", Value: rx / 40}, {Name: "rtt_ms", Value: 18.0}, {Name: "backup", Value: false}}}
		if i%5 == 0 {
			lte = rx / 3
			parts = append(parts, ubus.Msg{{Name: "link", Value: "lte"}, {Name: "rx_bytes", Value: lte}, {Name: "tx_bytes", Value: lte / 40}, {Name: "rtt_ms", Value: 41.0}, {Name: "backup", Value: !s.overflow}})
		}
		destination := fmt.Sprintf("203.0.113.%d:443", 1+i)
		if i%7 == 3 {
			destination = fmt.Sprintf("[2001:db8:20::%x]:443", 1+i)
		}
		list = append(list, ubus.Msg{{Name: "id", Value: 1000 + i}, {Name: "source", Value: fmt.Sprintf("192.168.1.%d:%d", 20+i%6, 50000+i)}, {Name: "destination", Value: destination},
			{Name: "rule", Value: map[bool]string{true: "video", false: ""}[i == 5]}, {Name: "class", Value: map[bool]string{true: "bulk", false: "interactive"}[i%5 == 0]}, {Name: "link", Value: "dsl"}, {Name: "upstream", Value: "home"},
			{Name: "age_s", Value: 12.5 + float64(i*i)}, {Name: "idle_s", Value: 0.2}, {Name: "rx_bytes", Value: rx + lte}, {Name: "tx_bytes", Value: (rx + lte) / 40}, {Name: "mptcp", Value: true}, {Name: "subflows", Value: parts}})
	}
	return ubus.Msg{{Name: "total", Value: 57}, {Name: "offset", Value: offset}, {Name: "flows", Value: list}}
}

func (s *Scripted) doctor() ubus.Msg {
	check := func(name, result, what, remedy, command, needs string) ubus.Msg {
		return ubus.Msg{{Name: "name", Value: name}, {Name: "result", Value: result}, {Name: "what", Value: what}, {Name: "remedy", Value: remedy}, {Name: "command", Value: command}, {Name: "needs", Value: needs}}
	}
	return ubus.Msg{{Name: "ok", Value: false}, {Name: "checks", Value: []ubus.Msg{
		check("machine/mptcp", "ok", "the kernel has MPTCP", "", "", ""),
		check("machine/kernel features", "ok", "fast open, path manager and sock_diag are there", "", "", "machine/mptcp"),
		check("lan/door", "ok", "LAN connections are intercepted", "", "", "lan/nft table"),
		check("link dsl/carrier", "ok", "pppoe-wan is up", "", "", "link dsl/device"),
		check("link dsl/convert answers", "ok", "198.51.100.10:5124 answers Convert in 18 ms", "", "", "link dsl/concentrator reachable"),
		check("link lte/carrier", "ok", "wwan0 is up", "", "", "link lte/device"),
		check("link lte/rp_filter", "fail", "rp_filter of wwan0 is 1: answers on this link are dropped", "Set it to 2, loose.", "sysctl -w net.ipv4.conf.wwan0.rp_filter=2", "link lte/address"),
		check("link lte/concentrator reachable", "blocked", "not checked: depends on link lte/rp_filter", "", "", "link lte/rp_filter"),
		check("link lte/convert answers", "blocked", "not checked: depends on link lte/rp_filter", "", "", "link lte/concentrator reachable"),
		check("others/sqm", "warn", "sqm shapes an interface", "Give its rates as down_kbit and up_kbit of the link.", "tc qdisc show", ""),
	}}}
}

// Reload takes the links' roles from a UCI file.
func (s *Scripted) Reload(path string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if _, err := uci.Import(bytes.NewReader(raw), path); err != nil {
		return err
	}
	sections, err := uci.Parse(string(raw))
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sec := range sections {
		for i := range s.links {
			if sec.Type == "link" && sec.Name == s.links[i].name && sec.Get("role") != "" {
				s.links[i].role = sec.Get("role")
			}
		}
	}
	return nil
}

func (s *Scripted) set(args ubus.Msg) ubus.Status {
	switch args.Text("role") {
	case "primary", "overflow", "backup", "off":
	default:
		return ubus.InvalidArgument
	}
	for i := range s.links {
		if s.links[i].name == args.Text("link") {
			s.links[i].role = args.Text("role")
			return ubus.OK
		}
	}
	return ubus.NotFound
}

// Object is what is published.
func (s *Scripted) Object() ubus.Object {
	method := func(name string, answer func(args ubus.Msg) (any, ubus.Status), args ...ubus.Arg) ubus.Method {
		return ubus.Method{Name: name, Args: args, Handle: func(args ubus.Msg) (any, ubus.Status) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.step(time.Now())
			return answer(args)
		}}
	}
	return ubus.Object{Name: "spillway", Methods: []ubus.Method{
		method("status", func(ubus.Msg) (any, ubus.Status) { return s.status(), ubus.OK }),
		method("links", func(ubus.Msg) (any, ubus.Status) { return ubus.Msg{{Name: "links", Value: s.linkList()}}, ubus.OK }),
		method("flows", func(a ubus.Msg) (any, ubus.Status) { return s.flows(a), ubus.OK }, ubus.Arg{Name: "offset", Type: ubus.TypeInt32}, ubus.Arg{Name: "limit", Type: ubus.TypeInt32}),
		method("why", func(ubus.Msg) (any, ubus.Status) {
			return ubus.Msg{{Name: "transitions", Value: s.transitions[max(0, len(s.transitions)-100):]}}, ubus.OK
		}),
		method("doctor", func(ubus.Msg) (any, ubus.Status) { return s.doctor(), ubus.OK }),
		method("set", func(a ubus.Msg) (any, ubus.Status) { return nil, s.set(a) }, ubus.Arg{Name: "link", Type: ubus.TypeString}, ubus.Arg{Name: "role", Type: ubus.TypeString}),
	}}
}
