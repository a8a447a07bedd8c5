// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"spillway/config"
	"spillway/journal"
	"spillway/json"
	"spillway/policy"
	"spillway/testbed/await"
)

// call runs a command line in-process.
func call(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = spillway(context.Background(), env{strings.NewReader(""), &out, &err, false}, args)
	return code, out.String(), err.String()
}

func TestCommandLine(t *testing.T) {
	tests := []struct {
		args   string
		code   int
		stdout string
		stderr string
	}{
		{"", 2, "", "name a command"},
		{"help", 0, "spillway doctor", ""},
		{"-h", 0, "spillway doctor", ""},
		{"dance", 2, "", `no command "dance"; spillway help lists them`},
		{"version", 0, "dev", ""},
		{"version x", 2, "", `unexpected argument "x"`},
		{"status -help", 0, "-json", ""},
		{"status -x", 2, "", "flag provided but not defined: -x"},
		{"status -control /nowhere/s", 1, "", "no daemon answers at /nowhere/s"},
		{"set -control /nowhere/s lte off", 1, "", "no daemon answers"},
		{"set lte", 2, "", "spillway set: too few arguments; see spillway set -help"},
		{"check -config /nowhere.toml", 2, "", "/nowhere.toml: no such file or directory (write one:"},
		{"check -reference", 0, "[[concentrator]]", ""},
		{"run -config /nowhere.toml", 2, "", "/nowhere.toml"},
		{"doctor -control /nowhere/s -config config/reference.toml", 1, "FAIL  daemon: no daemon answers", "no daemon runs"},
		{"doctor -json -control /nowhere/s -config config/reference.toml", 1, `{"ok":false,"checks":[{"name":"daemon","result":"fail"`, "no daemon runs"},
		{"watch -json", 2, "", "flag provided but not defined: -json"},
	}
	for _, tt := range tests {
		code, stdout, stderr := call(t, strings.Fields(tt.args)...)
		if code != tt.code || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) {
			t.Errorf("spillway %s: exit %d\nstdout: %s\nstderr: %s\nwant %d, %q, %q", tt.args, code, stdout, stderr, tt.code, tt.stdout, tt.stderr)
		}
	}
}

// Every command has help that says what it is for, and lists no flag twice.
func TestEveryCommandHelps(t *testing.T) {
	for _, c := range commands() {
		code, out, _ := call(t, c.name, "-help")
		if code != 0 || !strings.Contains(out, c.help) || !strings.Contains(out, "usage: spillway "+c.name) {
			t.Errorf("spillway %s -help: exit %d: %s", c.name, code, out)
		}
	}
}

