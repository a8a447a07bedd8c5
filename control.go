// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"spillway/config"
	"spillway/journal"
	"spillway/kernel"
	"spillway/linkmon"
	"spillway/mptcp"
	"spillway/policy"
	"spillway/relay"
	"spillway/ubus/netifd"
)

// house is the daemon's rooms and what the control loop remembers. Everything in it but the rooms belongs to the loop's goroutine;
// others ask through calls.
type house struct {
	file string
	log  *journal.Logger

	relay   *relay.Relay
	kernel  *kernel.Reconciler
	monitor *linkmon.Monitor
	diag    *mptcp.Diag // nil where the kernel has none
	apply   *applier

	// Hints and questions from other goroutines.
	snapshots chan linkmon.Snapshot // holds the newest one
	joins     chan mptcp.Event      // subflows that joined; with path_manager "user" also those that were lost
	ear       mptcp.Ear             // what the kernel tells of subflows
	poked     chan struct{}         // somebody changed the kernel, or the relay's door or an upstream changed
	resolved  chan resolved
	probes    chan probeResult
	calls     chan func()
	hup       chan os.Signal // SIGHUP: reload

	cfg     *config.Config
	addrs   [][]netip.AddrPort // of the concentrators
	names   []string           // the links' devices
	network netifd.State       // as netifd told it last
	roleWhy map[string]string  // by link: why it has its role, where that is netifd's word
	numbers map[string]int     // of the relay's rules
	// transparent: there may be connections with LAN hosts' own addresses. Once there were, their answers are always looked for.
	transparent bool
	machine     *policy.Machine
	senses      []sense
	paths       []pathState
	joined      []bool
	steering    *steering // nil: the kernel makes the subflows
	reached     []bool    // by link: some class has subflows there
	snap        linkmon.Snapshot
	steady      bool         // snap tells of no link that carries much less than before
	delivered   linkmon.Rate // to LAN hosts
	plan        policy.Plan
	given       relay.Plan // what the relay was last told
	ruleset     kernel.Ruleset
	rendered    time.Time                // when the ruleset was made, by the clock on the wall
	edge        time.Time                // when a time window changes the ruleset
	flows       []mptcp.Subflow          // of the last look, while somebody needs them all: see keepsFlows
	losing      bool                     // a link that is dead, or not wanted any more, still has subflows
	rtts        map[string]time.Duration // to the concentrators, by name: the shortest of the last look that saw any
	looked      time.Time                // at the subflows
	rush        rush
	moved       time.Time     // when a link carried something last
	look        time.Duration // what a look costs
	repeats     []repeat
	history     history
	usage       usageFile
	saving      saving
	started     time.Time
	boot        uint64      // of the machine's run
	memory      uint64      // the machine's, octets
	v6          bool        // the kernel has IPv6
	tell        func(event) // over ubus; never nil
	told        told
	sysctl      sysctlCache
	still       still
	outage      outage
	window      windowWatch

	notHeld error // why no SYN is held (relay.faithful); nil: they are

	state      string // of the daemon
	stateSince time.Time
	noted      time.Time // when that was looked at

	inherited []*os.File // listening sockets of a predecessor
	opened    bool       // the door was, once
	deaf      bool       // joins are not heard of: see listen
	resting   bool       // nor anything else
	crowd     crowd
	succeeded atomic.Bool // a successor has ours

	features  mptcp.Features
	shared    atomic.Pointer[config.Config] // cfg, for other goroutines
	reloading sync.Mutex
	rehold    chan struct{} // relay.faithful changed
	rename    chan struct{} // the concentrators changed: resolve anew
}

// waitingTurn is the loop's pace while a removal waits for others to join.
const waitingTurn = 20 * time.Millisecond

// control is the loop: observe, Step, want, apply.
func (h *house) control(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		fresh := false
		select {
		case <-ctx.Done():
			return nil
		case s := <-h.snapshots:
			if !h.ours(&s) {
				continue
			}
			h.steady = steady(h.snap.Links, s.Links)
			h.freeStuck(returned(h.snap.Links, s.Links))
			h.snap = s
			h.delivered.Add(s.At, h.relay.Delivered())
		case e := <-h.joins:
			if h.steering != nil && !h.subflowEvent(time.Now(), e) || h.steering == nil && !h.subflowJoined(e.Local.Addr()) {
				continue // every connection says so, and nothing follows
			}
		case <-h.poked:
			h.noted = time.Time{}
			h.apply.again()
		case a := <-h.resolved:
			h.adoptAddresses(a)
		case p := <-h.probes:
			h.probed(ctx, p)
		case call := <-h.calls:
			call()
		case <-timer.C:
			fresh = true
		}
		if len(h.snap.Links) != len(h.senses) {
			continue // no snapshot of this configuration yet
		}
		again, err := h.turn(ctx, fresh)
		if err != nil {
			return err
		}
		timer.Reset(again)
	}
}

