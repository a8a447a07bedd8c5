// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"spillway/testbed/await"
	"spillway/testbed/fakeubusd"
)

// byDevice has links that need no netifd.
const byDevice = "[[link]]\nname = \"dsl\"\ndevice = \"eth1\"\n[[link]]\nname = \"lte\"\ndevice = \"wwan0\"\nrole = \"overflow\"\n"

// TestABusMayComeLate, as ubusd is started after the daemon, or anew while it starts: the object would be missing until the daemon's next start.
func TestABusMayComeLate(t *testing.T) {
	h := houseOf(t, byDevice)
	path := filepath.Join(t.TempDir(), "u")
	came := make(chan struct{})
	go func() { h.awaitBus(t.Context(), path, 10*time.Millisecond); close(came) }()
	select {
	case <-came:
		t.Fatal("nobody is waited for")
	case <-time.After(50 * time.Millisecond):
	}
	bus, err := fakeubusd.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	await.Value(t, "the bus", came)
}

// TestWhereNoBusIsTheTaskEndsWithTheDaemon, and not before: a bus may come.
func TestWhereNoBusIsTheTaskEndsWithTheDaemon(t *testing.T) {
	h := houseOf(t, byDevice)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- h.bus(ctx) }()
	select {
	case <-done:
		t.Error("it has ended")
	case <-time.After(50 * time.Millisecond):
		cancel()
		await.Value(t, "the end", done)
	}
	cancel()
}

// TestALinkOfNetifdsNeedsTheBus, so that it is asked for by all means: its absence is told in the log.
func TestALinkOfNetifdsNeedsTheBus(t *testing.T) {
	h := houseOf(t, twoByName)
	h.awaitBus(t.Context(), filepath.Join(t.TempDir(), "none"), time.Hour)
}
