// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func report() *Report {
	r := &Report{Runs: []*Played{{Rounds: 3}}}
	for _, c := range Contestants() {
		r.Entries = append(r.Entries, &Entry{Name: c.Name, Kind: c.Kind, Figures: map[string][]float64{}})
	}
	r.Entry(Spillway).Figures["shaped80.cpu"] = []float64{9, 2, 1}
	r.Entry(CRW).Figures["shaped80.cpu"] = []float64{4, 5}
	r.Entry(CRW).Figures["unpaced8.mbit"] = []float64{1000}
	return r
}

func TestMedian(t *testing.T) {
	r := report()
	for name, want := range map[string]float64{Spillway: 2, CRW: 4.5} {
		if got, ok := r.Entry(name).Median("shaped80.cpu"); !ok || got != want {
			t.Errorf("median of %s is %v, %v; want %v", name, got, ok, want)
		}
	}
	if _, ok := r.Entry(NAT).Median("shaped80.cpu"); ok {
		t.Error("a median of nothing")
	}
}

func TestHeadingCountsTheRounds(t *testing.T) {
	r := &Report{Runs: []*Played{{Command: "bench", Rounds: 3, Load: []float64{1, 2, 0.5}}, {Command: "bench -rounds 1 -more", Rounds: 1, Load: []float64{1}}}}
	for _, want := range []string{"`bench`, 3 rounds; load average before each: 1.0 2.0 0.5\n", "`bench -rounds 1 -more`, 1 round; load average before it: 1.0\n"} {
		if text := r.heading(); !strings.Contains(text, want) {
			t.Errorf("want %q in\n%s", want, text)
		}
	}
}

func TestTableShowsRatiosAndLeavesOutTheAbsent(t *testing.T) {
	text := markdown(report().rows(tables()[0]))
	if !strings.Contains(text, "| Spillway | 0.44 |") || !strings.Contains(text, "| C read/write | 1.00 |") {
		t.Errorf("ratios are missing:\n%s", text)
	}
	if strings.Contains(text, "HAProxy") {
		t.Errorf("a contestant without figures is shown:\n%s", text)
	}
}

func TestTargetsSayWhatIsMet(t *testing.T) {
	rows := report().targets()
	if len(rows) != 2 || rows[1][3] != "yes" {
		t.Errorf("targets %q, want the one that was measured, met", rows)
	}
}

func TestDocumentReplacesOnlyBetweenMarkers(t *testing.T) {
	got, err := between("a\n<!-- bench:x -->\nold\n<!-- end -->\nb <!-- bench:y -->\n<!-- end -->", "x", "new\n")
	if want := "a\n<!-- bench:x -->\nnew\n<!-- end -->\nb <!-- bench:y -->\n<!-- end -->"; err != nil || got != want {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	if _, err := between("nothing", "x", ""); err == nil {
		t.Error("missing markers are no error")
	}
}

func TestCompleteKeepsWhatWasNotMeasuredAgain(t *testing.T) {
	old, now := report(), report()
	now.Entry(CRW).Figures = map[string][]float64{"shaped80.cpu": {7}}
	now.Complete(old)
	if v, _ := now.Entry(CRW).Median("shaped80.cpu"); v != 7 {
		t.Errorf("shaped80 is %v, want the newer 7", v)
	}
	if v, ok := now.Entry(CRW).Median("unpaced8.mbit"); !ok || v != 1000 {
		t.Errorf("unpaced8 is %v, %v; want the older 1000", v, ok)
	}
	if len(now.Runs) != 2 {
		t.Errorf("%d runs, want 2", len(now.Runs))
	}
}

func TestContinueAddsRounds(t *testing.T) {
	old, now := report(), report()
	now.Entry(CRW).Figures = map[string][]float64{"shaped80.cpu": {7}}
	before := len(old.Entry(CRW).Figures["shaped80.cpu"])
	now.Continue(old)
	if n := len(now.Entry(CRW).Figures["shaped80.cpu"]); n != before+1 {
		t.Errorf("%d rounds, want %d", n, before+1)
	}
	if len(old.Entry(CRW).Figures["shaped80.cpu"]) != before {
		t.Error("the older report was changed")
	}
}

func TestReadNamesAllOfToday(t *testing.T) {
	old := report()
	old.Entries = old.Entries[:4]
	old.Entries[1].Kind = "peer"
	path := filepath.Join(t.TempDir(), "relay.json")
	if err := old.Write(path); err != nil {
		t.Fatal(err)
	}
	r, err := Read(path)
	if err != nil || len(r.Entries) != len(Contestants()) || r.Entries[1].Kind != Contestants()[1].Kind {
		t.Fatalf("%v, %d contestants; want all, each with its kind of today", err, len(r.Entries))
	}
	if v, ok := r.Entry(CRW).Median("shaped80.cpu"); !ok || v != 4.5 {
		t.Errorf("shaped80 is %v, %v; want the 4.5 that was written", v, ok)
	}
}

// The document has a place for every table.
func TestDocumentHasAllMarkers(t *testing.T) {
	b, err := os.ReadFile("../../docs/BENCHMARKS.md")
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"heading", "contestants", "targets", "own", "heap"}
	for _, table := range tables() {
		names = append(names, table.name)
	}
	for _, n := range names {
		if _, err := between(string(b), n, ""); err != nil {
			t.Error(err)
		}
	}
}

func TestPlotsAreXML(t *testing.T) {
	dir := t.TempDir()
	if err := report().Plots(dir); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(dir + "/*.svg")
	if len(files) != 2 {
		t.Errorf("plots %v, want one for each measured figure", files)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var any struct {
			XMLName xml.Name
		}
		if err := xml.Unmarshal(b, &any); err != nil || any.XMLName.Local != "svg" {
			t.Errorf("%s: %v, element %q", f, err, any.XMLName.Local)
		}
	}
}
