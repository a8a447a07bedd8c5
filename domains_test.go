// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"spillway/config"
	"spillway/journal"
	"spillway/testbed/await"
)

func TestNftsetLines(t *testing.T) {
	plain, below := splitDomains([]string{"a.example.net", "*.example.net", "*.example.org"})
	if !slices.Equal(plain, []string{"a.example.net"}) {
		t.Errorf("plain: %v", plain)
	}
	if !slices.Equal(below, []string{"example.net", "example.org"}) {
		t.Errorf("below: %v", below)
	}
	const tv, work, cdn = "4#inet#spillway#d_tv_box4,6#inet#spillway#d_tv_box6", "4#inet#spillway#d_work4,6#inet#spillway#d_work6", "4#inet#spillway#d_cdn4,6#inet#spillway#d_cdn6"
	got := nftsetLines([]config.Rule{
		{Name: "tv-box", Domain: []string{"a.example.net", "*.example.net", "*.example.org"}},
		{Name: "work", Domain: []string{"*.example.com", "*.example.org"}},
		{Name: "cdn", Domain: []string{"*.cdn.example.net", "*.notexample.net"}},
	})
	want := []string{"/example.net/" + tv, "/example.org/" + tv + "," + work, "/example.com/" + work,
		"/cdn.example.net/" + tv + "," + cdn, "/notexample.net/" + cdn}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	var many []string
	for range 100 {
		many = append(many, fmt.Sprintf("*.n%d.example.net", len(many)))
	}
	for _, line := range nftsetLines([]config.Rule{{Name: "tv-box", Domain: many}}) {
		if len(line) > 1010 {
			t.Errorf("a line of %d octets, dnsmasq reads 1025", len(line))
		}
	}
}

// Names are resolved at once and stored by rule, stored again when the table was not there yet, and a name without an
// answer keeps nobody else from his.
func TestDomainsFillTheirRules(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	type stored struct {
		set   string
		addrs []netip.Addr
	}
	got := make(chan stored, 16)
	var adds atomic.Int32
	d := domains{log: journal.New(io.Discard, journal.Info),
		ask: lookup{ip: func(_ context.Context, host string) ([]netip.Addr, error) {
			switch host {
			case "a.example.net":
				return []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}, nil
			case "b.example.net":
				return []netip.Addr{netip.MustParseAddr("192.0.2.2")}, nil
			}
			return nil, errors.New("no such host")
		}},
		add: func(_ context.Context, set string, addrs []netip.Addr, stay time.Duration) error {
			if adds.Add(1) == 1 {
				return errors.New("no such table")
			}
			if stay < 10*time.Minute {
				t.Errorf("addresses stay for %v", stay)
			}
			slices.SortFunc(addrs, netip.Addr.Compare)
			got <- stored{set, addrs}
			return nil
		}}
	done := make(chan error)
	go func() {
		done <- d.run(ctx, []config.Rule{
			{Name: "one", Domain: []string{"a.example.net", "gone.example.net", "*.example.org"}},
			{Name: "two", Domain: []string{"b.example.net", "a.example.net"}},
		})
	}()
	want := map[string]string{"d_one": "[192.0.2.1 2001:db8::1]", "d_two": "[192.0.2.1 192.0.2.2 2001:db8::1]"}
	for len(want) > 0 {
		select {
		case s := <-got:
			if text := netipText(s.addrs); want[s.set] != "" && text != want[s.set] {
				t.Errorf("%s: %s, want %s", s.set, text, want[s.set])
			}
			delete(want, s.set)
		case <-ctx.Done():
			t.Fatal("not stored: ", want)
		}
	}
	cancel()
	if err := await.Value(t, "the end", done); err != nil {
		t.Error(err)
	}
}

func TestDomainsAskNothingWithoutNames(t *testing.T) {
	d := domains{log: journal.New(io.Discard, journal.Info)} // any question would panic
	if err := d.run(t.Context(), []config.Rule{{Name: "x", Domain: []string{"*.example.net"}}, {Name: "y"}}); err != nil {
		t.Error(err)
	}
}

func netipText(addrs []netip.Addr) string {
	text := "["
	for i, a := range addrs {
		if i > 0 {
			text += " "
		}
		text += a.String()
	}
	return text + "]"
}
