// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"spillway/journal"
	"spillway/kernel"
	"spillway/mptcp"
	"spillway/policy"
)

// A step of a story about two links, dsl and lte.
type pathStep struct {
	after    time.Duration
	dsl, lte pathView
	want     [2]endpointWant
	why      string
}

func TestPaths(t *testing.T) {
	const none, backup, active = endpointNone, endpointBackup, endpointActive
	first, act, standby, off := policy.First, policy.Active, policy.Standby, policy.Off
	stories := map[string][]pathStep{
		"carrier loss, LTE on demand": {
			{0, pathView{plan: first}, pathView{plan: off}, [2]endpointWant{active, none}, "LTE has no subflow while DSL suffices"},
			{10 * time.Second, pathView{plan: off, dead: true}, pathView{plan: first}, [2]endpointWant{active, active}, "DSL stays until LTE has joined: the removal is told by LTE"},
			{100 * time.Millisecond, pathView{plan: off, dead: true}, pathView{plan: first, joined: true}, [2]endpointWant{none, active}, "LTE joined"},
			{20 * time.Second, pathView{plan: first}, pathView{plan: first, joined: true}, [2]endpointWant{active, active}, "DSL is back"},
			{time.Second, pathView{plan: first, joined: true}, pathView{plan: standby, joined: true}, [2]endpointWant{active, backup}, "LTE drains"},
			{time.Second, pathView{plan: first}, pathView{plan: off, lonely: 1}, [2]endpointWant{active, backup}, "a connection has no other subflow yet"},
			{time.Second, pathView{plan: first}, pathView{plan: off}, [2]endpointWant{active, none}, "all have"},
		},
		"DSL yields to LTE": {
			{0, pathView{plan: first}, pathView{plan: act}, [2]endpointWant{active, active}, ""},
			{time.Second, pathView{plan: standby, yields: true, lonely: 1, plain: 1}, pathView{plan: act, joined: true}, [2]endpointWant{backup, active}, "a connection has fallen back to plain TCP"},
			{time.Hour, pathView{plan: standby, yields: true, lonely: 1, plain: 1}, pathView{plan: act, joined: true}, [2]endpointWant{backup, active}, "it lives on"},
			{time.Second, pathView{plan: standby, yields: true}, pathView{plan: act, joined: true}, [2]endpointWant{none, active}, "it has ended"},
			{time.Second, pathView{plan: first}, pathView{plan: standby, joined: true}, [2]endpointWant{active, backup}, "all fits into DSL again"},
		},
		"no join is heard of": {
			{0, pathView{plan: first}, pathView{plan: off}, [2]endpointWant{active, none}, ""},
			{time.Second, pathView{plan: off, dead: true}, pathView{plan: first}, [2]endpointWant{active, active}, ""},
			{joinTime, pathView{plan: off, dead: true}, pathView{plan: first}, [2]endpointWant{none, active}, "the time has passed"},
		},
		"LTE stands by, and a connection has not joined it yet": {
			{0, pathView{plan: first}, pathView{plan: standby}, [2]endpointWant{active, backup}, ""},
			{time.Second, pathView{plan: off, dead: true, lonely: 3, plain: 2}, pathView{plan: first}, [2]endpointWant{active, active}, "one of three can still be saved"},
			{100 * time.Millisecond, pathView{plan: off, dead: true, lonely: 2, plain: 2}, pathView{plan: first}, [2]endpointWant{none, active}, "it has joined"},
		},
		"a join takes too long": {
			{0, pathView{plan: first}, pathView{plan: off}, [2]endpointWant{active, none}, ""},
			{time.Second, pathView{plan: off, dead: true, lonely: 1}, pathView{plan: first}, [2]endpointWant{active, active}, ""},
			{joinTime, pathView{plan: off, dead: true, lonely: 1}, pathView{plan: first}, [2]endpointWant{active, active}, "its SYN may have been lost"},
			{lonelyMost, pathView{plan: off, dead: true, lonely: 1}, pathView{plan: first}, [2]endpointWant{none, active}, ""},
		},
		"LTE stood by": {
			{0, pathView{plan: first}, pathView{plan: standby}, [2]endpointWant{active, backup}, ""},
			{time.Second, pathView{plan: off, dead: true}, pathView{plan: first}, [2]endpointWant{none, active}, "the subflows are there: nothing to wait for"},
		},
		"both down": {
			{0, pathView{plan: first}, pathView{plan: off}, [2]endpointWant{active, none}, ""},
			{time.Second, pathView{plan: off, dead: true}, pathView{plan: off, dead: true}, [2]endpointWant{active, none}, "connections wait"},
			{time.Minute, pathView{plan: off, dead: true}, pathView{plan: first}, [2]endpointWant{active, active}, "LTE returns"},
			{time.Second, pathView{plan: off, dead: true}, pathView{plan: first}, [2]endpointWant{none, active}, ""},
		},
		"what was counted before the link was given up does not count": {
			{0, pathView{plan: first}, pathView{plan: act}, [2]endpointWant{active, active}, ""},
			{time.Second, pathView{plan: first}, pathView{plan: off, stale: true}, [2]endpointWant{active, backup}, "nobody has looked since"},
			{waitingTurn, pathView{plan: first}, pathView{plan: off, lonely: 1}, [2]endpointWant{active, backup}, "a join has failed"},
			{time.Second, pathView{plan: first}, pathView{plan: off}, [2]endpointWant{active, none}, ""},
		},
		"a lonely connection does not hold a link that costs money for ever": {
			{0, pathView{plan: first}, pathView{plan: act}, [2]endpointWant{active, active}, ""},
			{time.Second, pathView{plan: first}, pathView{plan: off, lonely: 1}, [2]endpointWant{active, backup}, ""},
			{leaveMost, pathView{plan: first}, pathView{plan: off, lonely: 1}, [2]endpointWant{active, none}, ""},
		},
		"DSL is given up for its losses, which some connections have to live with": {
			{0, pathView{plan: first, free: true}, pathView{plan: off}, [2]endpointWant{active, none}, ""},
			{time.Second, pathView{plan: off, free: true, lonely: 2}, pathView{plan: first, joined: true}, [2]endpointWant{backup, active}, "two have not joined LTE"},
			{2 * leaveMost, pathView{plan: off, free: true, lonely: 1, plain: 1}, pathView{plan: first, joined: true}, [2]endpointWant{backup, active}, "one never will"},
			{time.Minute, pathView{plan: off, free: true, dead: true, lonely: 1, plain: 1}, pathView{plan: first, joined: true}, [2]endpointWant{backup, active}, "its losses look like silence for a moment"},
			{time.Second, pathView{plan: off, free: true}, pathView{plan: first, joined: true}, [2]endpointWant{none, active}, "they have ended"},
		},
	}
	for name, story := range stories {
		t.Run(name, func(t *testing.T) {
			now := time.Unix(1000, 0)
			states := make([]pathState, 2)
			for i, s := range story {
				now = now.Add(s.after)
				stepPaths(now, states, []pathView{s.dsl, s.lte})
				if got := [2]endpointWant{states[0].want, states[1].want}; got != s.want {
					t.Fatalf("step %d (%s): endpoints %v, want %v", i+1, s.why, got, s.want)
				}
			}
		})
	}
}

