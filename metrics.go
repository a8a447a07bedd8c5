// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// writeMetrics is `spillway metrics`: Prometheus text format, for node_exporter's textfile collector.
func writeMetrics(w io.Writer, s *Status) {
	m := metrics{groups: map[string]*strings.Builder{}}
	m.gauge("spillway_info", "Version of the daemon.", 1, "version", s.Version, "mode", s.Mode)
	m.gauge("spillway_up_seconds", "Time since the daemon's start.", float64(s.Uptime))
	m.gauge("spillway_door_open", "Whether new LAN connections are intercepted.", boolean(s.Doors.Open))
	m.gauge("spillway_sessions", "Relayed connections now.", float64(s.Sessions))
	m.gauge("spillway_overflow", "Whether the overflow is in use, by direction.", boolean(s.OverflowDown), "direction", "down")
	m.gauge("spillway_overflow", "", boolean(s.OverflowUp), "direction", "up")
	for _, l := range s.Links {
		m.gauge("spillway_link_usable", "Whether the link could carry traffic.", boolean(l.Usable), "link", l.Name, "device", l.Device)
		for _, state := range []string{"first", "active", "standby", "draining", "off"} {
			m.gauge("spillway_link_state", "State of the link: 1 for the one it is in.", boolean(l.State == state), "link", l.Name, "state", state)
		}
		m.gauge("spillway_link_carrier", "Whether the link's device has carrier.", boolean(l.Carrier), "link", l.Name)
		for _, role := range []string{"primary", "overflow", "backup", "off"} {
			m.gauge("spillway_link_role", "Role of the link: 1 for the one it has.", boolean(l.Role == role), "link", l.Name, "role", role)
		}
		m.gauge("spillway_link_state_since_seconds", "When the link came to its state, as Unix time.", float64(l.Since.Unix()), "link", l.Name)
		m.gauge("spillway_link_usable_since_seconds", "When the link became usable, or ceased to be, as Unix time.", float64(l.UsableSince.Unix()), "link", l.Name)
		m.counter("spillway_link_losses_total", "How often the link ceased to be usable.", l.Losses, "link", l.Name)
		m.gauge("spillway_link_receive_bits_per_second", "Rate towards the LAN, mean of the last quarter second.", l.Down, "link", l.Name)
		m.gauge("spillway_link_transmit_bits_per_second", "Rate from the LAN, mean of the last quarter second.", l.Up, "link", l.Name)
		m.gauge("spillway_link_loss_ratio", "Share of octets that had to be sent again.", l.Loss, "link", l.Name)
		m.gauge("spillway_link_subflows", "Subflows on the link.", float64(l.Subflows), "link", l.Name)
		m.counter("spillway_link_receive_bytes_total", "Octets received on the link's device.", l.Rx, "link", l.Name)
		m.counter("spillway_link_transmit_bytes_total", "Octets sent on the link's device.", l.Tx, "link", l.Name)
		m.gauge("spillway_link_capacity_bits_per_second", "What the link can carry; 0 if not known.", l.Capacity.Down, "link", l.Name, "direction", "down")
		m.gauge("spillway_link_capacity_bits_per_second", "", l.Capacity.Up, "link", l.Name, "direction", "up")
		m.gauge("spillway_link_rtt_seconds", "Round trip of the subflows on the link.", l.RTTms/1000, "link", l.Name)
		if q := l.Quota; q != nil {
			m.gauge("spillway_quota_used_bytes", "Octets used in the billing month.", float64(q.Used), "link", l.Name)
			m.gauge("spillway_quota_limit_bytes", "Octets allowed in the billing month; 0: any number.", float64(q.Limit), "link", l.Name)
			m.gauge("spillway_quota_forecast_bytes", "Octets expected at the month's end, going on as so far.", float64(q.Forecast), "link", l.Name)
		}
	}
	for _, c := range s.Concentrators {
		m.gauge("spillway_concentrator_up", "Whether the concentrator answers.", boolean(c.State == "up"), "concentrator", c.Name)
	}
	for _, r := range s.Rules {
		m.counter("spillway_rule_hits_total", "Connections that a rule took.", r.Hits, "rule", r.Name, "action", r.Action)
	}
	names := make([]string, 0, len(s.Counters))
	for name := range s.Counters {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		m.counter("spillway_"+name+"_total", "See docs/OPERATION.md.", s.Counters[name])
	}
	m.write(w)
}

// metrics gathers samples by name: the format wants all of a name in one group.
type metrics struct {
	names  []string
	groups map[string]*strings.Builder
}

func (m *metrics) gauge(name, help string, value float64, labels ...string) {
	m.sample(name, "gauge", help, fmt.Sprint(value), labels)
}

func (m *metrics) counter(name, help string, value uint64, labels ...string) {
	m.sample(name, "counter", help, fmt.Sprint(value), labels)
}

func (m *metrics) sample(name, kind, help, value string, labels []string) {
	group := m.groups[name]
	if group == nil {
		group = &strings.Builder{}
		fmt.Fprintf(group, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
		m.groups[name] = group
		m.names = append(m.names, name)
	}
	var pairs []string
	for i := 0; i+1 < len(labels); i += 2 {
		pairs = append(pairs, fmt.Sprintf("%s=%q", labels[i], labels[i+1]))
	}
	if len(pairs) > 0 {
		name += "{" + strings.Join(pairs, ",") + "}"
	}
	fmt.Fprintln(group, name, value)
}

func (m *metrics) write(w io.Writer) {
	for _, name := range m.names {
		io.WriteString(w, m.groups[name].String())
	}
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