// turn makes one round, and tells when the next is due though nothing is heard. An error is that of opening the door, at the first.
func (h *house) turn(ctx context.Context, fresh bool) (time.Duration, error) {
	now := time.Now()
	every := h.lookEvery(now)
	if h.hurried(now) {
		every = min(every, max(waitingTurn, lookShare*h.look))
	}
	if fresh || now.Sub(h.looked) >= every-every/8 { // a snapshot comes as often, and a turn for both costs half
		// A predecessor's connections are steered as well.
		h.lookAtSubflows(now, h.relay.Sessions() > 0 || h.steering != nil && len(h.inherited) > 0)
		fresh = true
	}
	judge(now, h.senses, &h.snap, fresh)
	h.unmute()
	if err := h.decide(now, fresh); err != nil {
		return 0, err
	}
	h.probeWhereNeeded(ctx, now)
	h.timeLinks(ctx, now)
	h.stayVerified(now)
	h.watchWindow(now)
	h.tidyUp(now)
	h.noteState(now)
	if h.hurried(now) {
		return waitingTurn, nil
	}
	switch {
	case every >= time.Second:
		return linkmon.Beat(now, every), nil
	case h.steady && now.Sub(h.snap.At) < every/2:
		return 2 * every, nil // the next snapshot comes before, and looks
	}
	return every + every/4, nil
}

// ours tells whether a snapshot is of the links as they are configured and named now. One from just before a change is not: a quota would be
// charged with what another line has carried since the machine's start.
func (h *house) ours(s *linkmon.Snapshot) bool {
	for i := range s.Links {
		if len(s.Links) != len(h.names) || s.Links[i].Name != h.cfg.Links[i].Name || s.Links[i].Device != h.names[i] {
			return false
		}
	}
	return true
}

// steady tells whether no link carries less than half of what it did.
func steady(before, now []linkmon.Link) bool {
	if len(before) != len(now) {
		return false
	}
	for i := range now {
		if 2*now[i].DownRate < before[i].DownRate || 2*now[i].UpRate < before[i].UpRate {
			return false
		}
	}
	return true
}

// hurried tells whether a removal waits for others to join.
func (h *house) hurried(now time.Time) bool {
	return waiting(now, h.paths) || h.steering != nil && h.steering.hurried(now)
}

// decide asks the policy and does what it says.
func (h *house) decide(now time.Time, fresh bool) error {
	seen := observe(now, h.boot, &h.snap, h.senses)
	seen.Delivered = h.delivered.Bit
	noteAstray(&seen, h.snap.Links, familiesOf(h.addrs))
	before := h.plan.Links
	h.plan = h.machine.Step(seen)
	h.logTurns(before)
	for _, t := range h.plan.Changed {
		h.changed(Transition{At: now, Link: t.Link, From: t.From.String(), To: t.To.String(), Why: t.Why})
	}
	h.tellPlan(now)
	h.tellQuotas(now)
	p := relayPlan(&h.plan, &h.snap)
	p.NoSYNData = h.window.bad || unlikeLinks(&h.plan, &seen)
	if h.cfg.Relay.ReceiveBuffer == 0 {
		p.Room = roomFor(&seen, h.memory)
	}
	if !samePlan(p, h.given) {
		h.given = p
		h.relay.SetPlan(p)
	}
	if err := h.openDoor(); err != nil {
		return err
	}
	if h.outage.over(now, h.plan.First, h.mute()) {
		go h.relay.AskAll()
	}
	if h.steering != nil {
		h.steer(now, fresh)
	} else {
		stepPaths(now, h.paths, h.views(now))
	}
	h.listen(now, h.relay.Accepted())
	h.enforce(now)
	h.persist(now)
	return nil
}

// logTurns tells when an overflow link rests for a moment, and when it carries on. That comes and goes too often for anything but debugging.
func (h *house) logTurns(before []policy.LinkPlan) {
	for i := range min(len(before), len(h.plan.Links)) {
		if rests := h.plan.Links[i].Resting; rests != before[i].Resting {
			all := make([]string, len(h.snap.Links))
			for j, l := range h.snap.Links {
				all[j] = l.Name + " " + rate(l.DownRate) + "/" + rate(l.UpRate)
			}
			h.log.Debug("turn", "link", h.snap.Links[i].Name, "rests", rests, "rates", strings.Join(all, ", "), "at", time.Now().Format("05.000"))
		}
	}
}

