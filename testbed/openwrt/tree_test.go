// SPDX-License-Identifier: Apache-2.0

package openwrt

import (
	"slices"
	"strings"
	"testing"
	"time"

	"spillway/testbed/await"
	"spillway/testbed/pages"
	"spillway/testbed/traffic"
)

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
	for _, l := range []life{
		{format: "ipk", heading: "24.10 (opkg):", remove: "opkg remove luci-app-spillway spillway"},
		{format: "apk", heading: "25.12 (apk):", remove: "apk del luci-app-spillway spillway"},
	} {
		t.Logf("---- %s", l.format)
		l.router, l.page, l.before = r, pages.Read(t, "docs/OPENWRT.md"), r.kernel()
		var err error
		if l.files, err = r.Files(); err != nil {
			t.Fatal(err)
		}
		l.install = overSSH(t, block(t, l.page, l.heading))
		l.installed()
		if l.format == "ipk" {
			r.withoutMPTCP(l.before)
		}
		l.switchedOn()
		l.changed()
		l.ubusdGoes()
		l.upgraded()
		l.switchedOff()
		l.logged()
		l.removed()
	}
}

// life is that of the packages of one format, from the installation on.
type life struct {
	*router
	format, heading, remove string            // of packages; the page's line before the commands; the command of the end
	page, install           string            // docs/OPENWRT.md, and what it has one type
	before, files           map[string]string // the kernel's state and the tree, before
	process                 string            // the daemon, while the configuration changes
}

// installed installs the packages: nothing has changed but that the files are there.
func (l *life) installed() {
	l.packages("0.1.0-r1", l.format)
	l.do(l.install)
	l.asItWas("installed", l.before)
	l.until("rpcd reads the new rights", func() bool {
		out, _ := l.Tree.Run("logread -e 'rpcd: reload'")
		return strings.Contains(out, "reload")
	})
	if got := l.do("uci get spillway.global.enabled; uci get spillway.dsl.interface; uci get spillway.lte.interface; uci get spillway.lan.interfaces; service spillway status; ls /etc/rc.d"); got !=
		"0\nwan\nwwan\nlan0\nactive with no instances\nK10spillway\nS95spillway" {
		l.t.Errorf("after the installation: %q", got)
	}
}

// switchedOn switches it on by the document's own lines: it relays, fails over, and tells of it.
func (l *life) switchedOn() {
	if l.format == "apk" {
		l.do("uci set spillway.global.jail=1; uci set spillway.n=numbers; uci set spillway.n.mark_mask=0x0000ff00; uci set spillway.n.table=5000; uci set spillway.n.priority=500; uci set spillway.n.endpoint=120")
	}
	for _, line := range block(l.t, l.page, "Or in a shell:") {
		l.do(line)
	}
	l.until("it relays", l.running)
	l.relays()
	listener := l.Tree.Command("exec ubus listen 'spillway.*' >/tmp/heard")
	if err := listener.Start(); err != nil {
		l.t.Fatal(err)
	}
	heard := func(words ...string) func() bool {
		return func() bool {
			out, _ := l.Tree.Run("cat /tmp/heard")
			return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(out, w) })
		}
	}
	l.until("the listener hears", func() bool {
		l.Tree.Run("ubus send spillway.trial")
		return heard("spillway.trial")()
	})
	l.failsOver()
	l.until("link and plan are told", heard("spillway.link", "spillway.plan"))
	l.do("cat /tmp/heard")
	if l.format == "apk" { // the numbers are those that were asked for
		held := l.do("ip rule; ip mptcp endpoint show; nft list table inet spillway | grep tproxy")
		for _, want := range []string{"500:", "fwmark 0x1000/0x1000", "lookup 5000", "lookup 5002", "id 118 ", "meta mark set meta mark | 0x00001000"} {
			if !strings.Contains(held, want) {
				l.t.Errorf("with numbers of its own there is no %q in:\n%s", want, held)
			}
		}
	}
	listener.Process.Kill()
	listener.Wait()
	if s, _ := l.status(); len(s.Concentrators) != 1 || s.Concentrators[0].RTT < 30 { // the nearer line's
		l.t.Errorf("the round trip to the concentrator is told as %v", s.Concentrators)
	}
	if out := l.do("ubus call spillway why"); !strings.Contains(out, "+08:00") {
		l.t.Errorf("the daemon does not know the router's time zone: %s", out)
	}
	if got := l.do("service spillway status; service spillway check"); got != "running\n/etc/config/spillway is well" {
		l.t.Errorf("running: %q", got)
	}
	l.do("spillway status; spillway links; spillway flows; spillway why; ubus list; spillway doctor")
	l.process = l.pid()
}

