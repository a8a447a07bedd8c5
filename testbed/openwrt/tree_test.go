// SPDX-License-Identifier: Apache-2.0

package openwrt

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"spillway/cross"
	"spillway/testbed/await"
	"spillway/testbed/netns"
	"spillway/testbed/traffic"
	"spillway/testbed/world"
)

// network is the tree's /etc/config/network: names as docs/OPENWRT.md has them, devices as the world has them.
const network = `
config interface 'loopback'
	option device 'lo'
	option proto 'static'

config interface 'lan'
	option device 'lan0'
	option proto 'static'

config interface 'wan'
	option device 'dsl'
	option proto 'pppoe'

config interface 'wwan'
	option device 'lte'
	option proto 'qmi'
`

// router is a world whose router is a tree.
type router struct {
	*world.World
	*Tree
	t *testing.T
}

func newRouter(t *testing.T) *router {
	t.Helper()
	w := world.New(t, world.Config{Links: world.Two()})
	for _, name := range []string{"busybox", "nft", "nsenter"} {
		if _, err := exec.LookPath(name); err != nil {
			netns.Missing(t, "needs "+name)
		}
	}
	root, err := world.Root()
	if err != nil {
		t.Fatal(err)
	}
	owrt := filepath.Join(root, "build", "testbed", "owrt")
	cmd := exec.Command("go", "build", "-trimpath", "-o", owrt, "spillway/testbed/openwrt/cmd/owrt")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build owrt: %v\n%s", err, out)
	}
	if err := w.StartServer(w.Dir); err != nil {
		t.Fatal(err)
	}
	if err := w.StartConcentrator(); err != nil {
		t.Fatal(err)
	}
	tree, err := Lay(t.TempDir(), owrt, network)
	if err != nil {
		t.Fatal(err)
	}
	stop, err := tree.Start(w.CPE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	t.Logf("package managers: %s", tree.Using)
	r := &router{w, tree, t}
	t.Cleanup(func() {
		if t.Failed() || os.Getenv("LOGREAD") != "" {
			log, _ := r.Tree.Run("logread")
			t.Logf("logread:\n%s", log)
		}
	})
	return r
}

// do runs a command that must succeed, and is told.
func (r *router) do(line string) string {
	r.t.Helper()
	out, err := r.Tree.Run(line)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Logf("# %s\n%s", line, out)
	return strings.TrimSpace(out)
}

// until polls a condition.
func (r *router) until(what string, cond func() bool) {
	r.t.Helper()
	if err := world.WaitFor(what, 30*time.Second, cond); err != nil {
		r.t.Fatal(err)
	}
}

type link struct {
	Name, State string
	Quota       struct{ Limit uint64 }
}

// status asks as the page does; ok is false while nobody answers.
func (r *router) status() (s struct {
	State    string
	Why      string
	Sessions int
	Doors    struct{ Open bool }
	Counters map[string]uint64
	Links    []link
	Rules    []struct{ Name string }

	Concentrators []struct {
		RTT float64 `json:"rtt_ms"`
	}
}, ok bool) {
	out, err := r.Tree.Run("ubus call spillway status")
	return s, err == nil && json.Unmarshal([]byte(out), &s) == nil
}

func (r *router) running() bool {
	s, ok := r.status()
	table, _ := r.CPE.Output("nft", "list", "table", "inet", "spillway")
	return ok && s.State == "running" && s.Doors.Open && strings.Contains(table, "tproxy ip to")
}

func (r *router) pid() string {
	var s struct{ Pid int }
	out, _ := r.Tree.Run("service spillway info")
	json.Unmarshal([]byte(out), &s)
	return fmt.Sprint(s.Pid)
}

// relays has the LAN host fetch octets, which are checked on arrival, and tells that they went by the relay.
func (r *router) relays() {
	r.t.Helper()
	before, _ := r.status()
	result, err := r.Demand(traffic.Demand{Kind: traffic.Get, Connections: 4, Octets: 200_000, Timeout: 30 * time.Second})
	if err != nil || result.Failed > 0 {
		r.t.Fatalf("the LAN's connections: %v %q", err, result.Errors)
	}
	after, _ := r.status()
	if n := after.Counters["relayed"] - before.Counters["relayed"]; n < 4 {
		r.t.Fatalf("%d of 4 connections were relayed", n)
	}
}

// transfer does what a demand asks for, meanwhile.
func (r *router) transfer(d traffic.Demand) <-chan error {
	done := make(chan error, 1)
	go func() {
		result, err := r.Demand(d)
		if err == nil && result.Failed > 0 {
			err = fmt.Errorf("%q", result.Errors)
		}
		done <- err
	}()
	return done
}

// failsOver takes the fixed line's carrier away in the middle of a download, which goes on over the other one.
func (r *router) failsOver() {
	r.t.Helper()
	done := r.transfer(traffic.Demand{Kind: traffic.Get, Octets: 2_500_000, Timeout: 60 * time.Second})
	r.until("the download is under way", func() bool {
		var page struct {
			Flows []struct {
				Rx uint64 `json:"rx_bytes"`
			}
		}
		out, _ := r.Tree.Run("ubus call spillway flows")
		return json.Unmarshal([]byte(out), &page) == nil && len(page.Flows) > 0 && page.Flows[0].Rx > 300_000
	})
	if err := r.Lines[0].Cut(); err != nil {
		r.t.Fatal(err)
	}
	r.until("lte is first", func() bool {
		s, _ := r.status()
		return slices.ContainsFunc(s.Links, func(l link) bool { return l.Name == "lte" && l.State == "first" })
	})
	if err := await.Value(r.t, "the download over the loss of dsl", done); err != nil {
		r.t.Fatalf("the download over the loss of dsl: %v", err)
	}
	if err := r.Lines[0].Restore(); err != nil {
		r.t.Fatal(err)
	}
}

