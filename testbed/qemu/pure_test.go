// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"spillway/testbed/qemu/guest"
	"spillway/testbed/scenario"
	"spillway/testbed/traffic"
	"spillway/testbed/world"
)

func TestAnArchiveHoldsWhatWasAdded(t *testing.T) {
	var b bytes.Buffer
	a := NewArchive(&b)
	a.File("bin/hello", 0o755, []byte("hello"))
	a.Symlink("bin/sh", "hello")
	a.Device("dev/console", 5, 1)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for rest := b.Bytes(); ; {
		var mode, size, length int
		if _, err := fmt.Sscanf(string(rest[:110]), "070701%8x%8X", new(int), &mode); err != nil {
			t.Fatalf("header %q: %v", rest[:110], err)
		}
		fmt.Sscanf(string(rest[54:62]), "%X", &size)
		fmt.Sscanf(string(rest[94:102]), "%X", &length)
		name := string(rest[110 : 110+length-1])
		data := (110 + length + 3) / 4 * 4
		if name == "TRAILER!!!" {
			break
		}
		got = append(got, fmt.Sprintf("%s %o %s", name, mode, rest[data:data+size]))
		rest = rest[data+(size+3)/4*4:]
	}
	want := "bin 40755 |bin/hello 100755 hello|bin/sh 120777 hello|dev 40755 |dev/console 20600 "
	if s := strings.Join(got, "|"); s != want {
		t.Errorf("archive: %s\nwant     %s", s, want)
	}
}

func TestAScaledRunReadsAsTheScenarioItself(t *testing.T) {
	s := scenario.CutMidway()
	small := scaled(s, 0.25)
	if got := small.Links[0].Down.Rate; got != 4e6 {
		t.Errorf("DSL's rate at a quarter: %v, want 4 Mbit/s", got)
	}
	if s.Links[0].Down.Rate != 16e6 || s.Demands[0].Octets != 24_000_000 {
		t.Error("scaling changed the scenario itself")
	}
	if got := small.Demands[0].Octets; got != 6_000_000 {
		t.Errorf("octets at a quarter: %d, want 6,000,000", got)
	}
	before := s.Links[0].Down
	full, quarter := max(40_000, int(before.Rate/8*0.06)), small.Links[0].Down.Queue
	if a, b := float64(full)/before.Rate, float64(quarter)/small.Links[0].Down.Rate; a < b*0.99 || a > b*1.01 {
		t.Errorf("a full queue takes %v of its time at full rate, %v at a quarter", a, b)
	}
	run := &scenario.Run{Scenario: small,
		Samples: []world.Sample{{Links: []world.Counter{{RxOctets: 100, Payload: 50, RxPackets: 3}}}},
		Results: map[string]traffic.Result{"bulk": {Mbit: 10, Octets: 6_000_000, Series: traffic.Series{First: 1, Octets: []int64{5}}}}}
	unscaled(run, s, 0.25)
	if c := run.Samples[0].Links[0]; c.RxOctets != 400 || c.Payload != 200 || c.RxPackets != 3 {
		t.Errorf("counters: %+v", c)
	}
	if r := run.Results["bulk"]; r.Mbit != 40 || r.Octets != 24_000_000 || r.Series.Octets[0] != 20 {
		t.Errorf("result: %+v", r)
	}
}

func TestLinksTakeAtMostATenthOfWhatTheGuestCarries(t *testing.T) {
	for _, c := range []struct{ limit, want float64 }{{1000, 1}, {280, 0.5}, {1, 0.05}} { // 56 Mbit/s together
		if got := Fraction(world.Two(), c.limit); got != c.want {
			t.Errorf("fraction at %v Mbit/s: %v, want %v", c.limit, got, c.want)
		}
	}
}

func TestASmallRouterHasTenMegabytesForUs(t *testing.T) {
	for _, c := range []struct {
		memory int
		rss    int64
		want   bool
	}{{64, 10<<20 - 1, false}, {64, 10 << 20, true}, {128, 20 << 20, false}} {
		if got := (Figures{Memory: c.memory, Connected: guest.Usage{RSS: c.rss}}).Over(); got != c.want {
			t.Errorf("%d octets of %d MB: too much is %v, want %v", c.rss, c.memory, got, c.want)
		}
	}
}

func TestEachGuestIsComplete(t *testing.T) {
	for _, g := range Guests() {
		if g.Name == "" || g.QEMU == "" || g.Memory == 0 || g.Console == "" || g.Package == "" || g.Kernel == (Kernel{}) || len(g.Build) == 0 {
			t.Errorf("guest %+v lacks something", g)
		}
		if found, err := Find(g.Name); err != nil || found.Name != g.Name {
			t.Errorf("guest %s is not found: %v", g.Name, err)
		}
	}
	if _, err := Find("vax"); err == nil {
		t.Error("a guest that isn't there was found")
	}
}
