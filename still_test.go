// SPDX-License-Identifier: Apache-2.0

package main

import (
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"spillway/linkmon"
	"spillway/mptcp"
	"spillway/relay"
)

func TestConnectionsWithoutSubflowsAreFound(t *testing.T) {
	const established, synSent, finWait2 = 1, 2, 5
	here, gone, host := netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:1"), netip.MustParseAddrPort("192.168.1.2:1")
	sub := func(token uint32, state uint8) mptcp.Subflow {
		return mptcp.Subflow{Token: token, Local: here, TCP: mptcp.TCPInfo{State: state}}
	}
	left := func(token uint32, state uint8) mptcp.Subflow {
		return mptcp.Subflow{Token: token, Local: gone, TCP: mptcp.TCPInfo{State: state}}
	}
	links := []linkmon.Link{{Name: "dsl", Index: 4, Addr4: here.Addr()}, {Name: "lte"}}
	flows := []relay.Flow{
		{ID: 1, Token: 11, MPTCP: true, Down: 100},                            // alive
		{ID: 2, Token: 12, MPTCP: true, Down: 100},                            // half open alone
		{ID: 3, Token: 13, MPTCP: true, Down: 100},                            // none at all
		{ID: 4, Token: 14, MPTCP: true, Down: 100},                            // one dying, one coming
		{ID: 5, Down: 100, Local: here, Link: "dsl"},                          // plain TCP
		{ID: 6, MPTCP: true, Down: 100},                                       // token not known
		{ID: 7, Token: 17, MPTCP: true, Down: 100},                            // none, but it moves
		{ID: 8, Token: 18, MPTCP: true, Down: 100},                            // none, then one again
		{ID: 9, Down: 100, Local: gone, Link: "lte"},                          // plain TCP from an address that is gone
		{ID: 10, Down: 100, Local: gone, Link: "dsl"},                         // and whose link has another
		{ID: 11, Token: 21, MPTCP: true, Down: 100, Local: gone, Link: "lte"}, // its one subflow has an address that is gone
		{ID: 12, Token: 22, MPTCP: true, Down: 100, Local: gone, Link: "dsl"}, // and whose link has another
		{ID: 13, Token: 23, MPTCP: true, Down: 100, Local: gone, Link: "dsl"}, // and there is another subflow
		{ID: 15, Token: 25, MPTCP: true, Down: 100, Local: here, Link: "dsl"}, // its device was removed, and made anew with the same address
		{ID: 14, Down: 100, Local: host, Link: "dsl"},                         // plain TCP from the LAN host's own address
		{ID: 16, Down: 100, Local: here, Link: "dsl", Index: 4},               // plain TCP by the device that there is
		{ID: 17, Down: 100, Local: here, Link: "dsl", Index: 3},               // and by one that was removed
	}
	for i := range flows {
		flows[i].Src = host
	}
	subflows := []mptcp.Subflow{sub(11, established), sub(12, finWait2), sub(14, finWait2), sub(14, synSent),
		left(21, established), left(22, established), left(23, established), sub(23, established),
		{Token: 25, Local: here, IfIndex: 3, TCP: mptcp.TCPInfo{State: established}}}
	first := len(subflows)
	var s still
	step := func(now time.Time) []*relay.Flow {
		for i := range subflows {
			s.see(&subflows[i], links)
		}
		return s.step(now, slices.DeleteFunc(slices.Clone(flows), func(f relay.Flow) bool { return f.MPTCP && s.lives(f.Token) }), links, true)
	}
	found := map[uint64]time.Duration{}
	start := time.Unix(1000, 0)
	if step(start); s.lost != 4 { // 2, 3, 7, 8
		t.Errorf("%d connections without a live subflow, want 4", s.lost)
	}
	s.looked = start
	if s.due(start.Add(stillOften-1), start) || !s.due(start.Add(stillOften), start.Add(-time.Hour)) {
		t.Error("while connections have no subflow all are to be looked at once a second")
	}
	s = still{looked: start}
	if s.due(start.Add(stillEvery-1), start.Add(-stillWatch)) || !s.due(start.Add(stillEvery), start.Add(-stillWatch)) || !s.due(start.Add(stillOften), start) {
		t.Error("otherwise every five seconds, but once a second after a link has changed")
	}
	s = still{}
	for at := time.Duration(0); at <= 2*goneFor; at += stillEvery {
		flows[6].Down++
		for _, f := range step(time.Unix(1000, 0).Add(at)) {
			if _, again := found[f.ID]; !again {
				found[f.ID] = at
			}
		}
		subflows = append(subflows[:first:first], sub(18, established))
	}
	if want := map[uint64]time.Duration{2: stillFor, 3: stillFor, 9: goneFor, 10: stillFor, 11: goneFor, 12: stillFor, 15: stillFor, 17: 0}; !maps.Equal(found, want) {
		t.Errorf("found %v, want %v", found, want)
	}
}

// With no link at all nothing can be made anew, and nothing is reset before the kernel would.
func TestConnectionsWaitForALink(t *testing.T) {
	links := []linkmon.Link{{Name: "dsl"}}
	flows := []relay.Flow{{ID: 1, Token: 11, MPTCP: true, Src: netip.MustParseAddrPort("192.168.1.2:1")}}
	for _, dark := range []time.Duration{3 * stillFor, 2 * goneFor} {
		var s still
		ended := time.Duration(-1)
		for at := time.Duration(0); at <= 3*goneFor && ended < 0; at += stillEvery {
			if len(s.step(time.Unix(1000, 0).Add(at), flows, links, at >= dark)) > 0 {
				ended = at
			}
		}
		if want := min(dark+stillFor, goneFor); ended != want {
			t.Errorf("dark for %v: reset after %v, want %v", dark, ended, want)
		}
	}
}
