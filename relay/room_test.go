// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"net/netip"
	"testing"
)

func TestRoomIsWhatTheKernelAllowsOrTheLinksNeed(t *testing.T) {
	for _, c := range []struct {
		rmem         string
		needed, want int
	}{
		{"4096\t131072\t33554432\n", 0, 4 << 20},
		{"4096\t131072\t33554432\n", 16 << 20, 8 << 20},
		{"4096\t131072\t4194304\n", 0, 2 << 20},
		{"4096\t131072\t4194304\n", 1 << 20, 2 << 20},
		{"4096\t131072\t4194304\n", 8 << 20, 4 << 20},
		{"4096 131072 524288", 0, 256 << 10},
		{"", 8 << 20, 0},
		{"4096 131072", 8 << 20, 0},
		{"4096 131072 much", 8 << 20, 0},
	} {
		if got := roomWithin(c.rmem, c.needed); got != c.want {
			t.Errorf("tcp_rmem %q, %d needed: %d octets, want %d", c.rmem, c.needed, got, c.want)
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