// changed changes the configuration: what is right applies, what is wrong is refused and told, nobody restarts, and a connection lives through it all.
func (l *life) changed() {
	through := l.transfer(traffic.Demand{Kind: traffic.Get, Octets: 600_000, Mbit: 1, Timeout: 90 * time.Second})
	changed := time.Now()
	l.do("uci set spillway.lte.quota=7GB; uci set spillway.voip=rule; uci add_list spillway.voip.dst_port=5060-5061; uci set spillway.voip.action=bypass; uci commit spillway; reload_config")
	l.until("quota and rule apply", func() bool {
		s, _ := l.status()
		return len(s.Links) == 2 && s.Links[1].Quota.Limit == 7e9 && len(s.Rules) == 1 && s.Rules[0].Name == "voip"
	})
	l.t.Logf("a new quota and a new rule applied %v after the command, a second of which is procd's", time.Since(changed).Round(time.Millisecond))
	l.do("uci set spillway.lte.quote=1; uci commit spillway; reload_config")
	l.until("the mistake is logged", func() bool {
		out, _ := l.Tree.Run("logread -e spillway")
		return strings.Contains(out, "spillway.lte.quote: unknown option; did you mean quota?")
	})
	if out, err := l.Tree.Run("spillway doctor"); err == nil || !strings.Contains(out, "FAIL  machine/configuration") || !strings.Contains(out, "spillway.lte.quote: unknown option") {
		l.t.Errorf("doctor with a file that was refused: %v\n%s", err, out)
	}
	l.do("uci delete spillway.lte.quote; uci commit spillway; reload_config")
	if err := await.Value(l.t, "the connection through the reloads", through); err != nil {
		l.t.Errorf("the connection through the reloads: %v", err)
	}
	if got := l.pid(); got != l.process {
		l.t.Errorf("reloading made process %s of %s", got, l.process)
	}
	l.relays()
}

// ubusdGoes has ubusd come and go.
func (l *life) ubusdGoes() {
	l.do("kill -USR1 1")
	l.until("the object is back", func() bool { _, ok := l.status(); return ok })
}

// upgraded upgrades: what is configured is kept, and the new version runs.
func (l *life) upgraded() {
	l.packages("0.1.0-r2", l.format)
	l.do(l.install)
	l.until("the new version relays", func() bool { return l.pid() != l.process && l.pid() != "0" && l.running() })
	if got := l.do("uci get spillway.lte.quota; ls /etc/config"); !strings.HasPrefix(got, "7GB") || !strings.Contains(got, "spillway-opkg") && !strings.Contains(got, "spillway.apk-new") {
		l.t.Errorf("after the upgrade: %q", got)
	}
	l.do("rm -f /etc/config/spillway-opkg /etc/config/spillway.apk-new")
	l.relays()
	if got := l.do("cat /lib/upgrade/keep.d/spillway"); got != "/etc/config/spillway\n/etc/spillway/" {
		l.t.Errorf("sysupgrade keeps %q", got)
	}
}

// switchedOff switches it off, stops it, disables it.
func (l *life) switchedOff() {
	l.do("uci set spillway.global.enabled=0; uci commit spillway; reload_config")
	l.until("switched off", func() bool { _, ok := l.status(); return !ok })
	l.asItWas("switched off", l.before)
	l.do("uci set spillway.global.enabled=1; uci commit spillway; service spillway restart")
	l.until("it relays again", l.running)
	l.do("service spillway stop; service spillway disable")
	l.asItWas("stopped", l.before)
	if _, err := l.Tree.Run("service spillway enabled"); err == nil {
		l.t.Error("still enabled at boot")
	}
	l.do("service spillway enable; service spillway start; service spillway enabled")
	l.until("it relays once more", l.running)
}

// logged looks at the log: each line is there at its severity.
func (l *life) logged() {
	log := l.do("logread -e spillway")
	for _, want := range []string{"daemon.info spillway[", "daemon.err spillway[", "level=INFO msg=running", "level=WARN"} {
		if !strings.Contains(log, want) {
			l.t.Errorf("no %s in the log", want)
		}
	}
	for line := range strings.Lines(log) {
		if strings.Contains(line, "level=INFO") == strings.Contains(line, " daemon.err ") && strings.Contains(line, "level=") {
			l.t.Errorf("at the wrong severity: %s", line)
		}
	}
}

// removed removes the packages while it runs.
func (l *life) removed() {
	l.do(l.remove)
	l.asItWas("removed", l.before)
	left, err := l.Files()
	if err != nil {
		l.t.Fatal(err)
	}
	yours := []string{"/etc/config/spillway", "/etc/spillway", "/etc/spillway/usage.json"}
	same(l.t, "removed", l.files, left, append(yours, "/usr/lib/opkg", "/usr/lib/opkg/info", "/lib/apk", "/lib/apk/db")...)
	l.do("rm -rf /etc/config/spillway /etc/spillway")
}
