// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestPosixZone(t *testing.T) {
	for _, tt := range []struct{ tz, utc, want string }{
		{"CET-1CEST,M3.5.0,M10.5.0/3", "2026-01-15T23:30:00Z", "2026-01-16T00:30:00+01:00"},
		{"CET-1CEST,M3.5.0,M10.5.0/3", "2026-07-15T23:30:00Z", "2026-07-16T01:30:00+02:00"},
		{"CET-1CEST,M3.5.0,M10.5.0/3", "2026-03-29T00:59:59Z", "2026-03-29T01:59:59+01:00"},
		{"CET-1CEST,M3.5.0,M10.5.0/3", "2026-03-29T01:00:00Z", "2026-03-29T03:00:00+02:00"},
		{"CET-1CEST,M3.5.0,M10.5.0/3", "1970-01-01T00:00:00Z", "1970-01-01T01:00:00+01:00"}, // no clock yet
		{"AEST-10AEDT,M10.1.0,M4.1.0/3", "2026-01-15T12:00:00Z", "2026-01-15T23:00:00+11:00"},
		{"<-03>3", "2026-01-15T12:00:00Z", "2026-01-15T09:00:00-03:00"},
		{"UTC", "2026-01-15T12:00:00Z", "2026-01-15T12:00:00Z"},
		{"GMT0", "2026-01-15T12:00:00Z", "2026-01-15T12:00:00Z"},
		{"nonsense,,", "2026-01-15T12:00:00Z", "2026-01-15T12:00:00Z"},
	} {
		zone, err := posixZone(tt.tz)
		if err != nil {
			t.Errorf("%s: %v", tt.tz, err)
			continue
		}
		at, err := time.Parse(time.RFC3339, tt.utc)
		if err != nil {
			t.Fatal(err)
		}
		if got := at.In(zone).Format(time.RFC3339); got != tt.want {
			t.Errorf("%s: %s is %s, want %s", tt.tz, tt.utc, got, tt.want)
		}
	}
}

func TestUseZone(t *testing.T) {
	before := time.Local
	defer func() { time.Local = before }()
	t.Setenv("TZ", "")
	os.Unsetenv("TZ")
	dir := t.TempDir()
	localtime, posix := filepath.Join(dir, "localtime"), filepath.Join(dir, "TZ")
	useZone(localtime, posix) // neither is there
	if time.Local != before {
		t.Error("a zone of nothing")
	}
	if err := os.WriteFile(posix, []byte("EST5EDT,M3.2.0,M11.1.0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	useZone(localtime, posix)
	if got := time.Unix(1_768_500_000, 0).Format("15:04 MST"); got != "13:00 EST" {
		t.Errorf("local time is %s", got)
	}
	time.Local = before
	if err := os.WriteFile(localtime, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if useZone(localtime, posix); time.Local != before {
		t.Error("a zone although Go has read one of its own")
	}
}

func FuzzPosixZone(f *testing.F) {
	for _, s := range []string{"CET-1CEST,M3.5.0,M10.5.0/3", "<-03>3", "UTC", "", "A", "AAA99999999999", "AAA-1BBB,J1,300/2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if zone, err := posixZone(s); err == nil {
			if text := time.Unix(1_768_500_000, 0).In(zone).Format(time.RFC3339); text == "" {
				t.Errorf("%q: no time", s)
			}
		}
	})
}
