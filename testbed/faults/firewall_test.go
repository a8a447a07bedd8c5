// SPDX-License-Identifier: Apache-2.0

package faults_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"spillway/testbed/scenario"
	"spillway/testbed/traffic"
	"spillway/testbed/world"
)

// fw4 is what OpenWrt's firewall has between a LAN host's SYN and the relay, as it comes (synflood_protect, a LAN zone that lets hosts reach the router), or
// with a LAN zone that does not.
const fw4 = `table inet fw4
delete table inet fw4
table inet fw4 {
	counter flood { }
	chain input {
		type filter hook input priority filter; policy drop;
		iifname "lo" accept
%s
		ct state established,related accept
		tcp flags & (fin | syn | rst | ack) == syn jump syn_flood
		iifname "lan0" %s
		meta l4proto icmpv6 accept
	}
	chain syn_flood {
		limit rate 25/second burst 50 packets return
		counter name flood drop
	}
}
`

// ourLine is what the package has fw4 put first into that chain.
func ourLine() string {
	root, err := world.Root()
	if err != nil {
		return err.Error()
	}
	b, err := os.ReadFile(filepath.Join(root, "openwrt/net/spillway/files/spillway.nft"))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// firewall loads such a firewall in the router.
func firewall(ours, lan string) func(*world.World) error {
	return func(w *world.World) error {
		cmd := w.CPE.Command("nft", "-f", "-")
		cmd.Stdin = strings.NewReader(fmt.Sprintf(fw4, ours, lan))
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("nft: %w: %s", err, out)
		}
		return err
	}
}

// TestFirewallLetsRelayedConnectionsIn: what OpenWrt's firewall takes for a flood on the router is a household's relayed connections.
func TestFirewallLetsRelayedConnectionsIn(t *testing.T) {
	w := world.New(t, world.Config{Links: world.Two()})
	if err := (scenario.Scenario{}).Ready(w); err != nil {
		t.Fatal(err)
	}
	many := traffic.Demand{Kind: traffic.Get, Octets: 1000, Connections: 300, Parallel: 300, Timeout: 30 * time.Second}
	ask := func(ours, lan string) (relayed, dropped uint64, r traffic.Result) {
		t.Helper()
		if err := firewall(ours, lan)(w); err != nil {
			t.Fatal(err)
		}
		before, err := w.Router.Status()
		if err != nil {
			t.Fatal(err)
		}
		if r, err = w.Demand(many); err != nil {
			t.Fatal(err)
		}
		after, err := w.Router.Status()
		if err != nil {
			t.Fatal(err)
		}
		out, err := w.CPE.Output("nft", "-j", "list", "counter", "inet", "fw4", "flood")
		var list struct {
			Nftables []struct {
				Counter struct{ Packets uint64 }
			}
		}
		if err = errors.Join(err, json.Unmarshal([]byte(out), &list)); err != nil {
			t.Fatal(err)
		}
		for _, o := range list.Nftables {
			dropped += o.Counter.Packets
		}
		return after.Counters["relayed"] - before.Counters["relayed"], dropped, r
	}
	relayed, dropped, r := ask("", "accept")
	t.Logf("without the package's line: %d of %d relayed, %d SYNs dropped, the last was connected after %.0f ms", relayed, many.Connections, dropped, r.Connect.Max)
	if dropped == 0 {
		t.Error("this firewall drops nothing, and so proves nothing")
	}
	for _, lan := range []string{"accept", "drop"} {
		relayed, dropped, r := ask(ourLine(), lan)
		t.Logf("with it, LAN zone %s: %d relayed, %d SYNs dropped, the last was connected after %.0f ms", lan, relayed, dropped, r.Connect.Max)
		if r.Failed > 0 || dropped > 0 || relayed != uint64(many.Connections) {
			t.Errorf("%d failed: %s", r.Failed, strings.Join(r.Errors, "; "))
		}
	}
}
