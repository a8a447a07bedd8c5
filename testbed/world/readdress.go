// SPDX-License-Identifier: Apache-2.0

package world

import "fmt"

// Readdress moves the router to another IPv4 address on a link, as DHCP does after an outage: the new one comes, the
// old one goes, the default route is set again.
func (w *World) Readdress(i int) error {
	l := &w.Links[i]
	old := w.Address4(i)
	if l.Host == 0 {
		l.Host = 2
	}
	l.Host += 10
	return w.machine.Script(fmt.Sprintf("addr del %v/24 dev %s\naddr add %v/24 dev %s\nroute replace default via %v dev %s metric %d\n",
		old, l.Device, w.Address4(i), l.Device, w.Gateway4(i), l.Device, 10+i))
}
