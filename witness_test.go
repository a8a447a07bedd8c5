// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"spillway/config"
	"spillway/linkmon"
	"spillway/mptcp"
	"spillway/policy"
)

// A link that does not answer is dead when another does; when none does, nobody knows.
func TestWitnesses(t *testing.T) {
	for name, tt := range map[string]struct {
		w            witnesses
		heard, again bool
		want         finding
	}{
		"the probe is on its way":      {witnesses{asked: []string{"b"}, spoke: true}, true, false, undecided},
		"no other link":                {witnesses{failed: true}, false, false, linkDead},
		"another answers":              {witnesses{failed: true, asked: []string{"b", "c"}, open: 1, spoke: true}, false, false, linkDead},
		"another's traffic moves":      {witnesses{failed: true, asked: []string{"b"}, open: 1}, true, false, linkDead},
		"another has not answered yet": {witnesses{failed: true, asked: []string{"b", "c"}, open: 1}, false, false, undecided},
		"nor did it before":            {witnesses{failed: true, asked: []string{"b", "c"}, open: 1}, false, true, allSilent},
		"it answers by now":            {witnesses{failed: true, asked: []string{"b", "c"}, open: 1, spoke: true}, false, true, linkDead},
		"none answers":                 {witnesses{failed: true, asked: []string{"b", "c"}}, false, false, allSilent},
	} {
		if got := tt.w.find(tt.heard, tt.again); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

// The results of probes and witnesses come one by one, those of an earlier doubt perhaps last.
func TestAProbesEndWaitsForItsWitnesses(t *testing.T) {
	play := func(results ...probeResult) *linkmon.Health {
		h := &house{cfg: &config.Config{Links: []config.Link{{Name: "a"}, {Name: "b"}}}, senses: make([]sense, 2)}
		s := &h.senses[0]
		now := time.Now()
		s.health.Step(now, nil, linkmon.Link{Usable: true})
		s.health.ProbeSent(now)
		s.others = witnesses{since: now.Add(time.Hour), round: 2, asked: []string{"b"}, open: 1} // nothing was heard since
		for _, r := range results {
			h.probed(t.Context(), r)
		}
		return &s.health
	}
	failed, silent, spoke := probeResult{link: "a"}, probeResult{link: "a", witness: 2}, probeResult{link: "a", witness: 2, answered: true}
	if n := play(failed).Moot(); n != 0 {
		t.Errorf("%d moot before the witness has reported", n)
	}
	if n := play(failed, silent).Moot() + play(silent, failed).Moot(); n != 2 {
		t.Errorf("%d moot of two where nobody answers", n)
	}
	if n := play(failed, spoke).Moot() + play(spoke, failed).Moot(); n != 0 {
		t.Errorf("%d moot though another link answers", n)
	}
	if n := play(failed, probeResult{link: "a", witness: 1}).Moot(); n != 0 {
		t.Errorf("%d moot by a witness of an earlier doubt", n)
	}
}

// Links that nobody answered by are no longer excused as soon as one of them is heard.
func TestOneAnswerEndsTheSilenceOfAll(t *testing.T) {
	h := &house{senses: make([]sense, 2)}
	now := time.Now()
	for i := range h.senses {
		h.senses[i].health.Step(now, nil, linkmon.Link{Usable: true})
		h.senses[i].health.ProbeMoot(now)
	}
	h.unmute()
	if n := h.senses[0].health.Moot() + h.senses[1].health.Moot(); n != 2 {
		t.Fatalf("%d moot, though nobody was heard", n)
	}
	h.senses[0].health.ProbeSent(now)
	h.senses[0].health.ProbeDone(now.Add(time.Second), true)
	h.unmute()
	if n := h.senses[0].health.Moot() + h.senses[1].health.Moot(); n != 0 {
		t.Errorf("%d moot, though the first link answers", n)
	}
}

// A dead mobile line costs nothing while nobody misses it, and is asked for as soon as it would carry: while the first link is full, or none carries.
func TestADeadLinkIsAskedWhereItIsMissed(t *testing.T) {
	c := policy.Config{Links: []policy.LinkConfig{{Name: "dsl", Role: policy.RolePrimary}, {Name: "lte", Role: policy.RoleOverflow, Metered: true}}}
	for _, tt := range []struct {
		name             string
		full, none, dead bool
		role             policy.Role
		want             bool
	}{
		{"it is not missed", false, false, true, policy.RoleOverflow, false},
		{"dsl is full", true, false, true, policy.RoleOverflow, true},
		{"dsl is full, and it is not dead", true, false, false, policy.RoleOverflow, false},
		{"none carries", false, true, true, policy.RoleOverflow, true},
		{"it is switched off", true, false, true, policy.RoleOff, false},
	} {
		h := &house{machine: policy.New(c), senses: make([]sense, 2), plan: policy.Plan{Links: []policy.LinkPlan{{Role: policy.First}, {Metered: true}}}}
		h.snap.Links = []linkmon.Link{{Usable: true}, {Usable: true}}
		if err := h.machine.Set("lte", tt.role); err != nil {
			t.Fatal(err)
		}
		if tt.none {
			h.plan.First = -1
		}
		h.senses[0].verdict.Standing, h.senses[1].verdict.Dead = tt.full, tt.dead
		use := h.useOf(1)
		if got := use.Needed && (use.InUse || !use.Metered); got != tt.want {
			t.Errorf("%s: asked %t, want %t", tt.name, got, tt.want)
		}
	}
}

// TestASecondSYNLeavesAfterAWhile, and with it the doubt that has other links asked: not before an answer from far away could be here.
func TestASecondSYNLeavesAfterAWhile(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	rc, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	rc.Control(func(fd uintptr) { err = unix.Listen(int(fd), 0) })
	c, err2 := net.Dial("tcp", l.Addr().String()) // its place is taken: further SYNs are not answered
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	target := l.Addr().(*net.TCPAddr).AddrPort()
	for _, again := range []time.Duration{50 * time.Millisecond, 400 * time.Millisecond} {
		began, doubted := time.Now(), time.Duration(0)
		if probe(t.Context(), target, mptcp.DialOptions{PlainTCP: true}, time.Second, again, func() { doubted = time.Since(began) }) {
			t.Error("a listener without a place answered")
		}
		if doubted < again {
			t.Errorf("again after %v: in doubt after %v", again, doubted)
		}
	}
}
