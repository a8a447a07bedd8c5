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

-- One metric after the other, all links of each together: the text format wants it so.
local function each(list, name, kind, value)
	local m = metric("spillway_" .. name, kind)
	for _, l in ipairs(list) do
		local v = value(l)
		if v ~= nil then
			m({ link = l.name }, v)
		end
	end
end

local function words(list, name, words, value)
	local m = metric("spillway_link_" .. name, "gauge")
	for _, l in ipairs(list) do
		for _, word in ipairs(words) do
			m({ link = l.name, [name] = word }, flag(value(l) == word))
		end
	end
end

local function links(list)
	local usable = metric("spillway_link_usable", "gauge")
	for _, l in ipairs(list) do
		usable({ link = l.name, device = l.device }, flag(l.usable))
	end
	each(list, "link_carrier", "gauge", function(l) return flag(l.carrier) end)
	words(list, "state", STATES, function(l) return l.state end)
	words(list, "role", ROLES, function(l) return l.role end)
	each(list, "link_state_since_seconds", "gauge", function(l) return unix(l.since) end)
	each(list, "link_usable_since_seconds", "gauge", function(l) return unix(l.usable_since) end)
	each(list, "link_losses_total", "counter", function(l) return l.losses or 0 end)
	each(list, "link_receive_bits_per_second", "gauge", function(l) return l.down_bps or 0 end)
	each(list, "link_transmit_bits_per_second", "gauge", function(l) return l.up_bps or 0 end)
	local capacity = metric("spillway_link_capacity_bits_per_second", "gauge")
	for _, l in ipairs(list) do
		local cap = l.capacity or {}
		capacity({ link = l.name, direction = "down" }, cap.down_bps or 0)
		capacity({ link = l.name, direction = "up" }, cap.up_bps or 0)
	end
	each(list, "link_rtt_seconds", "gauge", function(l) return (l.rtt_ms or 0) / 1000 end)
	each(list, "link_loss_ratio", "gauge", function(l) return l.loss or 0 end)
	each(list, "link_subflows", "gauge", function(l) return l.subflows or 0 end)
	each(list, "link_receive_bytes_total", "counter", function(l) return l.rx_bytes or 0 end)
	each(list, "link_transmit_bytes_total", "counter", function(l) return l.tx_bytes or 0 end)
	each(list, "quota_used_bytes", "gauge", function(l) return l.quota and l.quota.used end)
	each(list, "quota_limit_bytes", "gauge", function(l) return l.quota and l.quota.limit end)
	each(list, "quota_forecast_bytes", "gauge", function(l) return l.quota and l.quota.forecast end)
end

local function scrape()
	local u = ubus.connect() or error("no ubus")
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
	links(s.links or {})
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
