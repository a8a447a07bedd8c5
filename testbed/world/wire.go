// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"
	"net/netip"
	"os"
	"strings"

	"spillway/testbed/linkemu"
	"spillway/testbed/netns"
)

// wire makes the namespaces and everything between them.
func (w *World) wire() (err error) {
	for hint, ns := range map[string]**netns.NS{"lan": &w.LAN, "cpe": &w.CPE, "hag": &w.HAG, "srv": &w.SRV} {
		if *ns, err = w.namespace(hint); err != nil {
			return err
		}
	}
	if w.On != nil {
		m, err := w.On(w)
		if err != nil {
			return fmt.Errorf("the router's machine: %w", err)
		}
		w.machine = &m
	}
	for _, step := range []func() error{w.wireHome, w.wireServer} {
		if err := step(); err != nil {
			return err
		}
	}
	for i := range w.Links {
		if err := w.wireLink(i); err != nil {
			return fmt.Errorf("link %s: %w", w.Links[i].Name, err)
		}
	}
	if w.machine != nil {
		return w.machine.Ready(append(everywhere(), asNetifd...), masquerading(outOfHome))
	}
	return nil
}

// routerBuckets is the size of the TCP table of a router with 512 MB.
const routerBuckets = 4096

// namespace makes one, with the settings of a machine in the wild: cubic, and nothing remembered between connections.
func (w *World) namespace(hint string) (*netns.NS, error) {
	make := netns.Make
	if hint == "cpe" {
		make = func(hint string) (*netns.NS, error) { return netns.MakeSmall(hint, routerBuckets) }
	}
	ns, err := make(hint)
	if err != nil {
		return nil, err
	}
	w.atClose(ns.Close)
	useCubic(ns)
	return ns, sysctls(ns, everywhere()...)
}

// useCubic gives a namespace the congestion control that most of the Internet has. Where the host's own default is
// another, cubic may be a restricted one: it is allowed for the moment of the change. Without the right to do that the
// host's default stays.
func useCubic(ns *netns.NS) {
	const name, allowed = "net.ipv4.tcp_congestion_control", "/proc/sys/net/ipv4/tcp_allowed_congestion_control"
	if ns.Sysctl(name, "cubic") == nil {
		return
	}
	before, err := os.ReadFile(allowed)
	if err != nil || os.WriteFile(allowed, []byte(strings.TrimSpace(string(before))+" cubic"), 0o644) != nil {
		return
	}
	ns.Sysctl(name, "cubic")
	os.WriteFile(allowed, before, 0o644)
}

func sysctls(ns *netns.NS, settings ...string) error {
	for _, s := range settings {
		name, value, _ := strings.Cut(s, "=")
		if err := ns.Sysctl(name, value); err != nil {
			return fmt.Errorf("sysctl %s: %w", s, err)
		}
	}
	return nil
}

// wireHome joins lan and cpe. A line without carrier is no route, as netifd has it; addresses are translated on the
// way out, so that what comes back takes the same link.
func (w *World) wireHome() error {
	if err := w.home(); err != nil {
		return err
	}
	if err := w.LAN.Script(`
addr add ` + Host4 + `/24 dev eth0
addr add ` + Host6 + `/64 dev eth0 nodad
route add default via ` + Router4 + `
route add ::/0 via ` + Router6 + "\n"); err != nil {
		return err
	}
	if err := w.atRouter(`
addr add ` + Router4 + `/24 dev ` + LANDevice + `
addr add ` + Router6 + `/64 dev ` + LANDevice + " nodad\n"); err != nil {
		return err
	}
	if w.machine != nil {
		return nil
	}
	if err := sysctls(w.CPE, append(asSmall, asNetifd...)...); err != nil {
		return err
	}
	return masquerade(w.CPE, outOfHome)
}

func masquerade(ns *netns.NS, match string) error { return ns.Run("nft", masquerading(match)) }

// wireServer joins hag and srv, and makes hag a host where a concentrator runs well.
func (w *World) wireServer() error {
	if s := w.ServerDelay; s == (linkemu.Shape{}) {
		if err := netns.Veth(w.SRV, "eth0", w.HAG, "srv0"); err != nil {
			return err
		}
	} else {
		line, err := w.join(w.SRV, "eth0", w.HAG, "srv0", linkemu.Ethernet, s, s, 99)
		if err != nil {
			return err
		}
		w.internet = line
	}
	if err := w.SRV.Script(`
addr add ` + Server4 + `/24 dev eth0
addr add ` + Server6 + `/64 dev eth0 nodad
route add default via 203.0.113.1
route add ::/0 via 2001:db8:5::1
`); err != nil {
		return err
	}
	if err := w.HAG.Script(`
addr add 203.0.113.1/24 dev srv0
addr add 2001:db8:5::1/64 dev srv0 nodad
addr add ` + Concentrator4 + `/32 dev lo
addr add ` + Concentrator6 + `/128 dev lo nodad
mptcp limits set subflows 8 add_addr_accepted 8
`); err != nil {
		return err
	}
	return sysctls(w.HAG, "net.ipv4.tcp_fastopen=3")
}

