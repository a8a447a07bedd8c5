// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"spillway/journal"
	"spillway/mptcp"
)

func TestStopLeavesNoTrace(t *testing.T) {
	h := newHouse(t)
	h.foreign()
	before := h.world()
	want := h.want(household())
	if ops := h.apply(want); len(ops) < 20 {
		t.Errorf("the first start did only:\n%s", lines(ops))
	}
	during := h.world()
	traces := []string{"table inet spillway", "lookup 7702", "10.2.2.2 id 253", "subflows 7", "net/ipv4/conf/dsl/rp_filter=2", " 67108864\n"}
	if strings.Contains(before, "net/mptcp/blackhole_timeout=") { // since Linux 6.12
		traces = append(traces, "net/mptcp/blackhole_timeout=0")
	}
	for _, trace := range traces {
		if !strings.Contains(during, trace) {
			t.Errorf("no %q in:\n%s", trace, during)
		}
	}
	if ops := h.apply(want); len(ops) != 0 {
		t.Errorf("a second Apply did:\n%s", lines(ops))
	}
	// Somebody's endpoint that comes after ours gets no number of ours, and stays.
	h.must(h.cpe.Script("mptcp endpoint add fd77::1 dev br-lan subflow\n"))
	if ops := h.apply(want); len(ops) != 0 {
		t.Errorf("after somebody added an endpoint:\n%s", lines(ops))
	}
	h.must(h.cpe.Script("mptcp endpoint del id 2\n"))
	// Killed, and started anew in an unchanged world.
	h.rec.Close()
	h.rec = h.reconciler()
	again := h.want(household())
	if ops := h.apply(again); len(ops) != 0 {
		t.Errorf("a second start did:\n%s", lines(ops))
	}
	if now := h.world(); now != during {
		t.Errorf("a second start changed:\n%s", diffText(during, now))
	}
	h.stop()
	if after := h.world(); after != before {
		t.Errorf("stop left a trace:\n%s", diffText(before, after))
	}
	if left, _ := filepath.Glob(h.saved + "*"); len(left) != 0 {
		t.Errorf("stop left files: %v", left)
	}
}

// Other numbers than the usual: all of ours lie there, nothing collides, and what a killed predecessor with the usual ones left is gone.
func TestOtherNumbers(t *testing.T) {
	h := newHouse(t)
	h.apply(h.want(household())) // and is killed
	h.must(h.cpe.Script("rule add pref 3000 fwmark 0x30000000 lookup 1\n"))
	saved := filepath.Join(t.TempDir(), "saved")
	before, err := os.ReadFile(string(h.rec.saved))
	h.must(err)
	h.must(os.WriteFile(saved, before, 0o600))
	n := Numbers{Mark: 0x00000ff0, Table: 5000, Priority: 400, Endpoint: 100}
	var rec *Reconciler
	h.must(h.cpe.Do(func() (err error) {
		rec, err = New(Options{Saved: saved, Numbers: n}, journal.Discard())
		return err
	}))
	defer rec.Close()
	left, err := h.rec.Read()
	h.must(err)
	if len(left.Rules) == 0 || len(left.Routes) == 0 || len(left.Endpoints) == 0 || left.Ruleset.Mark == "" {
		t.Errorf("of a predecessor that may live still is left, before anything is wanted:\n%v", left)
	}
	table := household()
	table.Numbers, table.Door4, table.Door6 = n, 4000, 4001
	set, err := Render(table)
	h.must(err)
	if strings.Contains(set.Text(), "0x10000000") || !strings.Contains(set.Text(), "meta mark | 0x100") {
		t.Errorf("marks in:\n%s", set.Text())
	}
	want := State{Ruleset: set, Rules: append(n.LocalRules([]string{"br-lan"}, true), n.LinkRules(1, netip.MustParseAddr("10.2.2.2"))...), Routes: n.LocalRoutes(true)}
	h.must(h.cpe.Do(func() error { _, err := rec.Apply(context.Background(), want); return err }))
	left, err = h.rec.Read()
	h.must(err)
	if len(left.Rules)+len(left.Routes)+len(left.Endpoints) != 0 {
		t.Errorf("of the predecessor is left:\n%v", left)
	}
	have, err := rec.Read()
	h.must(err)
	have.Sysctls, have.Limits, want.Sysctls = nil, want.Limits, nil
	if !have.equal(want) {
		t.Errorf("holds\n%vwant\n%v", have, want)
	}
	if found, err := rec.Conflicts(); len(found) != 0 || err != nil {
		t.Errorf("collides: %q %v", found, err)
	}
	rules, err := h.cpe.Output("ip", "rule")
	h.must(err)
	if !strings.Contains(rules, "400:") || !strings.Contains(rules, "fwmark 0x100/0x100") || !strings.Contains(rules, "lookup 5002") {
		t.Errorf("rules:\n%s", rules)
	}
	h.must(h.cpe.Do(func() error { _, err := rec.Stop(context.Background()); return err }))
	if rules, err = h.cpe.Output("ip", "rule"); strings.Contains(rules, "400:") || err != nil {
		t.Errorf("after the end:\n%s", rules)
	}
	if _, err := os.Stat(saved); err == nil {
		t.Error("the note of what to restore outlives the end")
	}
}

