// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"spillway/config"
	"spillway/kernel"
	"spillway/mptcp"
	"spillway/relay"
)

// status is the whole, at one instant.
func (h *house) status(now time.Time, hits []RuleStatus) *Status {
	st := h.relay.Stats()
	up := h.relay.Upstreams()
	s := &Status{
		API: apiVersion, Version: version, Uptime: int64(now.Sub(h.started).Seconds()), Why: h.plan.Why, Mode: h.cfg.Policy.Mode,
		OverflowDown: h.plan.OverflowDown, OverflowUp: h.plan.OverflowUp, Sessions: st.Sessions,
		Links: h.links(now), Rules: hits, Counters: counters(st), Warnings: h.warnings(),
		NativeServers: st.NativeCached, NativeNewest: []string{}, Goroutines: runtime.NumGoroutine(),
	}
	s.Doors.IPv4, s.Doors.IPv6 = h.relay.Ports()
	s.Doors.Open = st.DoorOpen && h.apply.ready() // without the table nobody is led to it
	for _, a := range h.relay.NativeServers(nativeShown) {
		s.NativeNewest = append(s.NativeNewest, a.String())
	}
	for _, u := range up {
		c := concentratorStatus(u)
		c.RTTms = ms(h.rtts[u.Name])
		s.Concentrators = append(s.Concentrators, c)
	}
	for i, a := range h.addrs {
		if c := h.cfg.Concentrators[i]; len(a) == 0 && c.Protocol != "transparent" {
			s.Concentrators = append(s.Concentrators, ConcentratorStatus{Name: c.Name, Address: c.Address, Protocol: c.Protocol, State: "waiting", Why: "its name is not resolved yet"})
		}
	}
	why := ""
	if s.State, why = h.stateOf(st, up); why != "" {
		s.Why = why
	}
	if !s.Doors.Open {
		s.Doors.Why = s.Why
		switch {
		case st.Full:
			s.Doors.Why = fmt.Sprintf("%d connections, the most that relay.max_sessions allows: more are forwarded natively", st.Sessions)
		case st.Tight:
			s.Doors.Why = fmt.Sprintf("memory is nearly out with %d connections: more are forwarded natively", st.Sessions)
		}
	}
	h.enterState(now, s.State)
	s.Since = byClock(now, h.stateSince)
	return s
}

// stateOf is the daemon's state, and why, where the plan's sentence is not the reason.
func (h *house) stateOf(st relay.Stats, up []relay.UpstreamStatus) (state, why string) {
	alive := slices.ContainsFunc(up, func(u relay.UpstreamStatus) bool { return u.Up })
	switch {
	case !h.features.MPTCP:
		return "direct", noMPTCP
	case !h.apply.ready():
		return "starting", "the kernel does not hold yet what it should; until then connections are forwarded natively"
	case !alive && h.cfg.Policy.OnConcentratorDown == "block":
		return "blocked", "no concentrator answers, so connections are refused: " + reasons(up)
	case !alive:
		return "direct", "no concentrator answers, so connections are forwarded natively: " + reasons(up)
	case h.plan.First < 0:
		return "waiting", ""
	case !st.DoorOpen:
		return "direct", ""
	}
	return "running", ""
}

// noteEvery is how often the state is looked at though nothing of the relay's has changed.
const noteEvery = time.Second

// noteState notes since when the daemon is in its state, whether somebody asks or not.
func (h *house) noteState(now time.Time) {
	if now.Sub(h.noted) >= noteEvery {
		h.noted = now
		state, _ := h.stateOf(h.relay.Stats(), h.relay.Upstreams())
		h.enterState(now, state)
	}
}

func (h *house) enterState(now time.Time, state string) {
	if state != h.state {
		h.state, h.stateSince = state, now
	}
}

// byClock is an instant that was noted earlier, by the clock as it stands now. A router without a battery wakes up in its own past, and what began
// before its clock was set would be told as so much longer ago. Both have monotonic readings, else at is as it is.
func byClock(now, at time.Time) time.Time {
	is := now.Add(at.Sub(now))
	if at.IsZero() || is.Sub(at.Round(0)).Abs() < time.Second {
		return at
	}
	return is.Round(time.Second)
}

func reasons(up []relay.UpstreamStatus) string {
	text := ""
	for i, u := range up {
		if i > 0 {
			text += "; "
		}
		text += u.Name + ": " + or(u.Reason, "not asked yet")
	}
	return text
}