// wireLink makes a provider with its line to the router and its cable to the core.
func (w *World) wireLink(i int) error {
	l := w.Links[i]
	provider, err := w.namespace(l.Name)
	if err != nil {
		return err
	}
	w.Providers = append(w.Providers, provider)
	line, err := w.join(w.CPE, l.Device, provider, "cust", l.Kind, l.Up, l.Down, uint64(i))
	if err != nil {
		return err
	}
	w.Lines = append(w.Lines, line)
	if err := netns.Veth(provider, "core", w.HAG, "to-"+l.Name); err != nil {
		return err
	}
	if l.NAT {
		if err := masquerade(provider, "oifname core"); err != nil {
			return err
		}
	}
	if err := w.address(i); err != nil {
		return err
	}
	return w.core(i)
}

// join makes an emulated line between two namespaces.
func (w *World) join(router *netns.NS, device string, provider *netns.NS, peer string, kind linkemu.Kind, up, down linkemu.Shape, seed uint64) (*linkemu.Link, error) {
	a, b, err := w.ports(router, device, provider, peer, kind)
	if err != nil {
		return nil, err
	}
	line, err := linkemu.New(a, b, up, down, seed)
	if err == nil {
		w.atClose(line.Close)
	}
	return line, err
}

// ports makes the devices at both ends of a line.
func (w *World) ports(router *netns.NS, device string, provider *netns.NS, peer string, kind linkemu.Kind) (a, b *linkemu.Port, err error) {
	open := linkemu.Open
	if w.machine != nil && router == w.CPE {
		open = w.machine.Port
	}
	if a, err = open(router, device, kind); err != nil {
		return nil, nil, err
	}
	if b, err = linkemu.Open(provider, peer, kind); err != nil {
		a.Close()
		return nil, nil, err
	}
	return a, b, nil
}

// Addresses sets a link's addresses and default routes again where they are missing, as netifd does when a device appears.
func (w *World) Addresses(i int) error {
	l, via6 := w.Links[i], w.Gateway6(i)
	var b strings.Builder
	for _, f := range []struct {
		family     string
		skip       bool
		addr       netip.Addr
		bits, more string
		all        string
		via        netip.Addr
	}{{"-4", l.NoV4, w.Address4(i), "/24", "", "default", w.Gateway4(i)}, {"-6", l.NoV6, w.Address6(i), "/64", " nodad", "::/0", via6}} {
		if !f.skip {
			fmt.Fprintf(&b, "ip %s addr flush dev %s scope global\nip %s addr replace %v%s dev %s%s\n", f.family, l.Device, f.family, f.addr, f.bits, l.Device, f.more)
			fmt.Fprintf(&b, "ip %s route replace %s via %v dev %s metric %d\n", f.family, f.all, f.via, l.Device, 10+i)
		}
	}
	return w.CPE.Run("sh", "-ec", b.String())
}

// address gives both ends of a line their addresses and the router its default route: a metric for each link.
func (w *World) address(i int) error {
	l, provider := w.Links[i], w.Providers[i]
	var here, there strings.Builder
	via4, via6 := "via "+w.Gateway4(i).String()+" ", "via "+w.Gateway6(i).String()+" "
	if l.Kind == linkemu.PPP {
		via4, via6 = "", ""
	}
	if !l.NoV4 {
		if l.Kind == linkemu.PPP {
			fmt.Fprintf(&here, "addr add %v peer %v dev %s\n", w.Address4(i), w.Gateway4(i), l.Device)
			fmt.Fprintf(&there, "addr add %v peer %v dev cust\n", w.Gateway4(i), w.Address4(i))
		} else {
			fmt.Fprintf(&here, "addr add %v/24 dev %s\n", w.Address4(i), l.Device)
			fmt.Fprintf(&there, "addr add %v/24 dev cust\n", w.Gateway4(i))
		}
		fmt.Fprintf(&here, "route add default %sdev %s metric %d\n", via4, l.Device, 10+i)
	}
	if !l.NoV6 {
		fmt.Fprintf(&here, "addr add %v/64 dev %s nodad\n", w.Address6(i), l.Device)
		fmt.Fprintf(&there, "addr add %v/64 dev cust nodad\n", w.Gateway6(i))
		fmt.Fprintf(&here, "route add ::/0 %sdev %s metric %d\n", via6, l.Device, 10+i)
	}
	if err := provider.Script(there.String()); err != nil {
		return err
	}
	return w.atRouter(here.String())
}

// core joins a provider with hag: 10.60.i.0/24 and 2001:db8:60i::/64 between them.
func (w *World) core(i int) error {
	l := w.Links[i]
	near, far := fmt.Sprintf("10.60.%d.2", i), fmt.Sprintf("10.60.%d.1", i)
	near6, far6 := address6(0x600+i, 2), address6(0x600+i, 1)
	if err := w.Providers[i].Script(fmt.Sprintf(`
addr add %s/24 dev core
addr add %v/64 dev core nodad
route add default via %s
route add ::/0 via %v
`, near, near6, far, far6)); err != nil {
		return err
	}
	lines := fmt.Sprintf("addr add %s/24 dev to-%s\naddr add %v/64 dev to-%s nodad\n", far, l.Name, far6, l.Name)
	if !l.NAT && !l.NoV4 {
		lines += fmt.Sprintf("route add %v via %s\n", w.network(i).Masked(), near)
	}
	if !l.NoV6 {
		lines += fmt.Sprintf("route add %v/64 via %v\n", address6(0x70+i, 0), near6)
	}
	return w.HAG.Script(lines)
}
