// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"spillway/testbed/netns"
	"spillway/testbed/scenario"
	"spillway/testbed/traffic"
	"spillway/testbed/world"
)

// One MIPS and one ARM router boot, relay a download, lose DSL in the middle of it and go on by LTE. What counts is what
// happened and that no octet is wrong, not how fast: the processor is emulated, on whatever machine this is.
func TestAnEmulatedRouterRelaysAndFailsOver(t *testing.T) {
	for _, name := range []string{"mipsel-6.1", "armhf-6.1"} {
		t.Run(name, func(t *testing.T) { failOver(t, prepared(t, name)) })
	}
}

// prepared is a guest with its image. What a laptop lacks skips the test, by name; with CI=true it fails.
func prepared(t *testing.T, name string) *Slot {
	t.Helper()
	netns.Require(t)
	g, err := Find(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath(g.QEMU); err != nil {
		netns.Missing(t, fmt.Sprintf("needs %s (Debian package %s)", g.QEMU, g.Package))
	}
	root, err := world.Root()
	if err != nil {
		t.Fatal(err)
	}
	store := Debian{Dir: filepath.Join(root, "build", "qemu"), Log: t.Logf}
	if _, err := store.Kernel(g.Kernel); err != nil {
		netns.Missing(t, "needs a kernel: "+err.Error())
	}
	if _, err := store.Userland(g.Userland); err != nil {
		netns.Missing(t, "needs busybox and nft: "+err.Error())
	}
	image, err := store.Prepare(g, false)
	if err != nil {
		t.Fatal(err)
	}
	return &Slot{Guest: g, Image: image, Limit: 4 * time.Minute}
}

func failOver(t *testing.T, slot *Slot) {
	w := world.New(t, world.Config{Links: []world.Link{world.DSL(3, 0.6), world.LTE(6, 1.5)}, On: slot.On})
	t.Logf("kernel %s on %s: %.1f s until the first answer, %.1f of them by its own clock",
		slot.Machine.About.Kernel, slot.Machine.About.Machine, slot.Machine.Took.Seconds(), slot.Machine.About.Boot)
	if err := (scenario.Scenario{}).Ready(w); err != nil {
		t.Fatal(err)
	}
	const octets = 3_000_000
	var result traffic.Result
	done := make(chan error, 1)
	go func() (err error) {
		defer func() { done <- err }()
		result, err = w.Demand(traffic.Demand{Kind: traffic.Get, Octets: octets, Timeout: 90 * time.Second})
		return err
	}()
	carries(t, w, 0, 200_000)
	if err := w.Lines[0].Cut(); err != nil {
		t.Fatal(err)
	}
	carries(t, w, 1, 200_000)
	if err := w.Lines[0].Restore(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if result.Failed != 0 || result.Bad != 0 || result.Octets != octets {
		t.Errorf("download: %d failed, %d with a wrong octet, %d octets of %d: %q", result.Failed, result.Bad, result.Octets, octets, result.Errors)
	}
	s, err := w.Router.Status()
	if err != nil || s.Counters["accepted"] == 0 {
		t.Errorf("status: %d connections relayed, %v; want one at least", s.Counters["accepted"], err)
	}
	if err := w.Router.Stop(); err != nil {
		t.Error(err)
	}
}

// carries waits until a link has carried so much more TCP payload.
func carries(t *testing.T, w *world.World, link int, octets uint64) {
	t.Helper()
	payload := func() uint64 {
		up, down := w.Lines[link].Counts()
		return up.Payload + down.Payload
	}
	before := payload()
	err := world.WaitFor(fmt.Sprintf("%d octets of payload on %s", octets, w.Links[link].Name), 60*time.Second, func() bool { return payload() >= before+octets })
	if err != nil {
		t.Fatal(err)
	}
}

func TestModulesComeAfterWhatTheyNeed(t *testing.T) {
	dir := t.TempDir()
	for name, info := range map[string]string{
		"kernel/net/nft_tproxy.ko":     "license=GPL\x00depends=nf_tables,nf-tproxy-ipv4\x00",
		"kernel/net/nf_tables.ko":      "alias=x\x00depends=nfnetlink\x00softdep=pre: libcrc32c\x00",
		"kernel/net/nfnetlink.ko":      "alias=x\x00depends=\x00",
		"kernel/net/nf-tproxy-ipv4.ko": "alias=x\x00depends=\x00",
		"kernel/lib/libcrc32c.ko":      "alias=x\x00depends=\x00",
		"kernel/drivers/unwanted.ko":   "alias=x\x00depends=\x00",
	} {
		path := filepath.Join(dir, "lib/modules/6.1", name)
		os.MkdirAll(filepath.Dir(path), 0o755)
		if err := os.WriteFile(path, []byte("\x00"+info), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	all, err := modules(dir)
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]int{}
	for i, m := range all {
		at[m.name] = i + 1
	}
	if len(all) != 5 || at["unwanted"] != 0 {
		t.Errorf("modules: %v, want the five that are wanted or needed", all)
	}
	for _, pair := range [][2]string{{"nfnetlink", "nf_tables"}, {"libcrc32c", "nf_tables"}, {"nf_tables", "nft_tproxy"}, {"nf_tproxy_ipv4", "nft_tproxy"}} {
		if at[pair[0]] == 0 || at[pair[0]] > at[pair[1]] {
			t.Errorf("%s comes at %d, %s at %d", pair[0], at[pair[0]], pair[1], at[pair[1]])
		}
	}
}