// A setting that is no longer asked for goes back to what it was while the rest stays.
func TestDroppedSettingGoesBack(t *testing.T) {
	h := newHouse(t)
	h.must(h.cpe.Sysctl("net.ipv4.conf.lte.rp_filter", "1"))
	want := h.want(lanTable())
	h.apply(want)
	delete(want.Sysctls, "net/ipv4/conf/lte/rp_filter")
	want.Limits = mptcp.Limits{}
	ops := lines(h.apply(want))
	if w := "sysctl net/ipv4/conf/lte/rp_filter=1\nip mptcp limits set subflows 2 add_addr_accepted 0\n"; ops != w {
		t.Errorf("did:\n%swant:\n%s", ops, w)
	}
	if ops := h.apply(want); len(ops) != 0 {
		t.Errorf("and again:\n%s", lines(ops))
	}
}

// dying is a context that ends after so many looks at it: a daemon killed before its n-th operation.
type dying struct {
	context.Context
	left int
}

func (d *dying) Err() error {
	if d.left--; d.left < 0 {
		return context.Canceled
	}
	return nil
}

// Killed before any operation of its start or stop, then started again and stopped: the state converges and no trace stays.
func TestKilledAtEachStep(t *testing.T) {
	h := newHouse(t)
	h.foreign()
	before := h.world()
	one := func() State { // one of everything is enough
		s := h.want(lanTable())
		s.Routes, s.Rules, s.Endpoints = s.Routes[1:3], s.Rules[1:4], s.Endpoints[:1]
		for key := range s.Sysctls {
			if key != "net/ipv4/conf/dsl/rp_filter" && key != "net/ipv4/tcp_fastopen" {
				delete(s.Sysctls, key)
			}
		}
		return s
	}
	want := one()
	steps := len(h.apply(want))
	h.stop()
	for step := range steps {
		for _, state := range []State{want, {}} { // killed while starting, then killed while stopping
			h.cpe.Do(func() error {
				_, err := h.rec.Apply(&dying{context.Background(), step}, state)
				return err
			})
			h.rec.Close()
			h.rec = h.reconciler()
			again := one()
			h.apply(again)
			if ops := h.apply(again); len(ops) != 0 {
				t.Fatalf("killed at step %d, then started: a second Apply did:\n%s", step, lines(ops))
			}
		}
		h.stop()
		if after := h.world(); after != before {
			t.Fatalf("killed at step %d, then started and stopped:\n%s", step, diffText(before, after))
		}
	}
	t.Logf("%d steps of start and stop", steps)
}

// A disk that takes no file keeps nobody from bonding, and a normal stop restores all the same.
func TestUnwritableDisk(t *testing.T) {
	h := newHouse(t)
	before := h.world()
	h.rec.saved = "/proc/nowhere/saved"
	err := h.cpe.Do(func() error { _, err := h.rec.Apply(context.Background(), h.want(lanTable())); return err })
	if err == nil || !strings.Contains(err.Error(), "sysctls would not be restored after a crash") {
		t.Errorf("error: %v", err)
	}
	if during := h.world(); !strings.Contains(during, "net/ipv4/conf/lte/rp_filter=2") {
		t.Errorf("sysctls were not set:\n%s", during)
	}
	h.must(h.cpe.Do(func() error { _, err := h.rec.Stop(context.Background()); return err }))
	if after := h.world(); after != before {
		t.Errorf("stop left a trace:\n%s", diffText(before, after))
	}
}

// Every golden table is one that nft takes.
func TestGoldenTablesLoad(t *testing.T) {
	h := newHouse(t)
	files, err := filepath.Glob("testdata/*.nft")
	h.must(err)
	if len(files) == 0 {
		t.Fatal("no golden tables")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			if filepath.Base(file) == "held.nft" {
				if err := h.cpe.Do(func() error { return h.rec.CanQueue(t.Context()) }); err != nil {
					t.Skip(err)
				}
			}
			if err := h.cpe.Run("nft", "-f", file); err != nil {
				t.Error(err)
			}
		})
	}
}
