// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"testing"
	"time"
	_ "time/tzdata" // Berlin's summer time, on any machine
)

func TestWindow(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	at := func(s string) time.Time {
		v, err := time.ParseInLocation("2006-01-02 15:04", s, berlin)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	weekdays := [7]bool{time.Monday: true, time.Tuesday: true, time.Wednesday: true, time.Thursday: true, time.Friday: true}
	office := Window{Days: weekdays, From: 8 * time.Hour, To: 17 * time.Hour}
	night := Window{Days: [7]bool{time.Friday: true}, From: 22 * time.Hour, To: 6 * time.Hour}
	sunday := Window{Days: [7]bool{time.Sunday: true}}
	for _, tt := range []struct {
		name  string
		w     Window
		now   string
		holds bool
		next  string
	}{
		{"always", Window{}, "2026-03-02 03:00", true, ""},
		{"before office hours", office, "2026-03-02 07:59", false, "2026-03-02 08:00"},
		{"from is included", office, "2026-03-02 08:00", true, "2026-03-02 17:00"},
		{"to is excluded", office, "2026-03-02 17:00", false, "2026-03-03 08:00"},
		{"over the weekend", office, "2026-03-06 17:00", false, "2026-03-09 08:00"},
		{"the night began yesterday", night, "2026-03-07 05:59", true, "2026-03-07 06:00"},
		{"but not on Thursday", night, "2026-03-06 05:59", false, "2026-03-06 22:00"},
		{"a whole day", sunday, "2026-03-08 00:00", true, "2026-03-09 00:00"},
		{"the short day of spring", office, "2026-03-30 08:00", true, "2026-03-30 17:00"},
		{"the short night of spring", Window{From: time.Hour, To: 4 * time.Hour}, "2026-03-29 03:30", true, "2026-03-29 04:00"},
		{"the long night of autumn", Window{From: time.Hour, To: 4 * time.Hour}, "2026-10-25 00:30", false, "2026-10-25 01:00"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now := at(tt.now)
			if got := tt.w.Holds(now); got != tt.holds {
				t.Errorf("holds at %v: %t", now, got)
			}
			var want time.Time
			if tt.next != "" {
				want = at(tt.next)
			}
			if got := tt.w.Next(now); !got.Equal(want) {
				t.Errorf("next edge after %v: %v, want %v", now, got, want)
			}
		})
	}
}

func TestTableAtTime(t *testing.T) {
	night := Window{From: 22 * time.Hour, To: 6 * time.Hour}
	table := Table{Interfaces: []string{"br-lan"}, Rules: []TableRule{
		{Name: "games", Action: ActionBlock, Window: night},
		{Name: "voip", Action: ActionBypass, DSCP: []uint8{46}},
	}}
	noon, midnight := time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC), time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	if got := table.At(noon).Rules; len(got) != 1 || got[0].Name != "voip" {
		t.Errorf("at noon: %v", got)
	}
	if got := table.At(midnight).Rules; len(got) != 2 {
		t.Errorf("at midnight: %v", got)
	}
	if got, want := table.NextChange(noon), noon.Add(10*time.Hour); !got.Equal(want) {
		t.Errorf("next change %v, want %v", got, want)
	}
	// A rule keeps its counter's name while others come and go.
	day, err := Render(table.At(noon))
	if err != nil {
		t.Fatal(err)
	}
	dark, err := Render(table.At(midnight))
	if err != nil {
		t.Fatal(err)
	}
	if day.names["r_voip"] != "voip" || dark.names["r_voip"] != "voip" {
		t.Errorf("counters: %v by day, %v by night", day.names, dark.names)
	}
}

// TestDaysWithoutMidnight: where summer time begins at midnight there is none on that day (Cuba, 8 March 2026, a Sunday).
func TestDaysWithoutMidnight(t *testing.T) {
	cuba, err := time.LoadLocation("America/Havana")
	if err != nil {
		t.Skip(err)
	}
	at := func(hour int) time.Time { return time.Date(2026, 3, 8, hour, 30, 0, 0, cuba) }
	sunday, saturday := Window{}, Window{From: 20 * time.Hour, To: 24 * time.Hour}
	sunday.Days[time.Sunday], saturday.Days[time.Saturday] = true, true
	for hour, want := range map[int][2]bool{-2: {false, true}, -1: {false, true}, 1: {true, false}, 12: {true, false}, 23: {true, false}, 24: {false, false}} {
		if got := [2]bool{sunday.Holds(at(hour)), saturday.Holds(at(hour))}; got != want {
			t.Errorf("%v: on Sunday, on Saturday evening %v, want %v", at(hour), got, want)
		}
	}
	for _, w := range []Window{sunday, saturday} {
		if next := w.Next(at(-1)); next.Hour() != 1 || next.Day() != 8 {
			t.Errorf("%v begins or ends at %v", w, next)
		}
	}
}
