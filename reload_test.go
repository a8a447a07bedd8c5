// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"spillway/config"
	"spillway/journal"
	"spillway/linkmon"
	"spillway/policy"
	"spillway/relay"
	"spillway/ubus/netifd"
)

// houseOf is a house of a configuration, as far as a reload goes. No task runs.
func houseOf(t *testing.T, text string) *house {
	t.Helper()
	c := configOf(t, text)
	n := len(c.Links)
	h := &house{cfg: c, log: journal.Discard(), addrs: literal(c.Concentrators), senses: make([]sense, n), paths: make([]pathState, n),
		joined: make([]bool, n), repeats: make([]repeat, n), calls: make(chan func()), rename: make(chan struct{}, 1), rehold: make(chan struct{}, 1),
		notHeld: errNotRead, machine: policy.New(policyConfig(c, netifd.State{})), tell: func(event) {}}
	for _, l := range c.Links {
		h.names = append(h.names, l.Device)
	}
	h.shared.Store(c)
	var err error
	if h.relay, err = relay.New(h.relayConfig(), h.log); err != nil {
		t.Fatal(err)
	}
	if h.monitor, err = linkmon.New(linkmonConfig(c, h.names), h.log); err != nil {
		t.Fatal(err)
	}
	return h
}

// configOf is a configuration of links; the rest is the least there must be.
func configOf(t *testing.T, links string) *config.Config {
	t.Helper()
	c, err := config.Parse("test.toml", links+`
[lan]
interfaces = ["br-lan"]
[[concentrator]]
name = "home"
address = "concentrator.example.net"
port = 5124
`)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const twoByName = `
[[link]]
name = "dsl"
interface = "wan"
[[link]]
name = "lte"
interface = "wwan"
role = "overflow"
`

func said(devices ...string) netifd.State {
	var s netifd.State
	for i := 0; i < len(devices); i += 2 {
		s.Interfaces = append(s.Interfaces, netifd.Interface{Name: devices[i], Up: true, Device: devices[i+1]})
	}
	return s
}

// TestAReloadKnowsWhatNetifdSaid: netifd tells of changes alone, so that a link which is new would wait for the next one.
func TestAReloadKnowsWhatNetifdSaid(t *testing.T) {
	h := houseOf(t, twoByName)
	h.adoptNetifd(said("wan", "pppoe-wan", "wwan", "wwan0", "wwanb", "wwan1"))
	more := strings.Replace(twoByName, `"wwan"`, `"wwanb"`, 1) + "[[link]]\nname = \"second\"\ninterface = \"wwan\"\nrole = \"backup\"\n"
	if err := h.adopt(configOf(t, more)); err != nil {
		t.Fatal(err)
	}
	if want := []string{"pppoe-wan", "wwan1", "wwan0"}; !slices.Equal(h.names, want) {
		t.Errorf("devices %q, want %q", h.names, want)
	}
}

// TestTwoLinksOfOneDevice: netifd may name one device for two interfaces (wan and wan6). That leaves out the second link, not all.
func TestTwoLinksOfOneDevice(t *testing.T) {
	h := houseOf(t, twoByName)
	h.adoptNetifd(said("wan", "eth1", "wwan", "eth1"))
	if want := []string{"eth1", ""}; !slices.Equal(h.names, want) {
		t.Errorf("devices %q, want %q", h.names, want)
	}
	if err := linkmonConfig(h.cfg, h.names).Validate(); err != nil {
		t.Error(err)
	}
}

// TestARefusedReloadChangesNothing: what one room refuses, no other must have adopted.
func TestARefusedReloadChangesNothing(t *testing.T) {
	h := houseOf(t, twoByName)
	h.adoptNetifd(said("wan", "pppoe-wan", "wwan", "wwan0"))
	before := h.cfg
	third := configOf(t, twoByName+"[[link]]\nname = \"fibre\"\ndevice = \"eth2\"\n")
	third.Links[2].Device = "longer-than-the-kernel-allows"
	if err := h.adopt(third); err == nil {
		t.Fatal("it was not refused")
	}
	if h.cfg != before || len(h.senses) != 2 || len(h.names) != 2 || len(h.joined) != 2 || len(h.paths) != 2 || len(h.repeats) != 2 {
		t.Errorf("%d links, %d senses, %d names, %d joined, %d paths", len(h.cfg.Links), len(h.senses), len(h.names), len(h.joined), len(h.paths))
	}
}

// TestAReloadSaysAgainWhatWaitsForTheNextStart, also when a second one changes nothing more.
func TestAReloadSaysAgainWhatWaitsForTheNextStart(t *testing.T) {
	h := houseOf(t, twoByName)
	other := "[daemon]\ncontrol = \"/tmp/other.sock\"\nstate = \"/tmp/other.json\"\n[numbers]\ntable = 8000\n" + twoByName
	for range 2 {
		c := configOf(t, other)
		got := needRestart(h.currentConfig(), c)
		if want := []string{"daemon.control", "daemon.state", "numbers"}; !slices.Equal(got, want) {
			t.Errorf("at the next start: %q, want %q", got, want)
		}
		if err := h.adopt(c); err != nil {
			t.Fatal(err)
		}
	}
	if h.cfg.Daemon.Control != "/var/run/spillway.sock" {
		t.Errorf("at its end it would remove %s, which is not its socket", h.cfg.Daemon.Control)
	}
}

// TestAReloadKeepsAddressesWhileNoNameServerAnswers: its resolver begins anew, and knows nothing at first.
func TestAReloadKeepsAddressesWhileNoNameServerAnswers(t *testing.T) {
	h := houseOf(t, twoByName)
	known := [][]netip.AddrPort{{netip.MustParseAddrPort("192.0.2.1:5124")}}
	h.adoptAddresses(resolved{h.cfg, known})
	if err := h.adopt(configOf(t, twoByName)); err != nil {
		t.Fatal(err)
	}
	h.adoptAddresses(resolved{h.cfg, make([][]netip.AddrPort, 1)}) // as it fails to ask
	if len(h.addrs[0]) != 1 {
		t.Errorf("addresses %v", h.addrs)
	}
	h.adoptAddresses(resolved{configOf(t, twoByName), [][]netip.AddrPort{{netip.MustParseAddrPort("192.0.2.9:5124")}}})
	if h.addrs[0][0] != known[0][0] {
		t.Errorf("addresses %v are of another configuration", h.addrs)
	}
}

// TestOthersLinksAreNotTakenForOurs: the monitor may have published a snapshot just before a reload has put the links into another order. A
// quota would be charged with what the other line has carried since the machine's start.
func TestOthersLinksAreNotTakenForOurs(t *testing.T) {
	h := houseOf(t, "[[link]]\nname = \"dsl\"\ndevice = \"eth1\"\n[[link]]\nname = \"lte\"\ndevice = \"wwan0\"\nrole = \"overflow\"\nquota = \"50GB\"\n")
	old := linkmon.Snapshot{At: time.Now(), Links: []linkmon.Link{{Name: "dsl", Device: "eth1"}, {Name: "lte", Device: "wwan0"}}}
	if !h.ours(&old) {
		t.Fatal("its own snapshot is not taken")
	}
	turned := "[[link]]\nname = \"lte\"\ndevice = \"wwan0\"\nrole = \"overflow\"\nquota = \"50GB\"\n[[link]]\nname = \"dsl\"\ndevice = \"eth1\"\n"
	if err := h.adopt(configOf(t, turned)); err != nil {
		t.Fatal(err)
	}
	if h.ours(&old) {
		t.Error("the snapshot before the reload is taken")
	}
}

// TestAnAnswerIsItsOwnLinks, though a reload has put the links into another order, or taken some away, while the question was out.
func TestAnAnswerIsItsOwnLinks(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dsl, lte := "[[link]]\nname = \"dsl\"\ndevice = \"eth1\"\n", "[[link]]\nname = \"lte\"\ndevice = \"wwan0\"\n"
	for name, links := range map[string]string{"the same": dsl + lte, "turned round": lte + dsl, "another first": lte + strings.Replace(dsl, "dsl", "fibre", 1)} {
		h := houseOf(t, dsl+lte)
		h.probes, h.addrs = make(chan probeResult, 1), [][]netip.AddrPort{{l.Addr().(*net.TCPAddr).AddrPort()}}
		h.snap.Links = make([]linkmon.Link, 2)
		h.snap.Links[0] = linkmon.Link{Usable: true, Addr4: netip.MustParseAddr("127.0.0.1"), Device: "lo"}
		h.plan = policy.Plan{Links: []policy.LinkPlan{{Role: policy.First}, {}}}
		began := time.Now()
		for i := range h.senses {
			h.senses[i].health.Step(began.Add(-time.Minute), nil, linkmon.Link{})
		}
		h.probeWhereNeeded(t.Context(), began)
		answer := <-h.probes
		if err := h.adopt(configOf(t, links)); err != nil {
			t.Fatal(err)
		}
		h.probed(t.Context(), answer)
		for i, l := range h.cfg.Links {
			if got := h.senses[i].health.HeardSince(began); got != (l.Name == "dsl") {
				t.Errorf("%s: %s was heard: %v", name, l.Name, got)
			}
		}
	}
}

// TestATakeoverThatComesToNothing leaves no promise that nothing was used since, and no hour to finish at the next stop.
func TestATakeoverThatComesToNothing(t *testing.T) {
	h := houseOf(t, "[[link]]\nname = \"lte\"\ndevice = \"wwan0\"\nquota = \"50GB\"\n")
	h.usage = usageFile(filepath.Join(t.TempDir(), "usage.json"))
	h.machine.Step(policy.Observation{Now: time.Now(), Links: []policy.LinkObs{{Usable: true, UsedBytes: 5, UsedEpoch: 1}}})
	h.serve(t)
	end, _ := unixPair(t)
	if h.succeed(t.Context(), end) {
		t.Fatal("the door, which is closed, was handed over")
	}
	us, err := h.usage.read()
	if err != nil || len(us) != 1 || us[0].Clean {
		t.Errorf("counters %+v, error %v", us, err)
	}
}

// TestAClockThatIsSetBack must not leave a rule of the evening in the table until the wrong clock's next edge has come, in years perhaps.
func TestAClockThatIsSetBack(t *testing.T) {
	noon := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	h := &house{rendered: noon, edge: noon.Add(8 * time.Hour)}
	for _, tt := range []struct {
		now  time.Time
		want bool
	}{
		{noon.Add(time.Hour), false},
		{noon.Add(8 * time.Hour), true},
		{noon.AddDate(10, 0, 0), true},
		{noon.AddDate(-10, 0, 0), true},
	} {
		if got := h.windowsTurn(tt.now); got != tt.want {
			t.Errorf("at %v: %v", tt.now, got)
		}
	}
	h.edge = time.Time{} // no rule has a window
	if h.windowsTurn(noon.AddDate(-10, 0, 0)) {
		t.Error("without windows")
	}
}

// serve runs what is asked of the loop.
func (h *house) serve(t *testing.T) {
	go func() {
		for {
			select {
			case call := <-h.calls:
				call()
			case <-t.Context().Done():
				return
			}
		}
	}()
}

// TestAReloadBySignalTellsTheLogWhatWaits: LuCI and UCI reload by a signal, which nobody answers.
func TestAReloadBySignalTellsTheLogWhatWaits(t *testing.T) {
	h := houseOf(t, twoByName)
	h.serve(t)
	var log bytes.Buffer
	h.log, h.file = journal.New(&log, journal.Info), filepath.Join(t.TempDir(), "spillway.toml")
	rest := "[lan]\ninterfaces = [\"br-lan\"]\n[[concentrator]]\naddress = \"192.0.2.1\"\nport = 5124\n"
	for _, more := range []string{"", "[policy]\npath_manager = \"user\"\n[numbers]\ntable = 8000\n"} {
		if err := os.WriteFile(h.file, []byte(twoByName+rest+more), 0o600); err != nil {
			t.Fatal(err)
		}
		log.Reset()
		if _, err := h.reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		if told := strings.Contains(log.String(), `keys="numbers policy.path_manager"`); told != (more != "") {
			t.Errorf("told: %v, of %q:\n%s", told, more, log.String())
		}
	}
}

// TestTheFileThatWasReadLastIsInForce: a signal and a command may ask for a reload at once, and the file be replaced between.
func TestTheFileThatWasReadLastIsInForce(t *testing.T) {
	h := houseOf(t, twoByName)
	h.serve(t)
	h.file = filepath.Join(t.TempDir(), "spillway.toml")
	if err := unix.Mkfifo(h.file, 0o600); err != nil {
		t.Fatal(err)
	}
	rest := "\n[lan]\ninterfaces = [\"br-lan\"]\n[[concentrator]]\naddress = \"192.0.2.1\"\nport = 5124\n[policy]\nmode = "
	done := make(chan error, 2)
	reload := func() { _, err := h.reload(t.Context()); done <- err }
	go reload()
	old, err := os.OpenFile(h.file, os.O_WRONLY, 0) // waits for the reader
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.file+".new", []byte(twoByName+rest+`"bond"`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(h.file+".new", h.file); err != nil {
		t.Fatal(err)
	}
	go reload()
	time.Sleep(50 * time.Millisecond)
	old.WriteString(twoByName + rest + `"backup"`)
	old.Close()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if mode := h.currentConfig().Policy.Mode; mode != "bond" {
		t.Errorf("mode %s is in force, which was read before it was replaced", mode)
	}
}

// TestTheBusMeetsAReload is for the race detector.
func TestTheBusMeetsAReload(t *testing.T) {
	h := houseOf(t, twoByName)
	h.serve(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	done := make(chan error)
	go func() { done <- h.bus(ctx) }()
	h.call(t.Context(), func() { h.adopt(configOf(t, twoByName)) })
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestADeviceThatCantBeChangesNothing: snapshots are known by their devices, so that names which the monitor has not would keep all out.
func TestADeviceThatCantBeChangesNothing(t *testing.T) {
	h := houseOf(t, twoByName)
	h.adoptNetifd(said("wan", "pppoe-wan", "wwan", "wwan0"))
	h.adoptNetifd(said("wan", "longer-than-the-kernel-allows", "wwan", "wwan0"))
	if !slices.Equal(h.names, []string{"pppoe-wan", "wwan0"}) {
		t.Errorf("devices %q", h.names)
	}
}

// TestTheModemsRatesAreThoseOfItsOwnLine: not of a cable line that is the one primary, beside DSL for what overflows.
func TestTheModemsRatesAreThoseOfItsOwnLine(t *testing.T) {
	h := houseOf(t, "[[link]]\nname = \"cable\"\ninterface = \"wan\"\n[[link]]\nname = \"dsl\"\ninterface = \"wan2\"\nrole = \"overflow\"\n")
	s := said("wan", "eth1", "wan2", "pppoe-wan2")
	s.Interfaces[1].Kind, s.Line = netifd.DSL, netifd.Line{Present: true, DownBit: 16e6, UpBit: 2e6}
	h.adoptNetifd(s)
	if got := [2]float64{h.senses[0].down.Modem, h.senses[1].down.Modem}; got != [2]float64{0, 16e6} {
		t.Errorf("the modem's rate by link: %v", got)
	}
	s.Interfaces[1].Kind = netifd.Unknown // in a bridge, say
	h.adoptNetifd(s)
	if got := [2]float64{h.senses[0].down.Modem, h.senses[1].down.Modem}; got != [2]float64{16e6, 0} {
		t.Errorf("of no link's kind: %v", got)
	}
}

// TestAHangupEndsNothing: not when the daemon has begun to stop either.
func TestAHangupEndsNothing(t *testing.T) {
	h := houseOf(t, twoByName)
	h.hup = hangups()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.signals(ctx); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(unix.Getpid(), unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	<-h.hup
}