func concentratorStatus(u relay.UpstreamStatus) ConcentratorStatus {
	c := ConcentratorStatus{Name: u.Name, Protocol: u.Protocol, State: "up", Why: u.Reason, Sessions: int(u.Sessions)}
	if len(u.Addrs) > 0 {
		c.Address = u.Addrs[0].String()
	}
	if !u.Up {
		c.State = "down"
		if u.Until.After(time.Now()) {
			c.Why = fmt.Sprintf("%s; asked again in %s", c.Why, age(time.Until(u.Until)+time.Second))
		}
	}
	return c
}

// nearest notes a subflow's round trip for the concentrator that it goes to, if it is shorter than what was noted; 0: nothing.
func nearest(rtts []time.Duration, addrs [][]netip.AddrPort, s *mptcp.Subflow) {
	if s.TCP.RTT <= 0 {
		return
	}
	to := netip.AddrPortFrom(s.Remote.Addr().Unmap(), s.Remote.Port())
	for i := range rtts {
		if (rtts[i] == 0 || s.TCP.RTT < rtts[i]) && slices.Contains(addrs[i], to) {
			rtts[i] = s.TCP.RTT
		}
	}
}

// noteRTTs keeps the round trips to the concentrators, in the order of the configuration, for who asks.
func (h *house) noteRTTs(rtts []time.Duration) {
	for i, d := range rtts {
		if d == 0 || i >= len(h.cfg.Concentrators) {
			continue
		}
		if h.rtts == nil {
			h.rtts = map[string]time.Duration{}
		}
		h.rtts[h.cfg.Concentrators[i].Name] = d
	}
}

// counters are the relay's, by names that metrics use.
func counters(s relay.Stats) map[string]uint64 {
	return map[string]uint64{
		"accepted": uint64(s.Accepted), "warm": uint64(s.Warm), "direct": uint64(s.Direct), "relayed": uint64(s.Relayed), "blocked": uint64(s.Blocked), "no_link": uint64(s.NoLink),
		"no_upstream": uint64(s.NoUpstream), "refused": uint64(s.Refused), "host_limited": uint64(s.HostLimited), "failed": uint64(s.Failed),
		"retried": uint64(s.Retried), "reset": uint64(s.Reset), "idle_closed": uint64(s.IdleClosed), "destination_errors": uint64(s.Destination),
		"receive_bytes": s.Down, "transmit_bytes": s.Up,
		"syn_data_tried": uint64(s.FastOpen.Tried), "syn_data_accepted": uint64(s.FastOpen.Accepted), "syn_data_not_acked": uint64(s.FastOpen.NotAcked),
		"syn_data_lost": uint64(s.FastOpen.Lost), "syn_data_avoided": uint64(s.FastOpen.Avoided), "mptcp_fallback": uint64(s.FastOpen.Fallback),
		"held": uint64(s.Held), "unheld": uint64(s.Unheld), "turned_away": uint64(s.TurnedAway),
		"door_full": uint64(s.FullTimes),
	}
}

// ruleHits are the rules with nft's counters.
func (h *house) ruleHits() []RuleStatus {
	hits, _ := h.kernel.Hits() // without a table there are none
	return ruleStatuses(h.currentConfig().Rules, hits)
}

// warnings are what somebody should know though all works.
func (h *house) warnings() []string {
	out := append([]string{}, h.features.Missing()...)
	if h.features.MPTCP && !h.apply.ready() {
		out = append(out, "the kernel does not hold yet what it should; see the log")
	}
	out = append(out, sameAddresses(h.snap.Links)...)
	out = append(out, elsewhere(h.cfg.Rules, h.cfg.LAN.Interfaces)...)
	if h.cfg.Relay.Faithful && h.notHeld != nil {
		out = append(out, "relay.faithful: SYNs are not held: "+h.notHeld.Error())
	}
	return out
}

// elsewhere tells of rules for interfaces that are not the LAN's, a sentence each.
func elsewhere(rules []config.Rule, lan []string) (out []string) {
	for _, r := range rules {
		for _, name := range r.Interface {
			if !slices.Contains(lan, name) {
				out = append(out, fmt.Sprintf("rule %s: %s is none of lan.interfaces, and nothing that comes there is looked at", r.Name, name))
			}
		}
	}
	return out
}

// ruleStatuses lists the rules in order, and where they act: nft tells connections apart, and what is relayed the relay.
func ruleStatuses(rules []config.Rule, hits map[string]kernel.Counter) []RuleStatus {
	out := make([]RuleStatus, 0, len(rules))
	for _, r := range rules {
		s := RuleStatus{Name: r.Name, Action: r.Action, Where: "nft", Hits: hits[r.Name].Packets}
		if _, relayed := relayActions[r.Action]; relayed {
			s.Where = "relay"
		}
		out = append(out, s)
	}
	return out
}