// withoutMPTCP starts the daemon on a kernel without: it leaves the router alone, and says why.
func (r *router) withoutMPTCP(kernel map[string]string) {
	r.t.Helper()
	if err := r.CPE.Sysctl("net.mptcp.enabled", "0"); err != nil {
		r.t.Fatal(err)
	}
	held := r.kernel()
	r.do("uci set spillway.global.enabled=1; uci set spillway.home.address=198.51.100.10; uci commit spillway; service spillway start")
	r.until("it says that it can't", func() bool {
		s, ok := r.status()
		return ok && s.State == "direct" && strings.Contains(s.Why, "no MPTCP")
	})
	same(r.t, "running without MPTCP", held, r.kernel())
	if result, err := r.Demand(traffic.Demand{Kind: traffic.Get, Octets: 100_000, Timeout: 30 * time.Second}); err != nil || result.Failed > 0 {
		r.t.Errorf("without MPTCP the LAN has no connections: %v %q", err, result.Errors)
	}
	if out, err := r.Tree.Run("spillway doctor"); err == nil || !strings.Contains(out, "FAIL  machine/mptcp") {
		r.t.Errorf("doctor without MPTCP: %v\n%s", err, out)
	}
	if out := r.do("service spillway info"); !strings.Contains(out, `"started":1`) {
		r.t.Errorf("without MPTCP it does not stay: %s", out)
	}
	r.do("uci set spillway.global.enabled=0; uci commit spillway; service spillway reload") // not stop: procd would forget the trigger
	if err := r.CPE.Sysctl("net.mptcp.enabled", "1"); err != nil {
		r.t.Fatal(err)
	}
	r.asItWas("stopped without MPTCP", kernel)
}

// kernel is what the router's kernel holds, in the words of nft and ip, and its network settings.
func (r *router) kernel() map[string]string {
	r.t.Helper()
	held := map[string]string{}
	for _, line := range []string{"nft list ruleset", "ip -4 rule", "ip -6 rule", "ip -4 route show table all", "ip -6 route show table all", "ip mptcp endpoint show", "ip mptcp limits show"} {
		out, err := r.CPE.Output("sh", "-c", line)
		if err != nil {
			r.t.Fatal(err)
		}
		held[line] = out
	}
	err := r.CPE.Do(func() error {
		return filepath.WalkDir("/proc/sys/net", func(name string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() && !ticking[d.Name()] {
				b, _ := os.ReadFile(name)
				held[name] = string(b)
			}
			return nil // some may not be read
		})
	})
	if err != nil || len(held) < 300 {
		r.t.Fatalf("%d settings read: %v", len(held), err)
	}
	return held
}

// ticking are values that are measured, not set; and the kernel's own secret for fast open, which it makes when the first socket asks
// whether it might and which nobody can take back.
var ticking = map[string]bool{"nf_conntrack_count": true, "tcp_fastopen_key": true}

// same compares two states of the kernel or of the files, and tells what differs.
func same(t *testing.T, when string, before, after map[string]string, but ...string) {
	t.Helper()
	keys := maps.Clone(before)
	maps.Copy(keys, after)
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if a, b := before[k], after[k]; a != b && !slices.Contains(but, k) {
			t.Errorf("%s, %s differs:\nbefore: %q\nafter:  %q", when, k, a, b)
		}
	}
}

// asItWas waits until the daemon has ended, and compares the kernel.
func (r *router) asItWas(when string, before map[string]string) {
	r.t.Helper()
	r.until("the daemon ended", func() bool {
		info, err := r.Tree.Run("procd-call info spillway -") // its init script may be gone by now
		return err == nil && !strings.Contains(info, `"running":true`)
	})
	same(r.t, when, before, r.kernel())
}

// packages writes both packages of a version in a format, and puts them where `scp` would have.
func (r *router) packages(version, format string) {
	r.t.Helper()
	root, err := cross.Root()
	if err != nil {
		r.t.Fatal(err)
	}
	at := time.Unix(1_700_000_000, 0)
	daemon, err := cross.DaemonPackage(root, version, "x86_64", r.Bin.Spillway, at)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := range daemon.Files {
		if f := &daemon.Files[i]; f.Conf && version != "0.1.0-r1" {
			f.Data = append(slices.Clone(f.Data), "\n# of "+version+"\n"...)
		}
	}
	pages, _, err := cross.LuCIPackage(root, version, at)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, p := range []cross.Package{daemon, pages} {
		name, make := cross.IPKName(p), cross.IPK
		if format == "apk" {
			name, make = cross.APKName(p), cross.APK
		}
		b, err := make(p)
		if err != nil {
			r.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(r.Tree.Dir, "root", name), b, 0o644); err != nil {
			r.t.Fatal(err)
		}
	}
	r.do("rm -f /tmp/*.ipk /tmp/*.apk; mv /root/*spillway* /tmp/")
}

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
