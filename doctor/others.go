// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// others looks for programs that work on the same rules, marks and packets.
func others() []Node {
	return []Node{
		{"others/numbers", "", checkNumbers},
		{"others/mwan3", "", checkMwan3},
		{"others/pbr", "", checkPbr},
		{"others/sqm", "", checkSqm},
		{"others/flow offloading", "", checkOffload},
		{"others/transparent proxies", "", checkProxies},
	}
}

// options are the values of all options of this name in a UCI file, in the order of its sections; ok is false when there is no such file.
func options(w *World, file, name string) (values []string, ok bool) {
	b, err := w.ReadFile("/etc/config/" + file)
	if err != nil {
		return nil, false
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) >= 3 && f[0] == "option" && strings.Trim(f[1], `'"`) == name {
			values = append(values, strings.Trim(f[2], `'"`))
		}
	}
	return values, true
}

// option is the value in the first section that has it: of the files that are asked it is the one that counts.
func option(w *World, file, name string) (value string, ok bool) {
	values, ok := options(w, file, name)
	if len(values) == 0 {
		return "", ok
	}
	return values[0], ok
}

// enabled tells whether a UCI file has an option switched on: "option enabled '1'".
func enabled(w *World, file, name string) bool {
	value, _ := option(w, file, name)
	return isOn(value)
}

func isOn(value string) bool {
	return slices.Contains([]string{"1", "on", "true", "yes", "enabled"}, value)
}

// checkNumbers looks for others on our marks, tables, priorities and endpoint ids: in the kernel, and in what mwan3 and pbr are
// configured to use.
func checkNumbers(w *World) Result {
	var found []string
	if w.Collisions != nil {
		var err error
		if found, err = w.Collisions(); err != nil {
			return skip("the kernel's rules can't be read: %v", err)
		}
	}
	for _, other := range []struct{ file, option, usual string }{{"mwan3", "mmx_mask", "3f00"}, {"pbr", "fw_mask", "ff0000"}} {
		value, there := option(w, other.file, other.option)
		if value == "" {
			value = other.usual
		}
		mask, err := strconv.ParseUint(strings.TrimPrefix(strings.ToLower(value), "0x"), 16, 32)
		if there && err == nil && uint32(mask)&w.MarkMask != 0 {
			found = append(found, fmt.Sprintf("%s marks packets in %#x (option %s), and we in %#x: give one of us another mask", other.file, mask, other.option, w.MarkMask))
		}
	}
	if len(found) > 0 {
		return warn(strings.Join(found, "; "), "Our numbers are in the section numbers of the configuration: mark_mask, table, priority, endpoint.", "ip rule; ip mptcp endpoint show")
	}
	return ok("nobody else uses our marks, tables, priorities and endpoint ids")
}

// starts tells whether a service is enabled at boot.
func starts(w *World, service string) bool {
	return w.Glob != nil && len(w.Glob("/etc/rc.d/S??"+service)) > 0
}

func checkMwan3(w *World) Result {
	if starts(w, "mwan3") {
		return warn("mwan3 is enabled", "Its marks choose a link for our subflows, against the policy. Disable it, or exempt the concentrator's addresses and the router's own traffic in its rules.", "service mwan3 stop; service mwan3 disable")
	}
	return ok("mwan3 is not at work")
}

func checkPbr(w *World) Result {
	if starts(w, "pbr") && enabled(w, "pbr", "enabled") {
		return warn("pbr is enabled", "Policies that match the router's own traffic to the concentrator choose a link for our subflows. Leave the concentrator's addresses out of them.", "service pbr status")
	}
	return ok("pbr is not at work")
}

func checkSqm(w *World) Result {
	queues, _ := options(w, "sqm", "enabled") // each has its own; the package comes with one that is off
	if starts(w, "sqm") && slices.ContainsFunc(queues, isOn) {
		return warn("sqm shapes an interface", "It is good for latency, but what it lets through is the capacity: give its rates as down_kbit and up_kbit of the link.", "tc qdisc show")
	}
	return ok("sqm is not at work")
}

func checkOffload(w *World) Result {
	on := enabled(w, "firewall", "flow_offloading") || enabled(w, "firewall", "flow_offloading_hw")
	if !on && w.Run != nil {
		out, err := w.Run("nft", "list", "flowtables")
		on = err == nil && strings.Contains(out, "devices")
	}
	if on {
		return warn("flow offloading is on", "Relayed connections are not touched by it. Connections that were offloaded before the daemon started stay native until they end.", "uci show firewall | grep offload; nft list flowtables")
	}
	return ok("flow offloading is off")
}

func checkProxies(w *World) Result {
	var found []string
	for _, name := range []string{"passwall", "passwall2", "openclash", "shadowsocksr", "homeproxy", "v2raya", "sing-box", "redsocks", "dae"} {
		if starts(w, name) {
			found = append(found, name)
		}
	}
	if len(found) > 0 {
		return warn("another transparent proxy is enabled: "+strings.Join(found, ", "), "Whoever's rule comes first takes the connection. Let only one of them take the LAN's TCP.", "nft list ruleset | grep tproxy")
	}
	return ok("no other transparent proxy")
}
