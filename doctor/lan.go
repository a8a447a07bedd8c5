// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"fmt"
	"strconv"
	"strings"
)

// lan checks the way of a LAN host's connection into the relay.
func lan(w *World) []Node {
	var nodes []Node
	for _, name := range w.LAN {
		nodes = append(nodes, Node{"lan/" + name, "", func(w *World) Result { return checkLAN(w, name) }})
	}
	nodes = append(nodes,
		Node{"lan/nft table", "machine/tproxy", checkTable},
		Node{"lan/door", "lan/nft table", checkDoor},
		Node{"lan/firewall", "machine/nft", checkFirewall},
	)
	if w.Faithful {
		nodes = append(nodes, Node{"lan/held SYNs", "machine/queue", checkHeld})
	}
	return nodes
}

const iffUp = 1 // include/uapi/linux/if.h

func checkLAN(w *World, name string) Result {
	b, err := w.ReadFile("/sys/class/net/" + name + "/flags")
	if err != nil {
		return fail("interface "+name+" does not exist", "Name an interface that there is under [lan] interfaces.", "ip link")
	}
	flags, err := strconv.ParseUint(strings.TrimSpace(string(b)), 0, 32)
	if err != nil || flags&iffUp == 0 {
		return fail("interface "+name+" is switched off", "Switch it on.", "ip link set "+name+" up")
	}
	return ok("interface %s is up", name)
}

func checkTable(w *World) Result {
	if w.Table == nil {
		return skip("the daemon does not run")
	}
	if err := w.Table(); err != nil {
		return fail(fmt.Sprintf("the table inet spillway is not as it should be: %v", err), "Somebody has changed or flushed it; Spillway restores it within seconds. If it stays away, reload.", "nft list table inet spillway")
	}
	return ok("the table inet spillway is in place")
}

// checkFirewall looks for OpenWrt's limit of SYNs to the router itself: relayed ones pass the same chain, and must be let in before.
func checkFirewall(w *World) Result {
	if w.Run == nil {
		return skip("nft is not asked in this run")
	}
	chain, err := w.Run("nft", "list", "chain", "inet", "fw4", "input")
	if r, late := tooLate(err); late {
		return r
	}
	if err != nil {
		return ok("OpenWrt's firewall is not there")
	}
	ours := fmt.Sprintf("meta mark & 0x%08x == 0x%08[1]x", w.MarkLocal)
	for line := range strings.Lines(chain) {
		switch {
		case strings.Contains(line, ours) && strings.Contains(line, "accept"):
			return ok("OpenWrt's firewall lets relayed connections in")
		case strings.Contains(line, "jump syn_flood"):
			return fail("OpenWrt's firewall takes more than some dozens of relayed connections a second for a flood: each that is too much waits for a second",
				"Let it read the package's file. With a mark_mask of your own, write "+ours+" in that file.", "fw4 reload; cat /usr/share/nftables.d/chain-pre/input/spillway.nft")
		}
	}
	return ok("OpenWrt's firewall does not count SYNs")
}

func checkHeld(w *World) Result {
	if w.Held == nil {
		return skip("the daemon does not run")
	}
	if err := w.Held(); err != nil {
		return fail("SYNs are not held until their servers have answered: "+err.Error(), "Another program may read the queue; end it, or switch relay.faithful off.", "cat /proc/net/netfilter/nfnetlink_queue")
	}
	return ok("SYNs are held until their servers have answered")
}

func checkDoor(w *World) Result {
	if w.Door == nil {
		return skip("the daemon does not run")
	}
	d := w.Door()
	if !d.Open {
		return fail("the door is closed, connections go natively: "+d.Why, "Mend what the reason names; the door opens by itself.", "spillway status")
	}
	if d.Port4 == 0 || d.Port6 == 0 {
		missing := "IPv6"
		if d.Port4 == 0 {
			missing = "IPv4"
		}
		return warn("the door has no listener for "+missing, "Its connections go natively. The daemon's log says why it could not listen.", "logread -e spillway")
	}
	return ok("the door is open on ports %d (IPv4) and %d (IPv6)", d.Port4, d.Port6)
}
