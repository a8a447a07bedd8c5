// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"golang.org/x/sys/unix"

	"spillway/sockopt"
)

// rule finds the rule that the firewall named by the mark of the connection's SYN, which the accepted socket inherits;
// nil without. The firewall alone sees all that a rule may look at, so it alone decides which rule is first.
func (s *settings) rule(mark uint32) *Rule {
	for i := range s.Rules {
		if r := &s.Rules[i]; r.Mark == mark&s.RuleMask {
			return r
		}
	}
	return nil
}

// takeMark reads an accepted socket's mark and takes it off: what the relay sends to the LAN is to be routed like any
// other packet.
func takeMark(fd int) (mark uint32) {
	m, err := sockopt.Int(fd, unix.SOL_SOCKET, unix.SO_MARK)
	if err == nil && m != 0 {
		mark = uint32(m)
		sockopt.SetInt(fd, unix.SOL_SOCKET, unix.SO_MARK, 0)
	}
	return mark
}
