// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// slogs writes as log/slog does, which is the yardstick.
func slogs(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

func TestLinesAreThoseOfSlog(t *testing.T) {
	var ours, theirs bytes.Buffer
	values := []any{"", "a", "two words", "a=b", `"`, "ü", "\n", "a\xff", "�", "\u00a0", 1, -1, uint64(1 << 63), uint16(7), int64(-5), 1.5, true, time.Second,
		errors.New("no such device"), netip.MustParseAddr("192.0.2.1"), netip.Addr{}, []string{"a", "b"}, []int{1}, struct{ A, B int }{1, 2}, nil, error(nil)}
	a, b := New(&ours, Info).With("room", "relay of x"), slogs(&theirs).With("room", "relay of x")
	for _, v := range values {
		a.Info("door open", "port", v)
		b.Info("door open", "port", v)
		if s, ok := v.(string); ok {
			a.Warn(s, "first", 1, s, 2)
			b.Warn(s, "first", 1, s, 2)
		}
	}
	odd := []any{"key without value"}
	a.Error("odd", odd...)
	b.Error("odd", odd...)
	x, y := strings.Split(ours.String(), "\n"), strings.Split(theirs.String(), "\n")
	if len(x) != len(y) {
		t.Fatalf("%d lines, want %d", len(x), len(y))
	}
	for i := range x {
		if x[i] != y[i] {
			t.Errorf("%s\nwant %s", x[i], y[i])
		}
	}
}

func TestLevels(t *testing.T) {
	var out bytes.Buffer
	l := New(&out, Warn)
	child := l.With("room", "x")
	child.Info("no")
	child.Warn("yes")
	l.SetLevel(Debug)
	child.Debug("now")
	if want := "level=WARN msg=yes room=x\nlevel=DEBUG msg=now room=x\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
	for _, name := range []string{"debug", "info", "warn", "error"} {
		if v, ok := ParseLevel(name); !ok || strings.ToLower(v.String()) != name {
			t.Errorf("%s: %v %v", name, v, ok)
		}
	}
	if _, ok := ParseLevel("INFO"); ok {
		t.Error("INFO is no level")
	}
	d := Discard().With("a", 1)
	d.SetLevel(Debug)
	if d.Error("nobody"); d.Enabled(Error) {
		t.Error("somebody listens")
	}
}

func TestLinesOfManyStayWhole(t *testing.T) {
	var out bytes.Buffer
	l := New(&out, Info)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 200 {
				l.With("who", i).Info("a line of some length", "n", i)
			}
		})
	}
	all.Wait()
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 1600 {
		t.Fatalf("%d lines", len(lines))
	}
	for _, line := range lines {
		if !strings.HasPrefix(line, "level=INFO msg=\"a line of some length\" who=") {
			t.Fatalf("%q", line)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add("a b", "c=d")
	f.Fuzz(func(t *testing.T, msg, value string) {
		if strings.Contains(msg+value, "\x7f") {
			t.Skip("slog writes it as it is")
		}
		var ours, theirs bytes.Buffer
		New(&ours, Info).Info(msg, "key", value)
		slogs(&theirs).Info(msg, "key", value)
		if ours.String() != theirs.String() {
			t.Errorf("%q, want %q", ours.String(), theirs.String())
		}
	})
}
