// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"

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
	l.Host += 10
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
