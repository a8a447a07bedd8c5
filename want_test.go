// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"strings"
	"testing"
	"time"
	"unsafe"

	"spillway/kernel"
	"spillway/linkmon"
	"spillway/policy"
	"spillway/relay"
	"spillway/testbed/netns"
	"spillway/ubus/netifd"
)

// TestLinksOfOneAddress: two modems that each have a network of their own give the router the same address (192.168.8.100, Huawei). The
// kernel has no two endpoints of one address, and what it refuses keeps the daemon in the state "starting".
func TestLinksOfOneAddress(t *testing.T) {
	a, b := netip.MustParseAddr("192.168.8.100"), netip.MustParseAddr("10.0.0.2")
	snap := linkmon.Snapshot{Links: []linkmon.Link{
		{Name: "dsl", Index: 2, Present: true, Addr4: b}, {Name: "one", Index: 3, Present: true, Addr4: a}, {Name: "two", Index: 4, Present: true, Addr4: a},
	}}
	if said := sameAddresses(snap.Links); len(said) != 1 {
		t.Errorf("warnings %q", said)
	}
	for _, tt := range []struct {
		wants [3]endpointWant
		want  []int
	}{
		{[3]endpointWant{endpointActive, endpointActive, endpointActive}, []int{2, 3}},
		{[3]endpointWant{endpointActive, endpointNone, endpointActive}, []int{2, 4}},
		{[3]endpointWant{endpointActive, endpointBackup, endpointActive}, []int{2, 4}},
	} {
		paths := make([]pathState, 3)
		for i := range paths {
			paths[i].want = tt.wants[i]
		}
		var got []int
		for _, e := range endpoints(kernel.Usual(), &snap, paths, families{true, true}) {
			got = append(got, e.IfIndex)
		}
		if len(got) != len(tt.want) || got[0] != tt.want[0] || got[1] != tt.want[1] {
			t.Errorf("%v: endpoints on the devices %v, want %v", tt.wants, got, tt.want)
		}
	}
}

// TestAFlowsFieldsAreFilled: idle_s was in every answer, and always 0.
func TestAFlowsFieldsAreFilled(t *testing.T) {
	x := flowStatus(relay.Flow{Since: time.Now().Add(-time.Minute), Idle: 7 * time.Second, Up: 1, Down: 2}, nil, nil)
	if x.Idle != 7 || x.Age < 59 || x.Tx != 1 || x.Rx != 2 {
		t.Errorf("%+v", x)
	}
}

// TestMeteredIsAsConfigured: by role unless it is said.
func TestMeteredIsAsConfigured(t *testing.T) {
	for said, want := range map[string]bool{"": true, "metered = true\n": true, "metered = false\n": false} {
		c := configOf(t, "[[link]]\nname = \"dsl\"\ndevice = \"eth1\"\n[[link]]\nname = \"cable\"\ndevice = \"eth2\"\nrole = \"overflow\"\n"+said)
		p := policy.New(policyConfig(c, netifd.State{})).Step(policy.Observation{Now: time.Now(), Links: []policy.LinkObs{{Usable: true}, {Usable: true}}})
		if p.Links[0].Metered || p.Links[1].Metered != want {
			t.Errorf("%q: metered %v and %v", said, p.Links[0].Metered, p.Links[1].Metered)
		}
	}
}

// TestAStateIsSinceItBegan, and not since somebody asked first.
func TestAStateIsSinceItBegan(t *testing.T) {
	h := houseOf(t, "[[link]]\nname = \"dsl\"\ndevice = \"eth1\"\n")
	h.apply = newApplier(nil, h.log)
	began := time.Now()
	h.noteState(began) // as each turn of the loop does
	if s := h.status(began.Add(2*time.Hour), nil); s.State != "direct" || !s.Since.Equal(began) {
		t.Errorf("state %s since %v, %v after it began", s.State, s.Since, s.Since.Sub(began))
	}
}

// TestAClosedDoorSaysWhy, also while the relay listens and the kernel leads nobody there yet.
func TestAClosedDoorSaysWhy(t *testing.T) {
	netns.Require(t)
	h := houseOf(t, "[[link]]\nname = \"dsl\"\ndevice = \"eth1\"\n")
	h.apply, h.features.MPTCP = newApplier(nil, h.log), true
	h.adoptAddresses(resolved{h.cfg, [][]netip.AddrPort{{netip.MustParseAddrPort("192.0.2.1:5124")}}})
	if err := h.relay.OpenDoor(0, 0); err != nil {
		t.Fatal(err)
	}
	defer h.relay.CloseDoor()
	if s := h.status(time.Now(), nil); s.Doors.Open || s.Doors.Why == "" || !h.relay.Stats().DoorOpen {
		t.Errorf("%+v, listening %v", s.Doors, h.relay.Stats().DoorOpen)
	}
}

