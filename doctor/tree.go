// SPDX-License-Identifier: Apache-2.0

package doctor

// Tree builds the checks for the links and concentrators of this world: machine, LAN side, each link from its carrier to
// "MPTCP is kept", and who else is at work on this router.
func Tree(w *World) []Node {
	nodes := append(machine(), lan(w)...)
	for _, l := range w.Links {
		nodes = append(nodes, link(l)...)
		for _, c := range w.Remotes {
			suffix := ""
			if len(w.Remotes) > 1 {
				suffix = " " + c.Addr.String()
			}
			nodes = append(nodes, way(l, c, suffix)...)
		}
	}
	return append(nodes, others()...)
}