// TestWaitingHasAnEnd has a connection that never gets another way hold a link: nobody looks 50 times a second for hours.
func TestWaitingHasAnEnd(t *testing.T) {
	now := time.Unix(1000, 0)
	states := make([]pathState, 2)
	dsl, lte := pathView{plan: policy.First, free: true}, pathView{plan: policy.First, joined: true}
	stepPaths(now, states, []pathView{dsl, {}})
	if waiting(now.Add(time.Hour), states) {
		t.Error("waiting though nothing has been given up")
	}
	dsl = pathView{plan: policy.Off, free: true, lonely: 1}
	for _, s := range []struct {
		after time.Duration
		want  bool
		why   string
	}{{time.Hour, true, "DSL has just been given up"}, {leaveMost, true, "it may still go soon"}, {leaveMost, false, "it goes when the connection ends"}} {
		now = now.Add(s.after)
		stepPaths(now, states, []pathView{dsl, lte})
		if got := waiting(now, states); got != s.want {
			t.Errorf("waiting %v, want %v: %s", got, s.want, s.why)
		}
	}
	if states[0].want != endpointBackup {
		t.Errorf("DSL's endpoint is %v, want a silent one", states[0].want)
	}
}

// TestJoinsAreHeardOfWhileOneIsNews: each connection's join would wake a thread.
func TestJoinsAreHeardOfWhileOneIsNews(t *testing.T) {
	now := time.Unix(1000, 0)
	h := &house{paths: make([]pathState, 2), joined: make([]bool, 2), deaf: true}
	h.paths[0] = pathState{want: endpointActive, active: now}
	for _, s := range []struct {
		why  string
		do   func()
		deaf bool
	}{
		{"DSL has begun to carry", func() {}, false},
		{"it has joined", func() { h.joined[0] = true }, true},
		{"LTE begins", func() { h.paths[1] = pathState{want: endpointActive, active: now} }, false},
		{"LTE had its time", func() { now = now.Add(joinTime) }, true},
		{"DSL is to go when LTE has joined", func() { h.paths[0].gone = now }, false},
		{"it has gone", func() { h.paths[0] = pathState{} }, true},
	} {
		s.do()
		if h.listen(now, 0); h.deaf != s.deaf {
			t.Errorf("%s: deaf %v", s.why, h.deaf)
		}
	}
}

