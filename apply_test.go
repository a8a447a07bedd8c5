// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"spillway/journal"
	"spillway/kernel"
	"spillway/testbed/netns"
)

// TestWhatFailsIsTriedMoreAndMoreSeldom, though the loop says at each turn what it wants: nft costs a slow router a good part of a second.
func TestWhatFailsIsTriedMoreAndMoreSeldom(t *testing.T) {
	netns.Require(t)
	ns := netns.New(t, "cpe")
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	if err := os.WriteFile(filepath.Join(dir, "nft"), []byte("#!/bin/sh\necho x >>"+log+"\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	set, err := kernel.Render(kernel.Table{Interfaces: []string{"br-lan"}, Door4: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	err = ns.Do(func() error {
		k, err := kernel.New(kernel.Options{NFT: filepath.Join(dir, "nft"), Saved: filepath.Join(dir, "saved")}, journal.Discard())
		if err != nil {
			return err
		}
		defer k.Close()
		a := newApplier(k, journal.Discard())
		go func() {
			for ctx.Err() == nil {
				a.want(kernel.State{Ruleset: set})
				time.Sleep(20 * time.Millisecond)
			}
		}()
		return a.run(ctx)
	})
	if err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(log)
	if n := strings.Count(string(text), "x"); n < 2 || n > 6 { // at 0, 0.2, 0.6, 1.4 s
		t.Errorf("tried %d times in 2 s", n)
	}
}

// TestAFullDiskKeepsNobodyFromBonding: the kernel holds what is wanted, though what it held before can't be written down. Connections that are
// steered one by one got no subflow at all then, and status said that nothing is intercepted.
func TestAFullDiskKeepsNobodyFromBonding(t *testing.T) {
	netns.Require(t)
	ns := netns.New(t, "cpe")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	ready := false
	err := ns.Do(func() error {
		k, err := kernel.New(kernel.Options{Saved: "/proc/nowhere/saved"}, journal.Discard())
		if err != nil {
			return err
		}
		defer k.Close()
		a := newApplier(k, journal.Discard())
		want := kernel.State{Sysctls: map[string]string{"net/ipv4/conf/lo/rp_filter": "2"}, Rules: kernel.Usual().LinkRules(0, netip.MustParseAddr("192.0.2.1"))}
		a.want(want)
		err = a.run(ctx)
		ready = a.ready() && a.routed(netip.MustParseAddr("192.0.2.1"), &want)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if !ready {
		t.Error("what the kernel holds counts as not applied")
	}
}
