// SPDX-License-Identifier: Apache-2.0

package ways

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"spillway/testbed/netns"
	"spillway/testbed/world"
)

// TestWildcardsByDnsmasq has a real dnsmasq fill the rules' sets, by the lines that the daemon asks for, when a LAN host resolves
// a name; then each rule takes the connections to that server, and took none before.
func TestWildcardsByDnsmasq(t *testing.T) {
	netns.Require(t)
	if path, err := exec.LookPath("dnsmasq"); err != nil {
		netns.Missing(t, "needs dnsmasq (Debian package dnsmasq-base)")
	} else if out, _ := exec.Command(path, "--version").Output(); !strings.Contains(string(out), " nftset") || strings.Contains(string(out), "no-nftset") {
		netns.Missing(t, "needs a dnsmasq with nftset, 2.87 or later")
	}
	h := Home{world.New(t, world.Config{Links: wide()})}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	text := h.TOML()
	rules := []struct{ name, domain, action string }{ // names of one rule are below those of another
		{"below-bypass", "*.wild.test", "bypass"}, {"below-primary", "*.cdn.wild.test", "primary"},
		{"below-no-lte", "*.cdn.wild.test", "no-lte"}, {"below-block", "*.wild.test", "block"}, {"elsewhere", "*.other.test", "block"},
	}
	var ports []int
	for i, r := range rules {
		ports = append(ports, 9000+i)
		text += fmt.Sprintf("[[rule]]\nname = %q\ndst_port = [\"%d\"]\ndomain = [%q]\naction = %q\n", r.name, ports[i], r.domain, r.action)
	}
	must(h.Serve(ports...))
	must(h.StartConcentrator())
	must(h.Router.Start(text))

	// The provider's name server, and the router's, which asks it.
	_, err := h.Start(h.SRV, "nameserver", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file=", "--no-resolv", "--no-hosts",
		"--bind-interfaces", "--listen-address="+world.Server4, "--address=/wild.test/"+world.Server4, "--address=/wild.test/"+world.Server6)
	must(err)
	conf := fmt.Sprintf("no-resolv\nno-hosts\nuser=root\npid-file=\nbind-interfaces\nlisten-address=%s\nserver=%s\n", world.Router4, world.Server4)
	lines := nftsetLines(h.Router.Log())
	if len(lines) != 3 {
		t.Fatalf("%q: want a line for each of the three domains", lines)
	}
	for _, line := range lines {
		conf += "nftset=" + line + "\n"
	}
	must(writeFile(h.Dir+"/dnsmasq.conf", conf))
	_, err = h.Start(h.CPE, "dnsmasq", "dnsmasq", "--keep-in-foreground", "--conf-file="+h.Dir+"/dnsmasq.conf")
	must(err)

	for i, r := range rules {
		h.expectWay(t, r.name+" before the name was asked for", Server("4", ports[i]), way{mptcp: true})
	}
	must(world.WaitFor("an answer to the LAN host", 20*time.Second, func() bool {
		addrs, err := h.ask("host7.cdn.wild.test")
		return err == nil && slices.Contains(addrs, world.Server4) && slices.Contains(addrs, world.Server6)
	}))
	must(world.WaitFor("the sets' addresses", 20*time.Second, func() bool {
		for _, r := range rules[:4] {
			for family, address := range map[string]string{"4": world.Server4, "6": world.Server6} {
				out, _ := h.CPE.Output("nft", "list", "set", "inet", "spillway", "d_"+strings.ReplaceAll(r.name, "-", "_")+family)
				if !strings.Contains(out, address) {
					return false
				}
			}
		}
		return true
	}))
	for _, family := range []string{"4", "6"} {
		for i, r := range rules[:4] {
			h.expectWay(t, r.name+" IPv"+family, Server(family, ports[i]), way{rule: r.name, native: r.action == "bypass", refused: r.action == "block"})
		}
		h.expectWay(t, "elsewhere IPv"+family, Server(family, ports[4]), way{mptcp: true})
	}
}

// nftsetLines are those that the daemon's log asks for.
func nftsetLines(log string) (lines []string) {
	for line := range strings.Lines(log) {
		if _, rest, ok := strings.Cut(strings.TrimSpace(line), " nftset="); ok {
			lines = append(lines, strings.Trim(rest, `"`))
		}
	}
	return lines
}

// ask resolves a name as a LAN host does that asks the router.
func (h Home) ask(name string) ([]string, error) {
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (c net.Conn, err error) {
		err = h.LAN.Do(func() (err error) {
			c, err = (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, "udp", net.JoinHostPort(world.Router4, "53"))
			return err
		})
		return c, err
	}}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return r.LookupHost(ctx, name)
}
