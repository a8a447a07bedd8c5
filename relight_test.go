// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"spillway/linkmon"
	"spillway/policy"
)

// TestLinksThatReturnGetASubflow: after an outage of all links each that has returned gets a new silent subflow beside the first, unless the owner
// or a quota forbids it; a short gap, and a beginning, are none.
func TestLinksThatReturnGetASubflow(t *testing.T) {
	const dsl, lte, none, mute = 0, 1, -1, -2 // mute: DSL is first, and nobody answers by any link
	type at struct {
		after time.Duration
		first int
		lte   pathView
		want  endpointWant
		why   string
	}
	off, dead := policy.Off, pathView{plan: policy.Off, dead: true}
	held, forbidden := pathView{plan: off, spare: true}, pathView{plan: off}
	stories := map[string][]at{
		"the beginning": {
			{0, none, dead, endpointNone, "no link is there yet"},
			{time.Minute, dsl, held, endpointNone, "nobody has lived through an outage"},
		},
		"both are cut": {
			{0, dsl, pathView{plan: policy.Active, joined: true, spare: true}, endpointActive, ""},
			{time.Minute, none, dead, endpointActive, "nothing else carries"},
			{3 * time.Second, dsl, held, endpointNone, "joins that failed meanwhile are not tried again by an endpoint that stays"},
			{50 * time.Millisecond, dsl, held, endpointBackup, "now they are"},
			{relightFor / 2, dsl, held, endpointBackup, ""},
			{relightFor, dsl, held, endpointNone, "the while is over"},
		},
		"nobody answers": {
			{0, dsl, held, endpointNone, ""},
			{time.Minute, mute, held, endpointNone, "there is nobody to join"},
			{3 * time.Second, dsl, held, endpointBackup, "somebody is heard again"},
			{relightFor, dsl, held, endpointNone, "the while is over"},
		},
		"LTE returns later": {
			{0, dsl, held, endpointNone, ""},
			{time.Minute, none, dead, endpointNone, ""},
			{time.Minute, dsl, dead, endpointNone, "it is away still"},
			{5 * time.Second, dsl, held, endpointBackup, ""},
		},
		"its quota is used up": {
			{0, dsl, forbidden, endpointNone, ""},
			{time.Minute, none, forbidden, endpointNone, ""},
			{time.Minute, dsl, forbidden, endpointNone, ""},
		},
		"a short gap": {
			{0, dsl, held, endpointNone, ""},
			{time.Minute, none, dead, endpointNone, ""},
			{outageLeast / 2, dsl, held, endpointNone, ""},
		},
		"a connection has only LTE's": {
			{0, lte, pathView{plan: policy.First, joined: true, spare: true}, endpointActive, ""},
			{time.Minute, none, dead, endpointActive, ""},
			{3 * time.Second, dsl, pathView{plan: off, spare: true, lonely: 1}, endpointBackup, "it keeps it"},
			{2 * renewMost, dsl, held, endpointBackup, "and the others keep theirs"},
		},
	}
	for name, story := range stories {
		t.Run(name, func(t *testing.T) {
			var o outage
			now, states := time.Unix(1000, 0), make([]pathState, 2)
			for _, s := range story {
				now = now.Add(s.after)
				views := []pathView{{plan: policy.First, joined: true}, s.lte}
				if s.first != dsl {
					views[0] = dead
				}
				o.over(now, max(s.first, none), s.first == mute)
				o.step(now, max(s.first, none), views, states)
				stepPaths(now, states, views)
				if states[1].want != s.want {
					t.Fatalf("at %v LTE's endpoint is %d, not %d: %s", now.Sub(time.Unix(1000, 0)), states[1].want, s.want, s.why)
				}
			}
		})
	}
}

// TestReturned: a link that was usable has nothing that waits; one without a gateway has its neighbours on the line itself.
func TestReturned(t *testing.T) {
	link := func(index int, usable bool, gateway string) linkmon.Link {
		l := linkmon.Link{Usable: usable, Index: index, Route4: true}
		l.Gateway4, _ = netip.ParseAddr(gateway)
		return l
	}
	before := []linkmon.Link{link(3, false, ""), link(4, true, "10.2.0.2"), link(5, false, ""), link(6, true, "10.4.0.2")}
	now := []linkmon.Link{link(7, true, "10.1.0.2"), link(4, true, "10.2.0.2"), link(5, true, ""), link(6, false, "10.4.0.2")}
	if got := returned(before, now); !slices.Equal(got, []int{7}) {
		t.Errorf("returned: %v, want the device 7", got)
	}
	if got := returned(nil, now); len(got) != 0 {
		t.Errorf("at the beginning: %v", got)
	}
}
