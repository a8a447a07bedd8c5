// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"spillway/testbed/netns"
)

// What the testbed's faults do by hand, the console does to the kernel as shell and ip would.
func TestConsole(t *testing.T) {
	netns.Require(t)
	ns, err := netns.Make("console")
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	for _, args := range []string{
		"link set lo up", "rule add pref 900 fwmark 1 lookup 7700", "-6 rule add pref 900 fwmark 1 lookup 7700", "route add default dev lo table 7700", "-6 route add default dev lo table 7700",
		"route add 192.0.2.0/24 dev lo table 7709", "mptcp endpoint add 127.0.0.1 dev lo subflow",
	} {
		if err := ns.Run("ip", strings.Fields(args)...); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "value")
	err = ns.Do(func() error {
		for _, lines := range []string{
			"for p in 900 910; do ip rule del pref $p || true; ip -6 rule del pref $p || true; done",
			"for t in 7700 7701; do ip route flush table $t; ip -6 route flush table $t; done\n",
			"ip mptcp endpoint flush", "ip mptcp limits set subflows 1", "ip link set lo mtu 1281", fmt.Sprintf("echo %q >%s", "7", file),
		} {
			if err := console(lines); err != nil {
				return fmt.Errorf("%s: %w", lines, err)
			}
		}
		for _, lines := range []string{"rm " + file, "ip rule del pref 900", "ip tunnel add x y z", "echo 1 >" + file + "/x"} {
			if console(lines) == nil {
				return fmt.Errorf("%s: no error", lines)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ args, has, hasNot string }{
		{"rule show", "local", "900:"}, {"-6 rule show", "local", "900:"}, {"route show table all", "192.0.2.0/24", "table 7700"}, {"-6 route show table all", "::1", "table 7700"},
		{"mptcp endpoint show", "", "127.0.0.1"}, {"mptcp limits show", "subflows 1", ""}, {"link show dev lo", "mtu 1281", ""},
	} {
		out, err := ns.Output("ip", strings.Fields(x.args)...)
		if err != nil || !strings.Contains(out, x.has) || x.hasNot != "" && strings.Contains(out, x.hasNot) {
			t.Errorf("ip %s: %v: %s", x.args, err, out)
		}
	}
	if text, err := os.ReadFile(file); strings.TrimSpace(string(text)) != "7" {
		t.Errorf("echo wrote %q: %v", text, err)
	}
}
