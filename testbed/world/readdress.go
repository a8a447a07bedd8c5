// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"
	"time"

	"spillway/testbed/linkemu"
)

// Readdress moves the router to another IPv4 address on a link, as DHCP does after an outage: the new one comes, the
// old one goes, the default route is set again.
func (w *World) Readdress(i int) error {
	l := &w.Links[i]
	old := w.Address4(i)
	if l.Host == 0 {
		l.Host = 2
	}
	if l.Host += 10; l.Host > 240 {
		l.Host -= 235
	}
	return w.atRouter(fmt.Sprintf("addr del %v/24 dev %s\naddr add %v/24 dev %s\nroute replace default via %v dev %s metric %d\n",
		old, l.Device, w.Address4(i), l.Device, w.Gateway4(i), l.Device, 10+i))
}

// Replace takes a link's devices away and makes new ones of the same name with the same addresses, as a stick does that
// restarts: the router sees another interface index.
func (w *World) Replace(i int) error {
	l := w.Links[i]
	err := w.Lines[i].Replace(func() (*linkemu.Port, *linkemu.Port, error) {
		return w.ports(w.CPE, l.Device, w.Providers[i], "cust", l.Kind)
	})
	if err != nil {
		return err
	}
	return w.address(i)
}

// Flap switches a link's device off and on again. The kernel throws away its routes and IPv6 addresses, which come back as netifd would
// have it.
func (w *World) Flap(i int, off time.Duration) error {
	l := w.Links[i]
	if err := w.atRouter("link set " + l.Device + " down\n"); err != nil {
		return err
	}
	time.Sleep(off)
	lines := "link set " + l.Device + " up\n"
	if !l.NoV4 {
		lines += fmt.Sprintf("route replace default via %v dev %s metric %d\n", w.Gateway4(i), l.Device, 10+i)
	}
	if !l.NoV6 {
		lines += fmt.Sprintf("addr replace %v/64 dev %s nodad\nroute replace ::/0 via %v dev %s metric %d\n", w.Address6(i), l.Device, w.Gateway6(i), l.Device, 10+i)
	}
	return w.atRouter(lines)
}