// views is what stepPaths needs to know.
func (h *house) views(now time.Time) []pathView {
	views := make([]pathView, len(h.paths))
	for i := range views {
		v := &h.senses[i].verdict
		views[i] = pathView{plan: h.plan.Links[i].Role, dead: !h.snap.Links[i].Usable || v.Dead, joined: h.joined[i],
			free: !h.plan.Links[i].Metered}
		l := &h.plan.Links[i]
		views[i].spare = views[i].free || l.Available || l.Held
		if l.Resting {
			views[i].plan, views[i].yields = policy.Standby, l.Primary
		}
	}
	silent := func(which func(i int) bool) { // they get, or keep, a subflow that carries nothing
		for i := range views {
			if views[i].plan == policy.Off && which(i) {
				views[i].plan = policy.Standby
			}
		}
	}
	if h.inDoubt() {
		// A link in use does not answer. Should it be dead, the subflows of another one are there already.
		silent(func(i int) bool { return h.plan.Links[i].Available })
	} else if h.mute() {
		// Nobody answers: what is there stays, as each doubt that has come to nothing took a link's subflows away, and the next made them anew.
		silent(func(i int) bool { return h.paths[i].want != endpointNone })
	}
	if h.still.lost > 0 {
		// Connections have no subflow at all. Linux may not begin another by the link that has returned (6.18: a subflow that ended before its
		// endpoint was removed counts on against the number of endpoints), but does by one more: a link that is held back has one.
		silent(func(i int) bool { return !views[i].dead && views[i].free })
	}
	h.outage.step(now, h.plan.First, views, h.paths)
	missing := !h.keepsFlows()
	h.losing = false
	for i := range views {
		h.losing = h.losing || (views[i].dead || views[i].plan == policy.Off || views[i].yields) && h.paths[i].want != endpointNone
		views[i].stale = h.diag != nil && (h.paths[i].gone.IsZero() || !h.looked.After(h.paths[i].gone))
	}
	if h.losing {
		if missing && h.diag != nil && h.relay.Sessions() > 0 { // since now; the looks to come keep them
			h.flows, _ = h.diag.Subflows(h.which(false))
		}
		countLonely(views, h.flows, h.snap.Links)
	}
	return views
}

// enforce makes the kernel hold what follows from the plan. Endpoints are changed at once by one netlink call each, since
// failover hangs on them; the rest, and whatever went wrong, is the applier's.
func (h *house) enforce(now time.Time) {
	if !h.features.MPTCP {
		return
	}
	if h.windowsTurn(now) {
		h.render()
	}
	w := want(kernelNumbers(h.cfg), inward(h.cfg.LAN.Interfaces, h.names, h.transparent), h.ruleset, h.sysctls(), &h.snap, h.paths, familiesOf(h.addrs), h.v6)
	have := h.apply.wanted()
	h.apply.want(w)
	if !h.apply.ready() {
		return // the first state is the applier's alone: routes before endpoints
	}
	for _, change := range endpointChanges(have.Endpoints, w.Endpoints) {
		if change.verb == "add" && !h.apply.routed(change.endpoint.Addr, &w) {
			// A subflow that finds no route is not tried again. The applier, which has been woken, adds the endpoint after the routes.
			continue
		}
		if err := change.do(h.kernel); err != nil {
			h.log.Debug("endpoint", "change", change.String(), "error", err)
			h.apply.again()
		}
	}
}

// windowsTurn tells whether a time window begins or ends, or may have as the clock was set back.
func (h *house) windowsTurn(now time.Time) bool {
	return !h.edge.IsZero() && (!now.Before(h.edge) || now.Before(h.rendered))
}

// changed records a transition and tells everybody, in the same sentence.
func (h *house) changed(t Transition) {
	h.log.Info("link "+t.Link+" "+t.From+" -> "+t.To, "why", t.Why)
	h.history.add(t)
	if i := linkNamed(h.cfg.Links, t.Link); i >= 0 && t.To != policy.Active.String() {
		h.joined[i] = false
	}
	h.tell(event{"link", t})
}

// call runs fn on the loop's goroutine and waits.
func (h *house) call(ctx context.Context, fn func()) error {
	done := make(chan struct{})
	select {
	case h.calls <- func() { fn(); close(done) }:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
