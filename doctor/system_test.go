// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"spillway/testbed/netns"
)

// The commands of System against a real kernel: does nft take the rules that are checked, does `ip route get` tell the
// way of a source address, and is a missing rule seen?
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
route add default via 10.1.0.1 dev dsl
`); err != nil {
		t.Fatal(err)
	}
	w := System(t.Context())
	lte := Link{Name: "lte", Device: "lte", Addr4: netip.MustParseAddr("10.2.0.2")}
	hag := Concentrator{Addr: netip.MustParseAddrPort("198.51.100.10:5124")}
	var tproxy, before, after, broken Result
	err := ns.Do(func() error {
		tproxy = checkTproxy(w)
		broken = Result{Status: OK}
		if err := w.NftCheck("table inet x { chain c { nonsense } }"); err != nil {
			broken = fail(err.Error(), "", "")
		}
		before = checkSource(w, lte, hag)
		if _, err := w.Run("ip", "rule", "add", "from", "10.2.0.2", "lookup", "77"); err != nil {
			return err
		}
		if _, err := w.Run("ip", "route", "add", "default", "via", "10.2.0.1", "dev", "lte", "table", "77"); err != nil {
			return err
		}
		after = checkSource(w, lte, hag)
		return nil
	})
	if err != nil {
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
	if after.Status != OK {
		t.Errorf("with its rule: %+v", after)
	}
}
