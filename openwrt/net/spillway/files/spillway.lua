-- SPDX-License-Identifier: Apache-2.0
--
-- Collector for prometheus-node-exporter-lua: Spillway's status value over ubus, under the names of `spillway metrics`.

local ubus = require "ubus"

-- Unix time of "2026-01-31T12:00:00.5+01:00", nil for anything else.
local function unix(text)
	local y, mo, d, h, mi, s, sign, oh, om = (text or ""):match("^(%d+)-(%d+)-(%d+)T(%d+):(%d+):(%d+)%.?%d*([Z+-])(%d*):?(%d*)$")
	if not y then
		return nil
	end
	y, mo = tonumber(y), tonumber(mo)
	if mo <= 2 then -- a year that begins in March has its leap day at the end
		y, mo = y - 1, mo + 12
	end
	local days = 365 * y + math.floor(y / 4) - math.floor(y / 100) + math.floor(y / 400) + math.floor((153 * (mo - 3) + 2) / 5) + d - 719469
	local offset = ((tonumber(oh) or 0) * 60 + (tonumber(om) or 0)) * 60
	return days * 86400 + h * 3600 + mi * 60 + s - (sign == "+" and offset or -offset)
end

local function flag(on)
	return on and 1 or 0
end

local STATES = { "first", "active", "standby", "draining", "off" }
local ROLES = { "primary", "overflow", "backup", "off" }

local function links(list)
	local m = {}
	for _, kind in ipairs({ "usable", "carrier", "state", "role", "state_since_seconds", "receive_bits_per_second", "transmit_bits_per_second",
		"capacity_bits_per_second", "rtt_seconds", "loss_ratio", "subflows" }) do
		m[kind] = metric("spillway_link_" .. kind, "gauge")
	end
	local rx = metric("spillway_link_receive_bytes_total", "counter")
	local tx = metric("spillway_link_transmit_bytes_total", "counter")
	local used = metric("spillway_quota_used_bytes", "gauge")
	local limit = metric("spillway_quota_limit_bytes", "gauge")
	local forecast = metric("spillway_quota_forecast_bytes", "gauge")
	for _, l in ipairs(list or {}) do
		local name = { link = l.name }
		m.usable({ link = l.name, device = l.device }, flag(l.usable))
		m.carrier(name, flag(l.carrier))
		for _, state in ipairs(STATES) do
			m.state({ link = l.name, state = state }, flag(l.state == state))
		end
		for _, role in ipairs(ROLES) do
			m.role({ link = l.name, role = role }, flag(l.role == role))
		end
		if unix(l.since) then
			m.state_since_seconds(name, unix(l.since))
		end
		m.receive_bits_per_second(name, l.down_bps or 0)
		m.transmit_bits_per_second(name, l.up_bps or 0)
		local cap = l.capacity or {}
		m.capacity_bits_per_second({ link = l.name, direction = "down" }, cap.down_bps or 0)
		m.capacity_bits_per_second({ link = l.name, direction = "up" }, cap.up_bps or 0)
		m.rtt_seconds(name, (l.rtt_ms or 0) / 1000)
		m.loss_ratio(name, l.loss or 0)
		m.subflows(name, l.subflows or 0)
		rx(name, l.rx_bytes or 0)
		tx(name, l.tx_bytes or 0)
		if l.quota then
			used(name, l.quota.used)
			limit(name, l.quota.limit)
			forecast(name, l.quota.forecast)
		end
	end
end

local function scrape()
	local u = ubus.connect()
	local s = u:call("spillway", "status", {})
	u:close()
	if s == nil then
		error("no answer by the ubus object spillway: is it running?")
	end
	metric("spillway_info", "gauge", { version = s.version, mode = s.mode }, 1)
	metric("spillway_up_seconds", "gauge", nil, s.uptime)
	metric("spillway_door_open", "gauge", nil, flag((s.doors or {}).open))
	metric("spillway_sessions", "gauge", nil, s.sessions or 0)
	local overflow = metric("spillway_overflow", "gauge")
	overflow({ direction = "down" }, flag(s.overflow_down))
	overflow({ direction = "up" }, flag(s.overflow_up))
	links(s.links)
	local up = metric("spillway_concentrator_up", "gauge")
	for _, c in ipairs(s.concentrators or {}) do
		up({ concentrator = c.name }, flag(c.state == "up"))
	end
	local hits = metric("spillway_rule_hits_total", "counter")
	for _, r in ipairs(s.rules or {}) do
		hits({ rule = r.name, action = r.action }, r.hits or 0)
	end
	for name, value in pairs(s.counters or {}) do
		metric("spillway_" .. name .. "_total", "counter", nil, value)
	end
end

return { scrape = scrape }
