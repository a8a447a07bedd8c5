// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"spillway/testbed/world"
)

// twoSeconds is a run in which each link carries a steady rate, Mbit/s down.
func twoSeconds(mbit ...float64) *Run {
	r := &Run{Scenario: Scenario{Name: "test", About: "a < b & c"}, Start: time.Unix(1000, 0)}
	for i := range mbit {
		r.Links = append(r.Links, world.Link{Name: string(rune('a' + i))})
	}
	for at := time.Duration(0); at <= 2*time.Second; at += 20 * time.Millisecond {
		s := world.Sample{At: r.Start.Add(at), Links: make([]world.Counter, len(mbit))}
		for i, m := range mbit {
			s.Links[i].RxOctets = uint64(m * 1e6 / 8 * at.Seconds())
		}
		r.Samples = append(r.Samples, s)
	}
	return r
}

func TestPictureHasWhatLinksCarriedAndWhatWasDecided(t *testing.T) {
	r := twoSeconds(20, 5)
	r.Events = []Event{{At: time.Second, Do: Cut, Link: "a"}}
	r.Changes = []Change{
		{At: r.Start.Add(-time.Minute), Link: "a", To: "first", Why: "before"},
		{At: r.Start.Add(1010 * time.Millisecond), Link: "b", To: "first", Why: strings.Repeat("no carrier ", 30)},
	}
	var b strings.Builder
	if err := r.Picture(&b); err != nil {
		t.Fatal(err)
	}
	svg := b.String()
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("no XML: %v", err)
		}
	}
	for _, want := range []string{"a &lt; b &amp; c", "cut a", "1.01 s: b first: no carrier", "…", pictureColours[0], pictureColours[1]} {
		if !strings.Contains(svg, want) {
			t.Errorf("the picture lacks %q", want)
		}
	}
	if strings.Contains(svg, "before") {
		t.Error("the picture tells what was decided before it begins")
	}
}

func TestPictureOfTheDirectionThatCarried(t *testing.T) {
	r := twoSeconds(20, 5)
	columns, up := r.columns()
	if up || len(columns) != 20 {
		t.Fatalf("%d columns, up %v; want 20 of what came down", len(columns), up)
	}
	for i, c := range columns[1:] {
		if c[0] < 15 || c[0] > 25 || c[1] < 3 || c[1] > 7 {
			t.Errorf("column %d: %v; want about 20 and 5", i+1, c)
		}
	}
	if err := new(Run).Picture(io.Discard); err == nil {
		t.Error("a picture of nothing")
	}
}

func TestGridHasFourToTenLines(t *testing.T) {
	for most := 0.7; most < 5000; most *= 1.07 {
		if n := most / gridOf(most); n < 4 || n > 10.01 {
			t.Errorf("%g: %g lines", most, n)
		}
	}
}
