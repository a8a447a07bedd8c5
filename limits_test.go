// SPDX-License-Identifier: Apache-2.0

package main

import "testing"

func TestSessionsStayWithinDescriptors(t *testing.T) {
	for _, tt := range []struct{ configured, descriptors, want int }{
		{0, 1 << 20, 0}, {0, 1024, 416}, {2000, 1024, 416}, {100, 1024, 100}, {20_000, 1 << 20, 20_000}, {0, 10, 8},
	} {
		if got := sessionsWithin(tt.configured, tt.descriptors); got != tt.want {
			t.Errorf("%d configured, %d descriptors: %d sessions, want %d", tt.configured, tt.descriptors, got, tt.want)
		}
	}
}