func TestCheckNamesDeviceAndConcentrator(t *testing.T) {
	file := filepath.Join(t.TempDir(), "spillway.toml")
	text := `[lan]
interfaces = ["lo"]
[[link]]
name = "dsl"
device = "nodsl0"
[[concentrator]]
address = "127.0.0.1"
port = 1
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := call(t, "check", "-config", file)
	for _, want := range []string{
		file + `:5: link[0].device: there is no device "nodsl0" now`,
		file + ":7: concentrator[0].address: no answer from [127.0.0.1:1]",
	} {
		if code != 2 || !strings.Contains(stderr, want) {
			t.Errorf("exit %d, want 2 and %q in:\n%s", code, want, stderr)
		}
	}
}

// serve answers on a control socket as the daemon does.
func serve(t *testing.T, h handler) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "control")
	l, err := listenControl(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- serveControl(ctx, l, h, nil, journal.Discard()) }()
	t.Cleanup(func() {
		cancel()
		if err := await.Value(t, "the socket's end", done); err != nil {
			t.Errorf("control socket: %v", err)
		}
	})
	return path
}

func example() *Status {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return &Status{
		Version: "1.0", State: "running", Since: at, Uptime: 90, Why: "dsl is first", Mode: "overflow", Sessions: 3,
		Doors: DoorStatus{Open: true, IPv4: 4000},
		Links: []LinkStatus{
			{Name: "dsl", Device: "eth1", Role: "primary", State: "first", Usable: true, Down: 15.04e6, Up: 500e3, Rx: 1234567, Tx: 999,
				Capacity: CapacityStatus{Down: 16e6, Source: "configured"}, RTTms: 31, Why: "it works"},
			{Name: "lte", Device: "wwan0", Role: "overflow", State: "off", Why: "not needed", Quota: &QuotaStatus{Used: 5e9, Limit: 50e9, Forecast: 20e9, PeriodStart: at, PeriodEnd: at.AddDate(0, 1, 0)}},
		},
		Concentrators: []ConcentratorStatus{{Name: "hag", Address: "192.0.2.1:5124", Protocol: "convert", State: "up"}},
		Rules:         []RuleStatus{{Name: "voip", Action: "bypass", Hits: 7, Where: "nft"}},
		Counters:      map[string]uint64{"relayed": 12, "accepted": 13},
	}
}

func TestCommandsAskTheDaemon(t *testing.T) {
	var asked []string
	path := serve(t, func(_ context.Context, method string, args []byte) (any, error) {
		asked = append(asked, method+" "+string(args))
		switch method {
		case "status":
			return example(), nil
		case "links":
			return Links{example().Links}, nil
		case "why":
			return Why{[]Transition{{At: time.Now(), Link: "lte", From: "off", To: "active", Why: "dsl is full"}}}, nil
		case "flows":
			return Flows{Total: 300, Offset: 5, Flows: []FlowStatus{{Source: "192.168.1.2:1", Destination: "192.0.2.9:443", Class: "bulk", MPTCP: true,
				Subflows: []SubflowStatus{{Link: "dsl", Rx: 2e6}, {Link: "lte", Backup: true}}}}}, nil
		case "doctor":
			return Doctor{Checks: []CheckStatus{{Name: "carrier dsl", Result: "fail", What: "no carrier", Remedy: "plug it in"}}}, nil
		case "set":
			return struct{}{}, nil
		case "reload":
			return nil, fmt.Errorf("x.toml:1: bad")
		}
		return nil, errNoMethod
	})
	tests := []struct {
		args string
		code int
		want string
	}{
		{"status", 0, "spillway 1.0: dsl is first"},
		{"status", 0, "voip  bypass     7  nft"},
		{"status -json", 0, `"state":"running"`},
		{"links", 0, "lte: 5.0 GB of 50.0 GB used since 2 Jan; 20.0 GB expected by 2 Feb"},
		{"links", 0, "15.0 of 16.0 Mbit/s"},
		{"why", 0, "off   active  dsl is full"},
		{"flows -offset 5 -limit 1", 0, "1 of 300; the next: spillway flows -offset 6"},
		{"flows", 0, "dsl 2.0 MB/0 B, lte 0 B/0 B (standby)"},
		{"metrics", 0, `spillway_link_state{link="dsl",state="first"} 1`},
		{"metrics", 0, "spillway_relayed_total 12"},
		{"reload", 2, "x.toml:1: bad"},
		{"doctor", 1, "FAIL  carrier dsl: no carrier\n      plug it in\n1 checks"},
		{"doctor -json", 1, `"name":"carrier dsl"`},
	}
	for _, tt := range tests {
		args := strings.Fields(tt.args)
		args = append(args[:1:1], append([]string{"-control", path}, args[1:]...)...)
		code, stdout, stderr := call(t, args...)
		if code != tt.code || !strings.Contains(stdout+stderr, tt.want) {
			t.Errorf("spillway %s: exit %d, want %d and %q in:\n%s%s", tt.args, code, tt.code, tt.want, stdout, stderr)
		}
	}
	if !strings.Contains(strings.Join(asked, "\n"), `flows {"offset":5,"limit":1}`) {
		t.Errorf("asked: %q", asked)
	}
}

// TestLinksWithin79Columns: the table of links stays within a terminal, whatever they carry.
func TestLinksWithin79Columns(t *testing.T) {
	wide := LinkStatus{Name: "wwan-two0", Role: "overflow", State: "active", Resting: true, Down: 123.4e6, Up: 56.7e6, RTTms: 1234, Device: "wwan0"}
	wide.Capacity.Down = 300e6
	var b bytes.Buffer
	writeLinks(&b, []LinkStatus{wide, {Name: "dsl", Role: "primary", State: "first", Down: 15.5e6, Device: "dsl", Rx: 5e9, Why: "dsl is first"}})
	for _, want := range []string{"resting  123.4 of 300.0 Mbit/s  56.7 Mbit/s  1234 ms\n", "dsl: dsl is first (dsl; received 5.0 GB, sent 0 B)\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("want %q in\n%s", want, &b)
		}
	}
	for line := range strings.Lines(b.String()) {
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > 79 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

// TestAQuotaOfTheDayAlone: what has no limit is not told to have one of nothing.
func TestAQuotaOfTheDayAlone(t *testing.T) {
	lte := example().Links[1]
	lte.Quota.Limit, lte.Quota.Today, lte.Quota.Daily = 0, 1e9, 3e9
	var b bytes.Buffer
	writeLinks(&b, []LinkStatus{lte})
	if want := "lte: 5.0 GB used since 2 Jan; 20.0 GB expected by 2 Feb\nlte: 1.0 GB of 3.0 GB used today\n"; !strings.HasSuffix(b.String(), want) {
		t.Errorf("want %q at the end of\n%s", want, &b)
	}
}

// The format wants all samples of a name in one group.
func TestMetricsAreGrouped(t *testing.T) {
	var b bytes.Buffer
	writeMetrics(&b, example())
	seen, last := map[string]bool{}, ""
	for line := range strings.SplitSeq(strings.TrimSpace(b.String()), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		name, _, _ := strings.Cut(strings.SplitN(line, " ", 2)[0], "{")
		if name != last && seen[name] {
			t.Errorf("%s comes in two groups", name)
		}
		seen[name], last = true, name
	}
	if len(seen) < 20 {
		t.Errorf("only %d names", len(seen))
	}
}

func TestDoctorFailsWithExitCodeOne(t *testing.T) {
	path := serve(t, func(context.Context, string, []byte) (any, error) {
		return Doctor{OK: false, Checks: []CheckStatus{{Name: "carrier dsl", Result: "fail", What: "no carrier", Remedy: "plug it in", Command: "ip link show dsl"}}}, nil
	})
	code, stdout, _ := call(t, "doctor", "-control", path)
	if code != 1 || !strings.Contains(stdout, "FAIL  carrier dsl: no carrier\n      plug it in\n      $ ip link show dsl") {
		t.Errorf("exit %d:\n%s", code, stdout)
	}
}

func TestControlSocketIsPrivateAndNotStolen(t *testing.T) {
	path := serve(t, func(context.Context, string, []byte) (any, error) { return struct{}{}, nil })
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	if _, err := listenControl(path); err == nil || !strings.Contains(err.Error(), "another spillway answers there") {
		t.Errorf("a second daemon took the socket: %v", err)
	}
}

func TestControlSocketLeftBehindIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control")
	l, err := listenControl(path)
	if err != nil {
		t.Fatal(err)
	}
	l.Close() // as after SIGKILL: the file stays
	if l, err = listenControl(path); err != nil {
		t.Fatal(err)
	}
	l.Close()
}

func FuzzControlSocket(f *testing.F) {
	f.Add([]byte(`{"method":"status"}`))
	f.Add([]byte(`{"method":"flows","args":{"offset":-1,"limit":1e9}}`))
	f.Add([]byte(`{"method":1}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, line []byte) {
		out := respond(context.Background(), line, func(_ context.Context, method string, args []byte) (any, error) {
			var p page
			if err := decode(args, &p); err != nil {
				return nil, err
			}
			return map[string]string{"method": method}, nil
		})
		var r response
		if err := json.Decode(out, &r); err != nil || (r.Error == "") == (r.Result == nil) || bytes.IndexByte(out, '\n') >= 0 {
			t.Fatalf("answer %q to %q: %v", out, line, err)
		}
	})
}

