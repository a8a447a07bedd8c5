// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"spillway/config"
	"spillway/journal"
	"spillway/policy"
	"spillway/testbed/await"
	"spillway/testbed/fakeubusd"
	"spillway/ubus"
)

// TestQuotaEvents walks a link through its month: each limit is told once, a forecast once a month, and a new month's freedom too.
func TestQuotaEvents(t *testing.T) {
	const mb = 1 << 20
	var got []string
	c := &config.Config{Links: []config.Link{{Name: "dsl", Role: "primary"}, {Name: "lte", Role: "overflow"}}}
	h := &house{cfg: c, machine: policy.New(policy.Config{Links: []policy.LinkConfig{{Name: "dsl", Role: policy.RolePrimary},
		{Name: "lte", Role: policy.RoleOverflow, Quota: policy.Quota{Limit: 300 * mb, Soft: 200 * mb, Daily: 120 * mb, BillingDay: 1}}}}),
		tell: func(e event) {
			q := e.data.(QuotaEvent)
			if e.kind != "quota" || q.Link != "lte" || q.Quota.Limit != 300*mb {
				t.Errorf("told %s %+v", e.kind, q)
			}
			got = append(got, q.Reached)
		}}
	wall, used := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), uint64(0)
	step := func(after time.Duration, more uint64) {
		wall, used = wall.Add(after), used+more
		h.machine.Step(policy.Observation{Now: wall, Links: []policy.LinkObs{{Usable: true}, {Usable: true, UsedBytes: used, UsedEpoch: 1}}})
		h.tellQuotas(wall)
	}
	day := 24 * time.Hour
	step(0, 0)
	step(time.Minute, 5*mb)
	step(time.Minute, 45*mb)  // 50 in half a day: 1.5 GB at this pace
	step(20*day, 0)           // on the 21st the forecast is within again: not told
	step(time.Minute, 125*mb) // 175: the day's limit
	step(day, 30*mb)          // 205: soft
	step(time.Minute, 100*mb) // 305
	step(10*day, 0)           // April
	step(time.Minute, 1*mb)   // little
	want := []string{"forecast", "daily", "soft", "limit", ""}
	if len(got) != len(want) {
		t.Fatalf("told %q, want %q", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("told %q, want %q", got, want)
		}
	}
}

// TestEventsOnTheBus sends one of each kind; a listener and a subscriber hear them.
func TestEventsOnTheBus(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "u")
	server, err := fakeubusd.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	h := &house{log: journal.Discard()}
	up := make(chan struct{})
	b := ubus.New(socket, ubus.Options{Objects: []ubus.Object{h.busObject(ctx)}, OnConnect: func(*ubus.Conn) { close(up) }})
	go b.Run(ctx)
	await.Value(t, "the bus", up)
	c, err := ubus.Dial(ctx, socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	heard := make(chan string, 1024)
	hear := func(kind string, m ubus.Msg) { heard <- kind + " " + string(m.JSON()) }
	if err := c.Listen(ctx, "spillway.*", hear); err != nil {
		t.Fatal(err)
	}
	if err := c.Subscribe(ctx, objectName, hear, func() {}); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	events := []event{
		{"link", Transition{At: at, Link: "lte", From: "off", To: "first", Why: "dsl is gone"}},
		{"plan", PlanEvent{At: at, Why: "lte takes over", First: "lte"}},
		{"quota", QuotaEvent{At: at, Link: "lte", Reached: "soft", Quota: &QuotaStatus{Used: 46e9, Limit: 50e9}}},
	}
	want := map[string]string{
		"spillway.link": `"to":"first"`, "link": `"why":"dsl is gone"`, "spillway.plan": `"first":"lte"`, "plan": `"why":"lte takes over"`,
		"spillway.quota": `"reached":"soft"`, "quota": `"used":46000000000`,
	}
	missing := maps.Clone(want)
	// The daemon's side of the bus hears of a subscriber a moment after the subscriber itself does, so tell them until they are heard.
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for len(missing) > 0 {
		select {
		case got := <-heard:
			kind, data, _ := strings.Cut(got, " ")
			if part, ok := want[kind]; !ok || !strings.Contains(data, part) {
				t.Errorf("heard %s", got)
			}
			delete(missing, kind)
		case <-again.C:
			for _, e := range events {
				h.tellBus(b, e)
			}
		case <-ctx.Done():
			t.Fatalf("not heard: %v", missing)
		}
	}
}
