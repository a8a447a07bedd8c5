// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"

	"spillway/config"
	"spillway/ubus/netifd"
)

// roled is links with the roles that count for them. Where none is written netifd's word decides: a mobile line takes the overflow, and is
// metered unless that is said otherwise. A link must be primary: where no other is, the first mobile one stays so. why has a
// sentence for each link that is decided so, "" for those that are as configured: all links by device, and all before netifd has answered.
// Pure.
func roled(links []config.Link, said netifd.State) (out []config.Link, why []string) {
	out, why = slices.Clone(links), make([]string, len(links))
	mobile := func(l config.Link) bool {
		line, known := said.Find(l.Interface)
		return known && line.Kind == netifd.LTE && !l.RoleGiven
	}
	led := slices.ContainsFunc(links, func(l config.Link) bool { return l.Role == "primary" && !mobile(l) })
	for i := range out {
		l := &out[i]
		switch {
		case !mobile(*l):
		case !led:
			led = true
			why[i] = l.Name + " is primary, as no other link is; its interface " + l.Interface + " is a mobile line, and no role is written"
		default:
			l.Role, l.Metered = "overflow", l.Metered || !l.MeteredGiven
			why[i] = l.Name + " is overflow, as its interface " + l.Interface + " is a mobile line and no role is written"
		}
	}
	return out, why
}
