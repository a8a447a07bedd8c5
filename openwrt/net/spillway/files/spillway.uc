// SPDX-License-Identifier: Apache-2.0
//
// Collector for prometheus-node-exporter-ucode: Spillway's status value over ubus, under the names of `spillway metrics`.

const s = ubus.call("spillway", "status");

if (!s)
	return false;

const STATES = [ "first", "active", "standby", "draining", "off" ];
const ROLES = [ "primary", "overflow", "backup", "off" ];

// Unix time of "2026-01-31T12:00:00.5+01:00", null for anything else. Zeros in front are left out: "08" might be read as octal.
function unix(text) {
	const m = match(text ?? "", /^([0-9]+)-0*([0-9]+)-0*([0-9]+)T0*([0-9]+):0*([0-9]+):0*([0-9]+)(\.[0-9]+)?(Z|([+-])0*([0-9]+):0*([0-9]+))$/);
	if (!m)
		return null;
	const offset = m[9] ? (+m[10] * 60 + +m[11]) * 60 : 0;
	const utc = timegm({ year: +m[1], mon: +m[2], mday: +m[3], hour: +m[4], min: +m[5], sec: +m[6] });
	return m[9] == "-" ? utc + offset : utc - offset;
}

gauge("spillway_info")({ version: s.version, mode: s.mode }, 1);
gauge("spillway_up_seconds")(null, s.uptime);
gauge("spillway_door_open")(null, s.doors?.open ? 1 : 0);
gauge("spillway_sessions")(null, s.sessions ?? 0);
gauge("spillway_overflow")({ direction: "down" }, s.overflow_down ? 1 : 0)({ direction: "up" }, s.overflow_up ? 1 : 0);

// One metric after the other, all links of each together: the text format wants it so.
function each(metric, value) {
	for (let l in s.links) {
		const v = value(l);
		if (v != null)
			metric({ link: l.name }, v);
	}
}

const usable = gauge("spillway_link_usable");
for (let l in s.links)
	usable({ link: l.name, device: l.device }, l.usable ? 1 : 0);

each(gauge("spillway_link_carrier"), l => l.carrier ? 1 : 0);

const state = gauge("spillway_link_state");
for (let l in s.links)
	for (let name in STATES)
		state({ link: l.name, state: name }, l.state == name ? 1 : 0);

const role = gauge("spillway_link_role");
for (let l in s.links)
	for (let name in ROLES)
		role({ link: l.name, role: name }, l.role == name ? 1 : 0);

each(gauge("spillway_link_state_since_seconds"), l => unix(l.since));
each(gauge("spillway_link_usable_since_seconds"), l => unix(l.usable_since));
each(counter("spillway_link_losses_total"), l => l.losses ?? 0);
each(gauge("spillway_link_receive_bits_per_second"), l => l.down_bps ?? 0);
each(gauge("spillway_link_transmit_bits_per_second"), l => l.up_bps ?? 0);

const capacity = gauge("spillway_link_capacity_bits_per_second");
for (let l in s.links) {
	capacity({ link: l.name, direction: "down" }, l.capacity?.down_bps ?? 0);
	capacity({ link: l.name, direction: "up" }, l.capacity?.up_bps ?? 0);
}

each(gauge("spillway_link_rtt_seconds"), l => (l.rtt_ms ?? 0) / 1000.0);
each(gauge("spillway_link_loss_ratio"), l => l.loss ?? 0);
each(gauge("spillway_link_subflows"), l => l.subflows ?? 0);
each(counter("spillway_link_receive_bytes_total"), l => l.rx_bytes ?? 0);
each(counter("spillway_link_transmit_bytes_total"), l => l.tx_bytes ?? 0);
each(gauge("spillway_quota_used_bytes"), l => l.quota?.used);
each(gauge("spillway_quota_limit_bytes"), l => l.quota?.limit);
each(gauge("spillway_quota_forecast_bytes"), l => l.quota?.forecast);

const up = gauge("spillway_concentrator_up");
for (let c in s.concentrators)
	up({ concentrator: c.name }, c.state == "up" ? 1 : 0);

const hits = counter("spillway_rule_hits_total");
for (let r in s.rules)
	hits({ rule: r.name, action: r.action }, r.hits ?? 0);

for (let name, value in s.counters)
	counter(`spillway_${name}_total`)(null, value);