// TestMetricsHaveEveryRole, as the collectors have, and as docs/OPENWRT.md asks for them: spillway_link_role{role="off"} == 0.
func TestMetricsHaveEveryRole(t *testing.T) {
	var b strings.Builder
	writeMetrics(&b, &Status{Links: []LinkStatus{{Name: "lte", Role: "overflow"}}})
	for _, want := range []string{`{link="lte",role="overflow"} 1`, `{link="lte",role="off"} 0`, `{link="lte",role="primary"} 0`, `{link="lte",role="backup"} 0`} {
		if !strings.Contains(b.String(), "\nspillway_link_role"+want+"\n") {
			t.Errorf("no %s in\n%s", want, b.String())
		}
	}
}

// TestLinksGoAstray when they have a way out only where no concentrator has an address.
func TestLinksGoAstray(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::2")
	both := linkmon.Link{Usable: true, Addr4: v4, Route4: true, Addr6: v6, Route6: true}
	without := func(change func(*linkmon.Link)) linkmon.Link {
		l := both
		change(&l)
		return l
	}
	for _, tt := range []struct {
		name string
		link linkmon.Link
		f    families
		want bool
	}{
		{"both", both, families{v4: true}, false},
		{"no IPv4 address", without(func(l *linkmon.Link) { l.Addr4 = netip.Addr{} }), families{v4: true}, true},
		{"no IPv4 route", without(func(l *linkmon.Link) { l.Route4 = false }), families{v4: true}, true},
		{"no IPv4 address, but nobody needs one", without(func(l *linkmon.Link) { l.Addr4 = netip.Addr{} }), families{true, true}, false},
		{"no IPv6 address", without(func(l *linkmon.Link) { l.Addr6 = netip.Addr{} }), families{v6: true}, true},
		{"not usable at all", linkmon.Link{}, families{v4: true}, false},
	} {
		o := policy.Observation{Links: make([]policy.LinkObs, 1)}
		noteAstray(&o, []linkmon.Link{tt.link}, tt.f)
		if got := o.Links[0].Astray; got != "" != tt.want {
			t.Errorf("%s: %q", tt.name, got)
		}
	}
}

// TestWhatBeganBeforeTheClockWasSet: a router without a battery wakes up in its own past. A minute after a start without power for a month it
// was told to have run for a month.
func TestWhatBeganBeforeTheClockWasSet(t *testing.T) {
	const month = 30 * 24 * time.Hour
	now := time.Now()
	began := now.Add(-time.Minute)
	noted := began
	*(*uint64)(unsafe.Pointer(&noted)) -= uint64(month/time.Second) << 30 // of time.Time: the wall clock's seconds, above 30 bits of ns; the monotonic one is apart
	if now.Sub(noted) != time.Minute || now.Round(0).Sub(noted.Round(0)) != month+time.Minute {
		t.Skip("package time keeps its clocks in another way")
	}
	for _, tt := range []struct{ at, want time.Time }{{began, began}, {noted, began}, {time.Time{}, time.Time{}}, {began.Round(0), began.Round(0)}} {
		if got := byClock(now, tt.at); got.Round(0).Sub(tt.want.Round(0)).Abs() > time.Second || got.IsZero() != tt.want.IsZero() {
			t.Errorf("%v is told as %v, want %v", tt.at, got, tt.want)
		}
	}
	h := houseOf(t, "[[link]]\nname = \"dsl\"\ndevice = \"eth1\"\n")
	h.apply = newApplier(nil, h.log)
	h.enterState(noted, "direct")
	h.snap.Links, h.plan.Links, h.senses[0].turned = make([]linkmon.Link, 1), []policy.LinkPlan{{Since: noted}}, noted
	h.history.add(Transition{At: noted})
	s := h.status(now, nil)
	for what, at := range map[string]time.Time{"state": s.Since, "link": s.Links[0].Since, "usable": s.Links[0].UsableSince, "history": h.history.all(now)[0].At} {
		if early := began.Round(0).Sub(at.Round(0)); early.Abs() > time.Second { // by the clock on the wall
			t.Errorf("%s: since %v, which is %v too early", what, at, early)
		}
	}
}
