// SPDX-License-Identifier: Apache-2.0

package openwrt

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"spillway/testbed/await"
	"spillway/testbed/traffic"
)

// page is docs/OPENWRT.md, whose commands are typed as they stand there.
func page(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/OPENWRT.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// block is the indented text that follows a line of the page.
func block(t *testing.T, page, after string) (lines []string) {
	t.Helper()
	_, rest, ok := strings.Cut(page, after+"\n\n")
	if !ok {
		t.Fatalf("docs/OPENWRT.md has no line %q", after)
	}
	for line := range strings.Lines(rest) {
		text, ok := strings.CutPrefix(line, "    ")
		if !ok {
			return lines
		}
		lines = append(lines, strings.TrimSpace(text))
	}
	return lines
}

// overSSH is the command that an ssh line runs on the router.
func overSSH(t *testing.T, lines []string) string {
	t.Helper()
	for _, l := range lines {
		if _, quoted, ok := strings.Cut(l, "ssh root@192.168.1.1 '"); ok {
			return strings.TrimSuffix(quoted, "'")
		}
	}
	t.Fatalf("no ssh line among %q", lines)
	return ""
}

// TestAsTheDocumentSays installs, switches on, changes, upgrades, switches off and removes the packages in a root tree, with the
// commands of docs/OPENWRT.md, for each package manager. After each end the kernel and the tree are as they were.
func TestAsTheDocumentSays(t *testing.T) {
	r := newRouter(t)
	doc := page(t)
	for _, format := range []struct{ name, heading, remove string }{
		{"ipk", "24.10 (opkg):", "opkg remove luci-app-spillway spillway"},
		{"apk", "25.12 (apk):", "apk del luci-app-spillway spillway"},
	} {
		r.t.Logf("---- %s", format.name)
		kernel := r.kernel()
		files, err := r.Files()
		if err != nil {
			t.Fatal(err)
		}

		// Installed, nothing has changed but that the files are there.
		r.packages("0.1.0-r1", format.name)
		install := overSSH(t, block(t, doc, format.heading))
		r.do(install)
		r.asItWas("installed", kernel)
		r.until("rpcd reads the new rights", func() bool {
			out, _ := r.Tree.Run("logread -e 'rpcd: reload'")
			return strings.Contains(out, "reload")
		})
		if got := r.do("uci get spillway.global.enabled; uci get spillway.dsl.interface; uci get spillway.lte.interface; uci get spillway.lan.interfaces; service spillway status; ls /etc/rc.d"); got !=
			"0\nwan\nwwan\nlan0\nactive with no instances\nK10spillway\nS95spillway" {
			t.Errorf("after the installation: %q", got)
		}

		if format.name == "ipk" {
			r.withoutMPTCP(kernel)
		}

		// Switched on by the document's own lines.
		if format.name == "apk" {
			r.do("uci set spillway.global.jail=1; uci set spillway.n=numbers; uci set spillway.n.mark_mask=0x0000ff00; uci set spillway.n.table=5000; uci set spillway.n.priority=500; uci set spillway.n.endpoint=120")
		}
		for _, line := range block(t, doc, "Or in a shell:") {
			r.do(line)
		}
		r.until("it relays", r.running)
		r.relays()
		listener := r.Tree.Command("exec ubus listen 'spillway.*' >/tmp/heard")
		if err := listener.Start(); err != nil {
			t.Fatal(err)
		}
		heard := func(words ...string) func() bool {
			return func() bool {
				out, _ := r.Tree.Run("cat /tmp/heard")
				return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(out, w) })
			}
		}
		r.until("the listener hears", func() bool {
			r.Tree.Run("ubus send spillway.trial")
			return heard("spillway.trial")()
		})
		r.failsOver()
		r.until("link and plan are told", heard("spillway.link", "spillway.plan"))
		r.do("cat /tmp/heard")
		if format.name == "apk" { // the numbers are those that were asked for
			held := r.do("ip rule; ip mptcp endpoint show; nft list table inet spillway | grep tproxy")
			for _, want := range []string{"500:", "fwmark 0x1000/0x1000", "lookup 5000", "lookup 5002", "id 118 ", "meta mark set meta mark | 0x00001000"} {
				if !strings.Contains(held, want) {
					t.Errorf("with numbers of its own there is no %q in:\n%s", want, held)
				}
			}
		}
		listener.Process.Kill()
		listener.Wait()
		if s, _ := r.status(); len(s.Concentrators) != 1 || s.Concentrators[0].RTT < 30 { // the nearer line's
			t.Errorf("the round trip to the concentrator is told as %v", s.Concentrators)
		}
		if out := r.do("ubus call spillway why"); !strings.Contains(out, "+08:00") {
			t.Errorf("the daemon does not know the router's time zone: %s", out)
		}
		if got := r.do("service spillway status; service spillway check"); got != "running\n/etc/config/spillway is well" {
			t.Errorf("running: %q", got)
		}
		r.do("spillway status; spillway links; spillway flows; spillway why; ubus list; spillway doctor")
		pid := r.pid()

		// A change applies, a wrong one is refused and told, nobody restarts, and a connection lives through it all.
		through := r.transfer(traffic.Demand{Kind: traffic.Get, Octets: 600_000, Mbit: 1, Timeout: 90 * time.Second})
		changed := time.Now()
		r.do("uci set spillway.lte.quota=7GB; uci set spillway.voip=rule; uci add_list spillway.voip.dst_port=5060-5061; uci set spillway.voip.action=bypass; uci commit spillway; reload_config")
		r.until("quota and rule apply", func() bool {
			s, _ := r.status()
			return len(s.Links) == 2 && s.Links[1].Quota.Limit == 7e9 && len(s.Rules) == 1 && s.Rules[0].Name == "voip"
		})
		t.Logf("a new quota and a new rule applied %v after the command, a second of which is procd's", time.Since(changed).Round(time.Millisecond))
		r.do("uci set spillway.lte.quote=1; uci commit spillway; reload_config")
		r.until("the mistake is logged", func() bool {
			out, _ := r.Tree.Run("logread -e spillway")
			return strings.Contains(out, "spillway.lte.quote: unknown option; did you mean quota?")
		})
		r.do("uci delete spillway.lte.quote; uci commit spillway; reload_config")
		if err := await.Value(t, "the connection through the reloads", through); err != nil {
			t.Errorf("the connection through the reloads: %v", err)
		}
		if got := r.pid(); got != pid {
			t.Errorf("reloading made process %s of %s", got, pid)
		}
		r.relays()

		// ubusd may come and go.
		r.do("kill -USR1 1")
		r.until("the object is back", func() bool { _, ok := r.status(); return ok })

		// An upgrade keeps what is configured, and runs the new version.
		r.packages("0.1.0-r2", format.name)
		r.do(install)
		r.until("the new version relays", func() bool { return r.pid() != pid && r.pid() != "0" && r.running() })
		if got := r.do("uci get spillway.lte.quota; ls /etc/config"); !strings.HasPrefix(got, "7GB") || !strings.Contains(got, "spillway-opkg") && !strings.Contains(got, "spillway.apk-new") {
			t.Errorf("after the upgrade: %q", got)
		}
		r.do("rm -f /etc/config/spillway-opkg /etc/config/spillway.apk-new")
		r.relays()
		if got := r.do("cat /lib/upgrade/keep.d/spillway"); got != "/etc/config/spillway\n/etc/spillway/" {
			t.Errorf("sysupgrade keeps %q", got)
		}

		// Switched off, stopped, disabled.
		r.do("uci set spillway.global.enabled=0; uci commit spillway; reload_config")
		r.until("switched off", func() bool { _, ok := r.status(); return !ok })
		r.asItWas("switched off", kernel)
		r.do("uci set spillway.global.enabled=1; uci commit spillway; service spillway restart")
		r.until("it relays again", r.running)
		r.do("service spillway stop; service spillway disable")
		r.asItWas("stopped", kernel)
		if _, err := r.Tree.Run("service spillway enabled"); err == nil {
			t.Error("still enabled at boot")
		}
		r.do("service spillway enable; service spillway start; service spillway enabled")
		r.until("it relays once more", r.running)

		// The log has each line at its severity.
		log := r.do("logread -e spillway")
		for _, want := range []string{"daemon.info spillway[", "daemon.err spillway[", "level=INFO msg=running", "level=WARN"} {
			if !strings.Contains(log, want) {
				t.Errorf("no %s in the log", want)
			}
		}
		for line := range strings.Lines(log) {
			if strings.Contains(line, "level=INFO") == strings.Contains(line, " daemon.err ") && strings.Contains(line, "level=") {
				t.Errorf("at the wrong severity: %s", line)
			}
		}

		// Removed while it runs.
		r.do(format.remove)
		r.asItWas("removed", kernel)
		left, err := r.Files()
		if err != nil {
			t.Fatal(err)
		}
		yours := []string{"/etc/config/spillway", "/etc/spillway", "/etc/spillway/usage.json"}
		same(t, "removed", files, left, append(yours, "/usr/lib/opkg", "/usr/lib/opkg/info", "/lib/apk", "/lib/apk/db")...)
		r.do("rm -rf /etc/config/spillway /etc/spillway")
	}
}
