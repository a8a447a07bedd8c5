// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"spillway/journal"
	"spillway/kernel"
	"spillway/linkmon"
	"spillway/mptcp"
)

// applier makes the kernel hold the newest wanted state, in its own goroutine: loading an nft table takes a slow router
// a good part of a second, and the loop must not wait for it.
type applier struct {
	kernel *kernel.Reconciler
	log    *journal.Logger
	wake   chan struct{}

	wait    time.Duration // until it is tried again; 0: nothing has failed
	failing string        // what went wrong last

	mu      sync.Mutex
	state   kernel.State
	asked   bool         // a state is wanted: until then what a predecessor left stays
	held    kernel.State // the last that was applied whole
	applied bool         // a first state is in the kernel
}

// After an error the applier tries again, from applyFirst to applyMost.
const (
	applyFirst = 200 * time.Millisecond
	applyMost  = 30 * time.Second
	// applyPause gathers hints: our own changes come back as hints too, and a burst of foreign ones is one.
	applyPause = 50 * time.Millisecond
	// applyEvery compares without a hint: somebody may have flushed the endpoints or written a sysctl, and the kernel tells
	// nobody of that.
	applyEvery = 15 * time.Second
)

func newApplier(k *kernel.Reconciler, log *journal.Logger) *applier {
	return &applier{kernel: k, log: log, wake: make(chan struct{}, 1)}
}

// want sets the wanted state.
func (a *applier) want(s kernel.State) {
	a.mu.Lock()
	same := a.asked && sameState(a.state, s)
	a.state, a.asked = s, true
	a.mu.Unlock()
	if !same {
		a.again()
	}
}

// wanted is the wanted state.
func (a *applier) wanted() kernel.State {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state
}

// wants tells whether a state is wanted yet.
func (a *applier) wants() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked
}

// ready tells whether a first state is in the kernel.
func (a *applier) ready() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.applied
}

// routed tells whether the rules and routes that a wanted state has for packets from an address are in the kernel.
func (a *applier) routed(from netip.Addr, want *kernel.State) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range want.Rules {
		if r.From == from && !slices.Contains(a.held.Rules, r) {
			return false
		}
	}
	for _, r := range want.Routes {
		if r.Src == from && !slices.Contains(a.held.Routes, r) {
			return false
		}
	}
	return true
}

// again has the kernel compared with the wanted state.
func (a *applier) again() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// run applies until ctx ends.
func (a *applier) run(ctx context.Context) error {
	for {
		next := linkmon.Beat(time.Now(), applyEvery)
		if a.wait > 0 {
			next = a.wait
		}
		hinted := false
		select {
		case <-ctx.Done():
			return nil
		case <-a.wake:
			hinted = true
		case <-time.After(next):
		}
		if !a.wants() {
			continue // of a hint that came before the first plan
		}
		changes, err := a.once(ctx)
		if ctx.Err() != nil {
			return nil
		}
		a.tried(err)
		if !hinted && changes == 0 && err == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(applyPause):
		}
	}
}

// once compares, and applies what differs.
func (a *applier) once(ctx context.Context) (changes int, err error) {
	var wanted kernel.State
	ops, err := a.kernel.Follow(ctx, func() kernel.State { // the loop may give up an endpoint, or add one, while this waits
		wanted = a.wanted()
		return wanted
	})
	for _, op := range ops {
		a.log.Debug("kernel", "op", op.String())
	}
	if ctx.Err() == nil && (err == nil || errors.Is(err, kernel.ErrUnsaved)) {
		a.mu.Lock()
		a.held, a.applied = wanted, true
		a.mu.Unlock()
	}
	return len(ops), err
}

// tried notes how that ended. Only changes of what goes wrong are logged.
func (a *applier) tried(err error) {
	if err == nil {
		if a.failing != "" {
			a.log.Info("the kernel holds what it should again")
		}
		a.wait, a.failing = 0, ""
		return
	}
	a.wait = min(max(2*a.wait, applyFirst), applyMost)
	if err.Error() == a.failing {
		return
	}
	a.failing = err.Error()
	says := "the kernel does not hold what it should; trying again"
	if errors.Is(err, kernel.ErrUnsaved) {
		says = "what the kernel held before is not written down; trying again"
	}
	a.log.Warn(says, "error", strings.ReplaceAll(a.failing, "\n", "; "))
}

func sameState(a, b kernel.State) bool {
	return a.Ruleset.Mark == b.Ruleset.Mark && a.Limits == b.Limits && slices.Equal(a.Endpoints, b.Endpoints) &&
		slices.Equal(a.Rules, b.Rules) && slices.Equal(a.Routes, b.Routes) && maps.Equal(a.Sysctls, b.Sysctls)
}

// endpointChange is one netlink call that failover or overflow hangs on.
type endpointChange struct {
	rank     int // order of application
	verb     string
	endpoint mptcp.Endpoint
}

// endpointChanges lists the calls from one set of endpoints to another: what carries comes first, what ends comes last. An endpoint that
// changes more than its backup flag is left to the reconciler, which knows the order that takes.
func endpointChanges(have, want []mptcp.Endpoint) []endpointChange {
	var out []endpointChange
	find := func(in []mptcp.Endpoint, id uint8) (mptcp.Endpoint, bool) {
		i := slices.IndexFunc(in, func(e mptcp.Endpoint) bool { return e.ID == id })
		if i < 0 {
			return mptcp.Endpoint{}, false
		}
		return in[i], true
	}
	for _, w := range want {
		h, there := find(have, w.ID)
		rank := 0
		if w.Flags&mptcp.FlagBackup != 0 {
			rank = 1
		}
		switch {
		case !there:
			out = append(out, endpointChange{rank, "add", w})
		case h.Addr == w.Addr && h.IfIndex == w.IfIndex && h.Flags != w.Flags:
			out = append(out, endpointChange{rank, "flags", w})
		}
	}
	for _, h := range have {
		if _, there := find(want, h.ID); !there {
			out = append(out, endpointChange{2, "remove", h})
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].rank < out[j].rank })
	return out
}

func (c endpointChange) String() string {
	return fmt.Sprintf("%s id %d %v flags %#x", c.verb, c.endpoint.ID, c.endpoint.Addr, uint32(c.endpoint.Flags))
}

func (c endpointChange) do(k *kernel.Reconciler) error {
	switch c.verb {
	case "add":
		return k.AddEndpoint(c.endpoint)
	case "flags":
		return k.SetBackup(c.endpoint.ID, c.endpoint.Flags&mptcp.FlagBackup != 0)
	}
	return k.RemoveEndpoint(c.endpoint.ID)
}