// TestNothingIsHeardInACrowd: the kernel makes eight messages of each connection's life while anybody hears.
func TestNothingIsHeardInACrowd(t *testing.T) {
	now, accepted := time.Unix(1000, 0), int64(1000)
	h := &house{paths: make([]pathState, 2), joined: make([]bool, 2), deaf: true, poked: make(chan struct{}, 1)}
	for _, s := range []struct {
		why                  string
		after                time.Duration
		came                 int64
		do                   func()
		rests, deaf, compare bool
	}{
		{"1,000 had come before", 0, 0, nil, false, true, false},
		{"a few come", time.Second, 49, nil, false, true, false},
		{"many come", time.Second, 50, nil, true, true, true},
		{"the same second", 900 * time.Millisecond, 1000, nil, true, true, false},
		{"and they go on", 100 * time.Millisecond, 1000, nil, true, true, true},
		{"LTE begins", 100 * time.Millisecond, 100, func() { h.paths[1] = pathState{want: endpointActive, active: now} }, false, false, false},
		{"it has joined", 100 * time.Millisecond, 100, func() { h.joined[1] = true }, true, true, false},
		{"a turn comes late", 10 * time.Second, 100, nil, false, true, false},
	} {
		now, accepted = now.Add(s.after), accepted+s.came
		if s.do != nil {
			s.do()
		}
		h.listen(now, accepted)
		if h.resting != s.rests || h.deaf != s.deaf || len(h.poked) > 0 != s.compare {
			t.Errorf("%s: resting %v, deaf %v, compared %v", s.why, h.resting, h.deaf, len(h.poked) > 0)
		}
		if len(h.poked) > 0 {
			<-h.poked
		}
	}
}

// TestRoutesComeBeforeEndpoints: a link that returns has its endpoint only once its own rules and routes are in the kernel.
func TestRoutesComeBeforeEndpoints(t *testing.T) {
	dsl, lte := netip.MustParseAddr("100.64.0.2"), netip.MustParseAddr("100.64.1.2")
	rule := func(a netip.Addr) kernel.Rule { return kernel.Rule{Priority: 911, From: a, Table: 7701} }
	route := func(a netip.Addr, index int) kernel.Route { return kernel.Route{Table: 7701, Index: index, Src: a} }
	a := applier{held: kernel.State{Rules: []kernel.Rule{rule(dsl), rule(lte)}, Routes: []kernel.Route{route(dsl, 3)}}}
	want := kernel.State{Rules: []kernel.Rule{rule(dsl), rule(lte)}, Routes: []kernel.Route{route(dsl, 3), route(lte, 4)}}
	if !a.routed(dsl, &want) || a.routed(lte, &want) {
		t.Error("DSL has its route and LTE has not: told otherwise")
	}
	want.Routes[0].Index = 4 // the lines have changed places
	if a.routed(dsl, &want) {
		t.Error("DSL's address has moved to another device, and counts as routed")
	}
	a.held = want
	if !a.routed(dsl, &want) || !a.routed(lte, &want) {
		t.Error("both have their routes")
	}
}

func TestEndpointChangesMakeBeforeBreak(t *testing.T) {
	dsl := mptcp.Endpoint{ID: 101, Flags: mptcp.FlagSubflow, IfIndex: 2}
	lte := mptcp.Endpoint{ID: 102, Flags: mptcp.FlagSubflow, IfIndex: 3}
	silent := lte
	silent.Flags |= mptcp.FlagBackup
	tests := []struct {
		name       string
		have, want []mptcp.Endpoint
		verbs      []string
	}{
		{"nothing", []mptcp.Endpoint{dsl}, []mptcp.Endpoint{dsl}, nil},
		{"failover", []mptcp.Endpoint{dsl}, []mptcp.Endpoint{lte}, []string{"add", "remove"}},
		{"failover to a silent one", []mptcp.Endpoint{dsl, silent}, []mptcp.Endpoint{lte}, []string{"flags", "remove"}},
		{"return", []mptcp.Endpoint{lte}, []mptcp.Endpoint{silent, dsl}, []string{"add", "flags"}},
	}
	for _, tt := range tests {
		var verbs []string
		for _, c := range endpointChanges(tt.have, tt.want) {
			verbs = append(verbs, c.verb)
		}
		if !slices.Equal(verbs, tt.verbs) {
			t.Errorf("%s: %v, want %v", tt.name, verbs, tt.verbs)
		}
	}
}

// TestStartOn: new connections start on the first link, but for a first link that rests.
func TestStartOn(t *testing.T) {
	resting := policy.LinkPlan{Role: policy.First, Primary: true, Resting: true}
	for _, tt := range []struct {
		name string
		plan policy.Plan
		want int
	}{
		{"usual", policy.Plan{First: 0, Links: []policy.LinkPlan{{Role: policy.First}, {Role: policy.Active}}}, 0},
		{"it yields", policy.Plan{First: 0, Links: []policy.LinkPlan{resting, {Role: policy.Off}, {Role: policy.Active}}}, 2},
		{"nobody else", policy.Plan{First: 0, Links: []policy.LinkPlan{resting, {Role: policy.Active, Resting: true}}}, 0},
		{"none", policy.Plan{First: -1, Links: []policy.LinkPlan{{}}}, -1},
	} {
		if got := startOn(&tt.plan); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

// What a predecessor left in the kernel stays until the first plan says what shall be there: to a successor's hints nothing happens before.
func TestNothingIsAppliedBeforeAnythingIsWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*applyEvery)
		defer cancel()
		a := newApplier(nil, journal.New(io.Discard, journal.Info)) // any use of the kernel would panic
		a.again()
		if err := a.run(ctx); err != nil || a.ready() {
			t.Errorf("applied %v, error %v", a.ready(), err)
		}
	})
}
