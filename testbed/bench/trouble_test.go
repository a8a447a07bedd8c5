// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"slices"
	"testing"
)

func TestTheSameTroubleIsToldOnce(t *testing.T) {
	e := &Entry{Name: NAT, Trouble: []string{
		"small: client: 1 connections failed: dial 1.2.3.4:7000: canceled",
		"long queues, up: " + NAT + ": client: 2 connections failed: dial 1.2.3.4:7000: canceled",
		"small: client: 3 connections failed: dial 1.2.3.4:7000: canceled",
		"small: server: gone",
		"no work",
	}}
	want := []string{
		"- Trouble: " + NAT + ", in small; long queues, up (3 times, the first): client: 1 connections failed: dial 1.2.3.4:7000: canceled.",
		"- Trouble: " + NAT + ", in small: server: gone.",
		"- Trouble: " + NAT + ": no work.",
	}
	if got := e.trouble(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
