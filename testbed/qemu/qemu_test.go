// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"errors"
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

// One MIPS and one ARM router. What counts is what happened and that no octet is wrong, not how fast: the processor is
// emulated, on whatever machine this is.
func TestAnEmulatedRouterRelaysAndFailsOver(t *testing.T) {
	for _, name := range []string{"mipsel-6.1", "armhf-6.1"} {
		t.Run(name, func(t *testing.T) { g, image := prepared(t, name); failOver(t, g, image) })
	}
}

// hosted is a guest that this machine can boot, and where its kernel is. What a laptop lacks skips the test, by name; with CI=true it fails.
func hosted(t *testing.T, name string) (Guest, Debian) {
	t.Helper()
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
	return g, store
}

// prepared is such a guest with its image, in the place of a router in namespaces.
func prepared(t *testing.T, name string) (Guest, Image) {
	t.Helper()
	netns.Require(t)
	g, store := hosted(t, name)
	if _, err := store.Userland(g.Userland); err != nil {
		netns.Missing(t, "needs busybox and nft: "+err.Error())
	}
	image, err := store.Prepare(g, false)
	if err != nil {
		t.Fatal(err)
	}
	return g, image
}

// failOver tells the story once; and once more where the emulator itself failed, as it does on a busy host (docs/ROUTERS.md,
// "What an emulated Malta has wrong"). What the router does wrong is told at once.
func failOver(t *testing.T, g Guest, image Image) {
	bin, err := world.Build()
	if err != nil {
		t.Fatal(err)
	}
	for tries := 1; ; tries++ {
		err := story(t, &Slot{Guest: g, Image: image, Limit: 15 * time.Minute}, bin)
		if err == nil {
			return
		}
		if !errors.Is(err, ErrMachine) || tries == 2 {
			t.Fatal(err)
		}
		t.Logf("again, in another machine: %v", err)
	}
}

const (
	transferred = 3_000_000       // octets of the download
	patience    = 4 * time.Minute // for each step: an idle machine takes seconds
)

// story is a router's day: it boots, relays a download, loses DSL in the middle of it, goes on by LTE, is killed, forwards
// without its daemon, and relays again with a new one.
func story(t *testing.T, slot *Slot, bin world.Binaries) error {
	w, err := world.Make(world.Config{Links: []world.Link{world.DSL(3, 0.6), world.LTE(6, 1.5)}, On: slot.On}, t.TempDir(), bin)
	if err != nil {
		return err
	}
	defer w.Close()
	m := slot.Machine
	t.Logf("kernel %s on %s: %.1f s until the first answer, %.1f of them by its own clock", m.About.Kernel, m.About.Machine, m.Took.Seconds(), m.About.Boot)
	if err := (scenario.Scenario{}).Ready(w); err != nil {
		return err
	}
	for _, chapter := range []struct {
		name string
		do   func(*world.World) error
	}{{"a download loses DSL and goes on by LTE", loseDSL}, {"SIGKILL, and a new daemon", killAndStart}} {
		begin := time.Now()
		if err := chapter.do(w); err != nil {
			return fmt.Errorf("%s: %w\n%s\nthe console's end:\n%s", chapter.name, err, w.Logs(3000), m.Console(3000))
		}
		t.Logf("%s: %.1f s", chapter.name, time.Since(begin).Seconds())
	}
	return w.Router.Stop()
}

// loseDSL cuts DSL in the middle of a download. Whoever watches may be slower than the download, on a busy machine; then a
// larger one follows.
func loseDSL(w *world.World) error {
	for octets := int64(transferred); octets <= 16*transferred; octets *= 2 {
		missed, err := loseDSLDuring(w, octets)
		if err != nil || !missed {
			return err
		}
	}
	return errors.New("every download ended before DSL could be cut in the middle of it")
}

// loseDSLDuring tells whether the middle was missed.
func loseDSLDuring(w *world.World, octets int64) (missed bool, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = download(w, octets)
	}()
	steps := []func() error{
		func() error { return carries(w, 0, done) },
		w.Lines[0].Cut,
		func() error { return carries(w, 1, done) },
		w.Lines[0].Restore,
	}
	for _, step := range steps {
		if failed := step(); failed != nil && !errors.Is(failed, errEnded) {
			return false, failed
		} else if failed != nil {
			missed = true
		}
	}
	select {
	case <-done:
	case <-time.After(patience):
		return false, errors.New("the download does not end")
	}
	return missed, err
}

func killAndStart(w *world.World) error {
	if err := w.Router.Kill(); err != nil {
		return err
	}
	if err := download(w, 100_000); err != nil {
		return fmt.Errorf("without a daemon: %w", err)
	}
	if err := w.Router.Start(w.TOML()); err != nil {
		return fmt.Errorf("a new daemon: %w", err)
	}
	if err := download(w, 300_000); err != nil {
		return fmt.Errorf("with a new daemon: %w", err)
	}
	s, err := w.Router.Status()
	if err == nil && s.Counters["relayed"] == 0 {
		err = errors.New("the new daemon has relayed no connection")
	}
	return err
}

// download has the LAN host fetch so many octets, each of them checked.
func download(w *world.World, octets int64) error {
	r, err := w.Demand(traffic.Demand{Kind: traffic.Get, Octets: octets, Timeout: patience})
	if err == nil && (r.Failed != 0 || r.Bad != 0 || r.Octets != octets) {
		err = fmt.Errorf("download: %d failed, %d with a wrong octet, %d octets of %d: %q", r.Failed, r.Bad, r.Octets, octets, r.Errors)
	}
	return err
}

// errEnded: a download was over too early.
var errEnded = errors.New("the download ended")

// carries waits until a link has carried some more TCP payload, or the download has ended.
func carries(w *world.World, link int, done <-chan struct{}) error {
	const octets = 200_000
	payload := func() uint64 {
		up, down := w.Lines[link].Counts()
		return up.Payload + down.Payload
	}
	before, ended := payload(), false
	err := world.WaitFor(fmt.Sprintf("%d octets of payload on %s", octets, w.Links[link].Name), patience, func() bool {
		select {
		case <-done:
			ended = true
		default:
		}
		return ended || payload() >= before+octets
	})
	if err == nil && payload() < before+octets {
		return errEnded
	}
	return err
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
	all, err := modules(dir, wanted)
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