func TestUnits(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{rate(0), "0"}, {rate(999), "1 kbit/s"}, {rate(64e3), "64 kbit/s"}, {rate(15.04e6), "15.0 Mbit/s"}, {rate(99.94e6), "99.9 Mbit/s"},
		{rate(250e6), "250 Mbit/s"}, {rate(2.5e9), "2.50 Gbit/s"},
		{size(0), "0 B"}, {size(999), "999 B"}, {size(1000), "1.0 kB"}, {size(99949), "99.9 kB"}, {size(999_500), "1.0 MB"}, {size(50e9), "50.0 GB"}, {size(1 << 63), "9.2 EB"},
		{age(0), "0s"}, {age(-time.Second), "0s"}, {age(90 * time.Second), "1m30s"}, {age(25 * time.Hour), "1d1h"}, {age(7260 * time.Second), "2h1m"},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
}

func TestWatchFrameHasOneWidth(t *testing.T) {
	s := example()
	s.Links[1].Name, s.Links[1].State, s.Links[1].Down, s.Links[1].Up = "a name that is too long", "draining", 999.4e6, 99.9e6
	width := 0
	for line := range strings.SplitSeq(watchFrame(s), "\n") {
		if !strings.Contains(line, "│") {
			continue
		}
		if strings.HasPrefix(line, "dsl") && !strings.Contains(line, "│█████████████▏│") {
			t.Errorf("15.04 of 16 is not drawn as 94 %%: %s", line)
		}
		n := len([]rune(line))
		if width > 0 && n != width || n > 79 {
			t.Errorf("%d columns, the line before %d: %s", n, width, line)
		}
		width = n
	}
	if pipe(3, 2, 0) != "│"+strings.Repeat("█", 14)+"│" || pipe(0, 0, 0) != "│"+strings.Repeat(" ", 14)+"│" {
		t.Errorf("ends of the scale: %s %s", pipe(3, 2, 0), pipe(0, 0, 0))
	}
}

