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
