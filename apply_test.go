// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"spillway/journal"
	"spillway/kernel"
	"spillway/mptcp"
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

// TestAFailoverIsNotUndone: an endpoint that the loop adds must stay, though the applier had begun before and waits for an nft that is slow. It
// took the endpoint away, with its subflows, and added it again 50 ms later.
func TestAFailoverIsNotUndone(t *testing.T) {
	netns.Require(t)
	ns := netns.New(t, "cpe")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "nft"), []byte("#!/bin/sh\nsleep 0.3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := ns.Run("ip", "addr", "add", "192.0.2.2/24", "dev", "lo"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err := ns.Do(func() error {
		k, err := kernel.New(kernel.Options{NFT: filepath.Join(dir, "nft"), Saved: filepath.Join(dir, "saved")}, journal.Discard())
		if err != nil {
			return err
		}
		defer k.Close()
		a := newApplier(k, journal.Discard())
		n := kernel.Usual()
		state := kernel.State{Routes: n.LocalRoutes(false)}
		if _, err := k.Apply(ctx, state); err != nil {
			return err
		}
		a.state, a.asked = state, true
		slow, waits := make(chan error, 1), make(chan error, 1)
		go func() { slow <- k.AddDomain(ctx, "d_films", []netip.Addr{netip.MustParseAddr("192.0.2.9")}, time.Hour) }()
		time.Sleep(100 * time.Millisecond)
		round, end := context.WithCancel(ctx)
		defer end()
		a.again()
		go func() { waits <- a.run(round) }()
		time.Sleep(50 * time.Millisecond)
		e := n.LinkEndpoint(1, 1, netip.MustParseAddr("192.0.2.2"), false)
		state.Endpoints = []mptcp.Endpoint{e}
		a.want(state) // as enforce does it
		if err := k.AddEndpoint(e); err != nil {
			return err
		}
		for began := time.Now(); time.Since(began) < 500*time.Millisecond; {
			all, err := k.PathManager().Endpoints()
			if err != nil {
				return err
			}
			if len(all) != 1 || all[0] != e {
				t.Errorf("after %v the endpoints are %v", time.Since(began), all)
				break
			}
		}
		end()
		return errors.Join(<-slow, <-waits)
	})
	if err != nil {
		t.Fatal(err)
	}
}
