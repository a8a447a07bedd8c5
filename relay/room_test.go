// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"net/netip"
	"testing"
)

func TestRoomIsWhatTheKernelAllows(t *testing.T) {
	for rmem, want := range map[string]int{
		"4096\t131072\t33554432\n": 4 << 20,
		"4096\t131072\t4194304\n":  2 << 20,
		"4096 131072 524288":       256 << 10,
		"":                         0,
		"4096 131072":              0,
		"4096 131072 much":         0,
	} {
		if got := roomWithin(rmem); got != want {
			t.Errorf("tcp_rmem %q: %d octets, want %d", rmem, got, want)
		}
	}
}

// Only what goes over several links gets the buffer: the kernel tunes that of the others.
func TestBondedConnectionsGetTheRoom(t *testing.T) {
	r := &Relay{}
	r.room.Store(1 << 20)
	for act, want := range map[Action]int{Bond: 1 << 20, Primary: 0} {
		s := &session{r: r, set: &settings{}, act: act}
		if o := s.options(path{link: &PlanLink{}}, netip.Addr{}, true); o.RecvBuffer != want || o.PlainTCP != (want == 0) {
			t.Errorf("action %v: %d octets, want %d; plain TCP %t", act, o.RecvBuffer, want, o.PlainTCP)
		}
	}
}
