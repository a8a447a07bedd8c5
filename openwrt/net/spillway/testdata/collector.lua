-- SPDX-License-Identifier: Apache-2.0
--
-- Runs the collector as prometheus-node-exporter-lua would, with a ubus that answers one recorded status.
local status = {
	version = "1.0", mode = "overflow", uptime = 60, sessions = 3, overflow_down = true, overflow_up = false, doors = { open = true },
	links = {
		{ name = "dsl", device = "pppoe-wan", role = "primary", state = "first", since = "2026-03-01T00:00:00+01:00", usable_since = "2026-03-01T08:09:00.25Z", losses = 3, usable = true, carrier = true,
		  down_bps = 1.5e6, up_bps = 0, rx_bytes = 5000000000, tx_bytes = 7, rtt_ms = 18.5, loss = 0.01, subflows = 4, capacity = { down_bps = 50e6, up_bps = 10e6 } },
		{ name = "lte", device = "wwan0", role = "overflow", state = "off", since = "0001-01-01T00:00:00Z", usable = false, carrier = true,
		  rx_bytes = 1, tx_bytes = 2, quota = { used = 10, limit = 20, forecast = 15 } },
	},
	concentrators = { { name = "home", state = "up" } }, rules = { { name = "voip", action = "bypass", hits = 9 } }, counters = { accepted = 12 },
}
package.preload.ubus = function()
	return { connect = function() return { call = function(_, object, method) if object == "spillway" and method == "status" then return status end end, close = function() end } end }
end
function metric(name, kind, labels, value)
	local function out(l, v)
		local parts = {}
		for key, word in pairs(l or {}) do
			parts[#parts + 1] = string.format("%s=%q", key, word)
		end
		table.sort(parts)
		print(string.format("%s %s{%s} %.10g", kind, name, table.concat(parts, ","), v))
	end
	if value ~= nil then
		return out(labels, value)
	end
	return out
end
dofile(arg[1]).scrape()
