// SPDX-License-Identifier: Apache-2.0

// Package spillway holds no code: its tests try the scripts of the OpenWrt package with the shells and interpreters at
// hand, against stand-ins of OpenWrt's own commands.
package spillway

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"spillway/cross"
	"spillway/openwrt/uci"
	"spillway/testbed/netns"
	"spillway/ubus/netifd"
)

func script(t *testing.T, text string, env ...string) string {
	t.Helper()
	shell := []string{"busybox", "ash"}
	if _, err := exec.LookPath("busybox"); err != nil {
		shell = []string{"sh"}
	}
	cmd := exec.Command(shell[0], append(shell[1:], "-c", text)...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

func TestScriptsParse(t *testing.T) {
	for _, f := range []string{"spillway.init", "spillway.defaults"} {
		for _, shell := range [][]string{{"busybox", "ash", "-n"}, {"dash", "-n"}, {"sh", "-n"}} {
			if _, err := exec.LookPath(shell[0]); err != nil {
				continue
			}
			if out, err := exec.Command(shell[0], append(shell[1:], "files/"+f)...).CombinedOutput(); err != nil {
				t.Errorf("%s %s: %v\n%s", shell, f, err, out)
			}
		}
	}
}

func TestFilesListIsTrue(t *testing.T) {
	raw, err := os.ReadFile("files.txt")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, line := range strings.Split(string(raw), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		var f = strings.Fields(line)
		if len(f) != 3 || !filepath.IsAbs(f[1]) || len(f[2]) != 4 {
			t.Errorf("not SRC DEST MODE: %s", line)
			continue
		}
		listed["files/"+f[0]] = true
		content, err := os.ReadFile("files/" + f[0])
		if err != nil {
			t.Error(err)
		}
		if strings.HasSuffix(f[0], ".json") && !json.Valid(content) {
			t.Errorf("%s is not JSON", f[0])
		}
	}
	files, _ := filepath.Glob("files/*")
	for _, f := range files {
		if !listed[f] {
			t.Errorf("%s is not in files.txt", f)
		}
	}
}

func TestDefaultsAreDisabledAndUnderstood(t *testing.T) {
	raw, err := os.ReadFile("files/spillway.config")
	if err != nil {
		t.Fatal(err)
	}
	toml, err := uci.Import(strings.NewReader(string(raw)), "/etc/config/spillway")
	if err != nil {
		t.Error(err)
	}
	sections, _ := uci.Parse(string(raw))
	if sections[0].Get("enabled") != "0" {
		t.Error("enabled at installation")
	}
	if !strings.Contains(string(toml), `interface = "wan"`) {
		t.Errorf("%s", toml)
	}
}

// procd are stand-ins of rc.common's and procd's functions that print what they are told.
const procd = `
procd_open_instance() { echo open; }
procd_close_instance() { echo close; }
procd_set_param() { echo "param $*"; }
procd_add_jail() { echo "jail $*"; }
procd_add_jail_mount() { echo "mount $*"; }
procd_add_jail_mount_rw() { echo "mount_rw $*"; }
procd_add_reload_trigger() { echo "trigger $*"; }
config_load() { :; }
config_get_bool() { eval "$1=\${UCI_$3:-$4}"; }
config_get() { eval "$1=\${UCI_$3:-}"; }
logger() { shift 4; echo "log: $*"; }
start() { start_service "$@"; }
. ./files/spillway.init
RUN_DIR="$DIR/run"; TOML="$RUN_DIR/spillway.toml"; PROG="$DIR/spillway"; UCI_FILE=/etc/config/spillway
mkdir() { command mkdir -p "$DIR/run"; }
`

// fakeProgram is a spillway whose import answers as the test wants it to.
func fakeProgram(t *testing.T, body string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "spillway"), []byte("#!/bin/sh\n"+body), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestInitDoesNothingUnlessEnabled(t *testing.T) {
	dir := fakeProgram(t, "echo '[lan]'")
	if out := script(t, procd+"start_service", "DIR="+dir); out != "" {
		t.Errorf("disabled, but: %s", out)
	}
	if out := script(t, procd+"service_triggers", "DIR="+dir); out != "trigger spillway\n" {
		t.Errorf("triggers: %s", out)
	}
}

func TestInitStartsTheDaemon(t *testing.T) {
	dir := fakeProgram(t, "echo '[lan]'")
	out := script(t, procd+"start_service", "DIR="+dir, "UCI_enabled=1", "UCI_memory_limit=33MiB")
	for _, want := range []string{"open", "param command " + dir + "/spillway run -config " + dir + "/run/spillway.toml", "param env GOMEMLIMIT=33MiB",
		"param respawn 3600 5 0", "param reload_signal HUP", "param file " + dir + "/run/spillway.toml", "close"} {
		if !strings.Contains(out, want) {
			t.Errorf("start lacks %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "jail") {
		t.Errorf("a jail that nobody asked for:\n%s", out)
	}
	if toml, err := os.ReadFile(dir + "/run/spillway.toml"); err != nil || string(toml) != "[lan]\n" {
		t.Errorf("rendered %q %v", toml, err)
	}
	if info, err := os.Stat(dir + "/run/spillway.toml"); err == nil && info.Mode().Perm() != 0o600 {
		t.Errorf("the configuration may hold passwords, its mode is %v", info.Mode())
	}
}

func TestInvalidConfigurationIsRefusedAndTheOldOneStays(t *testing.T) {
	dir := fakeProgram(t, "echo '/etc/config/spillway: spillway.lte.quota: wrong' >&2; exit 2")
	out := script(t, procd+"start_service || echo failed", "DIR="+dir, "UCI_enabled=1")
	if !strings.Contains(out, "log: /etc/config/spillway: spillway.lte.quota: wrong") || !strings.Contains(out, "failed") || strings.Contains(out, "param") {
		t.Errorf("start with a wrong file:\n%s", out)
	}
	if err := os.WriteFile(dir+"/run/spillway.toml", []byte("good"), 0o600); err != nil {
		t.Fatal(err)
	}
	out = script(t, procd+"start_service || echo failed", "DIR="+dir, "UCI_enabled=1", "UCI_memory_limit=24M")
	if !strings.Contains(out, "param command") || strings.Contains(out, "24M") && !strings.Contains(out, "24MiB") {
		t.Errorf("start with a wrong file, and a good one from before; what is wrong may be the limit, with which the daemon does not start:\n%s", out)
	}
	out = script(t, procd+"reload_service || echo failed", "DIR="+dir, "UCI_enabled=1")
	if !strings.Contains(out, "log: /etc/config/spillway: spillway.lte.quota: wrong") || !strings.Contains(out, "failed") || strings.Contains(out, "param") {
		t.Errorf("reload with a wrong file:\n%s", out)
	}
	if toml, _ := os.ReadFile(dir + "/run/spillway.toml"); string(toml) != "good" {
		t.Errorf("the good configuration is gone: %q", toml)
	}
	if out = script(t, procd+"check || echo $?", "DIR="+dir); !strings.Contains(out, "spillway.lte.quota: wrong\n2") {
		t.Errorf("check: %s", out)
	}
}

// A file that is wrong where it should say so (a quote without end, a global section without its name) says neither on nor off. That is no reason
// to stop a daemon without a word.
func TestAFileThatDoesNotSayWhetherItIsOn(t *testing.T) {
	dir := fakeProgram(t, "echo \"/etc/config/spillway: line 3: quote ' without end\" >&2; exit 2")
	for _, what := range []string{"start_service", "reload_service"} {
		out := script(t, procd+what+" || echo failed", "DIR="+dir)
		if !strings.Contains(out, "log: /etc/config/spillway: line 3") || !strings.Contains(out, "failed") || strings.Contains(out, "param") {
			t.Errorf("%s:\n%s", what, out)
		}
		if out := script(t, procd+what+" || echo failed", "DIR="+dir, "UCI_enabled=0"); out != "" {
			t.Errorf("%s, switched off:\n%s", what, out)
		}
	}
	dir = fakeProgram(t, "echo '[lan]'")
	for _, what := range []string{"start_service", "reload_service"} {
		if out := script(t, procd+what+" || echo failed", "DIR="+dir); out != "" {
			t.Errorf("%s of a file that is right, and does not switch it on:\n%s", what, out)
		}
	}
}

func TestMemoryLimitByTheMemoryThereIs(t *testing.T) {
	meminfo := filepath.Join(t.TempDir(), "meminfo")
	for total, want := range map[string]string{"60120": "24MiB\n", "122880": "48MiB\n", "250000": "96MiB\n", "510000": "", "0": ""} {
		if err := os.WriteFile(meminfo, []byte("MemTotal:       "+total+" kB\nMemFree: 1 kB\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if out := script(t, procd+"memory_limit "+meminfo, "DIR="+t.TempDir()); out != want {
			t.Errorf("%s kB: %q, want %q", total, out, want)
		}
	}
}

func TestDefaultsHaveTheFirewallReadOurLine(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"uci": "exit 1", "fw4": "echo fw4 $*; exit 1"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if out := script(t, ". files/spillway.defaults", "PATH="+dir+":"+os.Getenv("PATH")); !strings.Contains(out, "fw4 -q reload") {
		t.Errorf("installed, and the firewall was told nothing: %q", out)
	}
}

func TestDefaultsGuessTheLines(t *testing.T) {
	text, err := os.ReadFile("files/spillway.defaults")
	if err != nil {
		t.Fatal(err)
	}
	guess := strings.SplitN(string(text), "# set LINK INTERFACE", 2)[0]
	for network, want := range map[string]string{
		"network.loopback.proto='static'\nnetwork.lan.proto='static'\nnetwork.wan.proto='pppoe'\nnetwork.wan6.proto='dhcpv6'\nnetwork.mobile.proto='qmi'": "wan mobile",
		"network.wan.proto='dhcp'\nnetwork.wwan.proto='dhcp'":     "wan wwan",
		"network.wan.proto='dhcp'\nnetwork.stick.proto='xmm'":     "wan stick",
		"network.dslline.proto=pppoa\nnetwork.stick.proto='mbim'": "dslline stick",
		"network.lan.proto='static'":                              "",
	} {
		out := script(t, guess+"\nuci() { printf '%s\\n' \"$NETWORK\"; }\nguess <<G\n$(interfaces)\nG\necho $fixed $lte", "NETWORK="+network)
		if strings.TrimSpace(out) != want {
			t.Errorf("%s:\nguessed %q, want %q", network, out, want)
		}
	}
}

// TestDefaultsKnowMobileProtocolsAsTheDaemonDoes.
func TestDefaultsKnowMobileProtocolsAsTheDaemonDoes(t *testing.T) {
	text, err := os.ReadFile("files/spillway.defaults")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "case \"$1\" in\n")
	list, _, ok := strings.Cut(strings.TrimSpace(rest), ")")
	for proto := range strings.SplitSeq(list, "|") {
		if kind := netifd.Guess(proto, ""); !ok || kind != netifd.LTE {
			t.Errorf("%q is %q to the daemon", proto, kind)
		}
	}
}

func TestLuaCollector(t *testing.T) {
	lua := ""
	for _, name := range []string{"lua5.1", "lua", "luajit"} {
		if path, err := exec.LookPath(name); err == nil {
			lua = path
			break
		}
	}
	if lua == "" {
		if testing.Short() {
			t.Skip("needs lua, which make net installs")
		}
		netns.Missing(t, "needs lua (Debian package lua5.1)")
	}
	out, err := exec.Command(lua, "testdata/collector.lua", "files/spillway.lua").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		`gauge spillway_info{mode="overflow",version="1.0"} 1`, `gauge spillway_overflow{direction="down"} 1`,
		`counter spillway_link_receive_bytes_total{link="dsl"} 5000000000`, `gauge spillway_link_state{link="dsl",state="first"} 1`,
		`gauge spillway_link_state{link="lte",state="first"} 0`, `gauge spillway_link_usable{device="wwan0",link="lte"} 0`,
		`gauge spillway_link_state_since_seconds{link="dsl"} 1772319600`, `gauge spillway_link_rtt_seconds{link="dsl"} 0.0185`,
		`gauge spillway_link_usable_since_seconds{link="dsl"} 1772352540`, `counter spillway_link_losses_total{link="dsl"} 3`,
		`gauge spillway_quota_used_bytes{link="lte"} 10`, `gauge spillway_concentrator_up{concentrator="home"} 1`,
		`counter spillway_rule_hits_total{action="bypass",rule="voip"} 9`, `counter spillway_accepted_total{} 12`,
	} {
		if !strings.Contains(string(out), want+"\n") {
			t.Errorf("lacks %s in\n%s", want, out)
		}
	}
}

func TestRecipeChoosesTheTargetOfEachArchitecture(t *testing.T) {
	if _, err := exec.LookPath("make"); err != nil {
		netns.Missing(t, "needs make")
	}
	for _, target := range cross.Targets() {
		for _, arch := range target.Arches {
			cmd := exec.Command("make", "-s", "-f", "-", "print", "ARCH_PACKAGES="+arch)
			cmd.Stdin = strings.NewReader("include ./arch.mk\nprint:\n\t@echo $(SPILLWAY_TARGET)\n")
			out, err := cmd.CombinedOutput()
			if got := strings.TrimSpace(string(out)); err != nil || got != target.Name {
				t.Errorf("%s: %q, want %s (%v)", arch, got, target.Name, err)
			}
		}
	}
}

func TestPackagesHoldWhatIsHere(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "spillway")
	if err := os.WriteFile(binary, []byte("binary"), 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := cross.Root()
	if err != nil {
		t.Fatal(err)
	}
	p, err := cross.DaemonPackage(root, "0.1.0-r1", "mips_24kc", binary, cross.Epoch(root))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(p.Depends, " "); got != "nftables kmod-nft-tproxy kmod-nft-socket kmod-nft-fib kmod-inet-mptcp-diag" {
		t.Errorf("depends on %q", got)
	}
	conf := ""
	for _, f := range p.Files {
		if f.Conf {
			conf += f.Path
		}
	}
	if conf != "etc/config/spillway" || len(p.Files) < 7 || p.Description == "" {
		t.Errorf("conffiles %q, %d files, description %q", conf, len(p.Files), p.Description)
	}
	pages, ok, err := cross.LuCIPackage(root, "0.1.0-r1", cross.Epoch(root))
	if err != nil || !ok || len(pages.Files) < 10 {
		t.Errorf("LuCI's package: %v, %d files, %v", ok, len(pages.Files), err)
	}
}