func TestHistoryKeepsTheLast(t *testing.T) {
	var h history
	for i := range historyLength + 5 {
		h.add(Transition{Why: fmt.Sprint(i)})
	}
	all := h.all(time.Now())
	if len(all) != historyLength || all[0].Why != "5" || all[historyLength-1].Why != fmt.Sprint(historyLength+4) {
		t.Errorf("%d kept, %s to %s", len(all), all[0].Why, all[len(all)-1].Why)
	}
}

// A write that is cut short leaves the counters of before.
func TestUsageSurvivesAPowerCut(t *testing.T) {
	u := usageFile(filepath.Join(t.TempDir(), "deep", "usage.json"))
	if got, err := u.read(); err != nil || got != nil {
		t.Fatalf("no file yet: %v, %v", got, err)
	}
	want := []policy.Usage{{Link: "lte", Bytes: 1 << 40}}
	if err := u.write(want); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(string(u)+".new", []byte(`[{"link":"lt`), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := u.read()
	if err != nil || len(got) != 1 || got[0].Bytes != 1<<40 {
		t.Errorf("read %v, %v", got, err)
	}
	if err := os.WriteFile(string(u), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := u.read(); err == nil || !strings.Contains(err.Error(), "usage.json") {
		t.Errorf("a broken file: %v", err)
	}
}

func TestUCIImport(t *testing.T) {
	file := filepath.Join(t.TempDir(), "spillway")
	text := "config lan 'lan'\n\tlist interfaces 'br-lan'\n\nconfig link 'dsl'\n\toption interface 'wan'\n\nconfig concentrator 'home'\n\toption address '192.0.2.1'\n\toption port '5124'\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := call(t, "uci-import", file)
	if code != 0 || !strings.Contains(stdout, "[[link]]") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(text, "'5124'", "'70000'", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, stderr = call(t, "uci-import", file)
	if code != 2 || !strings.Contains(stderr, "home") || !strings.Contains(stderr, "port") || !strings.Contains(stderr, "70000") {
		t.Errorf("exit %d, want 2 and an error that names section and option: %s", code, stderr)
	}
}

// TestOpenWrtsConfigurationIsFound: where nothing is at the usual place, UCI's is read, and errors have its names. A file that was asked for is never
// another one.
func TestOpenWrtsConfigurationIsFound(t *testing.T) {
	dir := t.TempDir()
	usual, openwrt := filepath.Join(dir, "spillway.toml"), filepath.Join(dir, "spillway")
	if _, _, err := findConfig(usual, usual, openwrt); err == nil || !strings.Contains(err.Error(), usual) {
		t.Errorf("neither is there: %v", err)
	}
	text := "config lan 'lan'\n\tlist interfaces 'br-lan'\n\nconfig link 'dsl'\n\toption device 'no-such0'\n\nconfig concentrator 'home'\n\toption protocol 'transparent'\n"
	if err := os.WriteFile(openwrt, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := findConfig(filepath.Join(dir, "other.toml"), usual, openwrt); err == nil {
		t.Error("another file stands for one that was asked for")
	}
	c, found, err := findConfig(usual, usual, openwrt)
	if err != nil || found.file != openwrt || len(c.Links) != 1 {
		t.Fatalf("%v, %v; %v", c, found, err)
	}
	if err := found.explain(checkWorld(found.file, c, time.Millisecond)); err == nil || !strings.Contains(err.Error(), openwrt+": spillway.dsl.device: there is no device") {
		t.Errorf("errors do not name the option: %v", err)
	}
	if err := os.WriteFile(usual, []byte(config.Reference), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, found, err := findConfig(usual, usual, openwrt); err != nil || found.file != usual || len(c.Links) != 2 {
		t.Errorf("%v, %v; %v", c, found, err)
	}
}

// TestAnExaminationMayTakeItsTime: on the sick router that it is for, each probe waits for its end.
func TestAnExaminationMayTakeItsTime(t *testing.T) {
	const moment = 100 * time.Millisecond
	near, far := unixPair(t)
	slow := func(context.Context, string, []byte) (any, error) {
		time.Sleep(3 * moment)
		return &Doctor{OK: true}, nil
	}
	go answer(t.Context(), far, moment, slow, nil)
	c := client{near, bufio.NewReader(near), moment}
	if err := c.call("doctor", nil, &Doctor{}); err != nil {
		t.Error(err)
	}
	if err := c.call("status", nil, &Status{}); err == nil {
		t.Error("status waited longer than it may")
	}
}

// unixPair is a connection's two ends.
func unixPair(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range pair {
		f := os.NewFile(uintptr(fd), "end")
		c, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		t.Cleanup(func() { c.Close() })
		ends[i] = c.(*net.UnixConn)
	}
	return ends[0], ends[1]
}
