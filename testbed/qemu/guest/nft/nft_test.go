// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"spillway/testbed/netns"
)

// rulesets are the daemon's own, as the package kernel keeps them, and the testbed's. The household's has more than
// this program knows.
func rulesets(t testing.TB) map[string]string {
	all := map[string]string{
		"provider": "table inet provider { chain out { type nat hook postrouting priority 100; oifname != { lo, lan0 } masquerade; }; }",
		"services": "table inet spillway\ndelete table inet spillway\ntable inet spillway {\n\tcounter c { }\n\tchain prerouting {\n\t\ttype filter hook prerouting priority mangle; policy accept;\n" +
			"\t\tip daddr . tcp dport { 198.51.100.10 . 5124 } counter name c reject with tcp reset\n\t\tip6 daddr . tcp dport { 2001:db8:c::10 . 5124, 2001:db8:c::11 . 5124 } counter name c reject with tcp reset\n" +
			"\t\tmeta nfproto ipv6 meta l4proto tcp tproxy ip6 to [::1]:5001 meta mark set meta mark & 0x30ffffff | 0x41000000 return\n\t}\n}\n",
		"prefixes": "table inet spillway {\n\tcounter r_a { packets 3 bytes 4000; }\n\tset a4 {\n\t\ttype ipv4_addr\n\t\tflags interval\n\t\telements = { 192.0.2.0/24, 203.0.113.10/32 }\n\t}\n" +
			"\tset a6 {\n\t\ttype ipv6_addr\n\t\tflags interval\n\t\telements = { 2001:db8::/48, ff00::/8 }\n\t}\n\tchain rules {\n\t\tmeta nfproto ipv4 ip daddr @a4 counter name r_a reject with tcp reset\n\t\tip6 saddr @a6 return\n\t}\n}\n",
	}
	for _, name := range []string{"closed", "empty", "open", "refuse"} {
		text, err := os.ReadFile(filepath.Join("../../../../kernel/testdata", name+".nft"))
		if err != nil {
			t.Fatal(err)
		}
		all[name] = string(text)
	}
	return all
}

// What this program loads, the real nft lists as it lists what it has loaded itself.
func TestItLoadsWhatTheRealOneLoads(t *testing.T) {
	netns.Require(t)
	program := filepath.Join(t.TempDir(), "nft")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, text := range rulesets(t) {
		t.Run(name, func(t *testing.T) {
			if ours, theirs := loaded(t, program, text), loaded(t, "nft", text); ours != theirs {
				t.Errorf("we load\n%s\nthe real one\n%s", ours, theirs)
			}
		})
	}
}

// loaded is what the kernel has after a program has loaded a text, as nft lists it.
func loaded(t *testing.T, program, text string) string {
	t.Helper()
	ns, err := netns.Make("nft")
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	for range 2 { // the second time there is something to replace
		load := ns.Command(program, "-f", "-")
		load.Stdin = strings.NewReader(text)
		if out, err := load.CombinedOutput(); err != nil && !strings.Contains(text, "flags interval") {
			t.Fatalf("%s: %v: %s", program, err, out)
		}
	}
	out, err := ns.Output("nft", "list", "ruleset")
	if err != nil {
		t.Fatal(err)
	}
	out = strings.ReplaceAll(out, "exists/8", "exists") // one octet of a number that the real one takes for four
	return braced.ReplaceAllStringFunc(out, func(s string) string {
		words := strings.Fields(strings.Trim(s, "{}"))
		for i := range words {
			words[i] = strings.TrimSuffix(words[i], ",")
		}
		slices.Sort(words)
		return fmt.Sprint(words)
	})
}

// braced is what is kept in a table of hashes, in no order.
var braced = regexp.MustCompile(`\{ [^{}]* \}`)

func TestWhatItDoesNotKnowItRefuses(t *testing.T) {
	for _, text := range []string{"table ip x { }", "table inet x { chain c { quota over 5 mbytes drop\n } }", "table inet x { chain c {", "flush ruleset",
		"table inet x { chain c { iifname { } return\n } }", "table inet x { set s { elements = { nonsense } } }"} {
		if err := parse(text, &batch{}); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range rulesets(f) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) { parse(text, &batch{}) })
}
