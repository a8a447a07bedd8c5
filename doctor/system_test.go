// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"spillway/testbed/netns"
)

// System against a real kernel: does nft take the rules that are checked, is the way of a source address told though there is no ip (which a
// firmware may lack), and is a missing rule seen?
func TestSystemInANamespace(t *testing.T) {
	defer func(usual time.Duration) { commandTime = usual }(commandTime)
	commandTime = time.Minute // of a busy machine
	ns, far := netns.New(t, "cpe"), netns.New(t, "isp")
	if _, err := exec.LookPath("nft"); err != nil {
		netns.Missing(t, "needs nft (Debian package nftables)")
	}
	for _, l := range []string{"dsl", "lte"} {
		if err := netns.Veth(ns, l, far, "far"+l); err != nil {
			t.Fatal(err)
		}
	}
	if err := ns.Script(`addr add 10.1.0.2/24 dev dsl
addr add 10.2.0.2/24 dev lte
addr add 2001:db8:2::2/64 dev lte nodad
route add default via 10.1.0.1 dev dsl
`); err != nil {
		t.Fatal(err)
	}
	none := t.TempDir()
	if err := os.WriteFile(none+"/ip", []byte("#!/bin/sh\nexit 127\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	usual := os.Getenv("PATH")
	t.Setenv("PATH", none+":"+usual)
	w := System(t.Context())
	lte := Link{Name: "lte", Device: "lte", Addr4: netip.MustParseAddr("10.2.0.2"), Addr6: netip.MustParseAddr("2001:db8:2::2")}
	hag, hag6 := Concentrator{Addr: netip.MustParseAddrPort("198.51.100.10:5124")}, Concentrator{Addr: netip.MustParseAddrPort("[2001:db8:ff::10]:5124")}
	var tproxy, before, after, after6, broken Result
	err := ns.Do(func() error {
		tproxy = checkTproxy(w)
		broken = Result{Status: OK}
		if err := w.NftCheck("table inet x { chain c { nonsense } }"); err != nil {
			broken = fail(err.Error(), "", "")
		}
		before = checkSource(w, lte, hag)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", usual)
	for _, words := range []string{"rule add from 10.2.0.2 lookup 77", "route add default via 10.2.0.1 dev lte table 77",
		"-6 rule add from 2001:db8:2::2 lookup 77", "-6 route add default via 2001:db8:2::1 dev lte table 77"} {
		if err := ns.Run("ip", strings.Fields(words)...); err != nil {
			t.Fatal(err)
		}
	}
	if err := ns.Do(func() error {
		after, after6 = checkSource(w, lte, hag), checkSource(w, lte, hag6)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if tproxy.Status != OK {
		netns.Missing(t, "needs nft's tproxy, socket and fib in the kernel: "+tproxy.What)
	}
	if broken.Status != Fail || !strings.Contains(broken.What, "nft") {
		t.Errorf("nonsense is taken: %+v", broken)
	}
	if before.Status != Fail || !strings.Contains(before.What, "leave by dsl instead of lte") {
		t.Errorf("without a rule: %+v", before)
	}
	for _, r := range []Result{after, after6} {
		if r.Status != OK {
			t.Errorf("with its rule: %+v", r)
		}
	}
}
