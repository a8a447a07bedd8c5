// SPDX-License-Identifier: Apache-2.0

package world

import (
	"spillway/testbed/netns"
	"spillway/testbed/traffic"
)

// Neighbour4 is the address of a second host at home.
const Neighbour4 = "192.168.1.66"

// Neighbour adds a second host at home. The first one's namespace is its switch: it answers for it (proxy ARP) and passes its
// packets on, so that the router sees one more address on the same cable.
func (w *World) Neighbour() (*netns.NS, error) {
	ns, err := w.namespace("lan2")
	if err != nil {
		return nil, err
	}
	if err := netns.Veth(ns, "eth0", w.LAN, "to-lan2"); err != nil {
		return nil, err
	}
	if err := sysctls(w.LAN, "net.ipv4.conf.all.proxy_arp=1", "net.ipv4.conf.all.send_redirects=0", "net.ipv4.conf.eth0.send_redirects=0"); err != nil {
		return nil, err
	}
	if err := w.LAN.Script("route add " + Neighbour4 + " dev to-lan2\n"); err != nil {
		return nil, err
	}
	return ns, ns.Script("addr add " + Neighbour4 + "/24 dev eth0\nroute add default via " + Router4 + "\n")
}

// DemandFrom is Demand of a host of one's own.
func (w *World) DemandFrom(ns *netns.NS, d traffic.Demand) (r traffic.Result, err error) {
	if d.To == "" {
		d.To = To("4")
	}
	return r, ask(ns.Command(w.Bin.Traffic, "run"), d, &r)
}
