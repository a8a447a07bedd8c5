// SPDX-License-Identifier: Apache-2.0

package main

import "testing"

func TestSessionsStayWithinTheMeans(t *testing.T) {
	const many, much = 1 << 20, 1 << 40
	for _, tt := range []struct {
		configured int
		means      means
		want       int
	}{
		{0, means{many, 1 << 16, much}, 4096}, {20_000, means{many, 1 << 16, much}, 20_000},
		{0, means{1024, 1 << 16, much}, 416}, {2000, means{1024, 1 << 16, much}, 416}, {100, means{1024, 1 << 16, much}, 100}, {0, means{10, 1 << 16, much}, 8},
		{0, means{many, 60, much}, 45}, {0, means{many, 28232, much}, 4096}, {0, means{many, 0, much}, 8},
		{0, means{many, 1 << 16, 64 << 20}, 1024}, {3000, means{many, 1 << 16, 64 << 20}, 3000}, {0, means{many, 1 << 16, 0}, 8},
	} {
		if got := sessionsWithin(tt.configured, tt.means); got != tt.want {
			t.Errorf("%d configured, %+v: %d sessions, want %d", tt.configured, tt.means, got, tt.want)
		}
	}
}

// What waits was promised a seat: memory bounds it though the owner allows more.
func TestQueueStaysWithinMemory(t *testing.T) {
	const many, much = 1 << 20, 1 << 40
	for _, tt := range []struct {
		sessions int
		memory   uint64
		want     int
	}{{4096, much, 512}, {20_000, much, 2500}, {20_000, 26 << 20, 416}, {1024, 64 << 20, 128}, {100, 64 << 20, 12}} {
		if got := queueWithin(tt.sessions, means{many, 1 << 16, tt.memory}); got != tt.want {
			t.Errorf("%d sessions with %d octets of memory: %d may wait, want %d", tt.sessions, tt.memory, got, tt.want)
		}
	}
}

func TestPortsIn(t *testing.T) {
	for text, want := range map[string]int{"32768\t60999\n": 28232, "40000 40000": 1, "": 65536, "9 8": 65536, "x y": 65536, "1 99999": 65536} {
		if got := portsIn(text); got != want {
			t.Errorf("%q: %d ports, want %d", text, got, want)
		}
	}
}

func TestMemoryOfTheMachineIsKnown(t *testing.T) {
	if m := memory(); m < 16<<20 {
		t.Errorf("this machine has %d octets of memory", m)
	}
}
