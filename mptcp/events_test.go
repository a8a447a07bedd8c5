// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"testing"
	"time"

	"spillway/testbed/await"
	"spillway/testbed/netns"
)

func TestEventsTellTheStory(t *testing.T) {
	w := newWorld(t)
	events := make(chan Event, 64)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- w.cpe.Do(func() error { return new(Ear).Events(ctx, func(e Event) { events <- e }) })
	}()
	chosen, chosenEnded := make(chan Event, 64), make(chan error, 1)
	var chooses Ear
	must(t, chooses.Hear(EventSubEstablished, EventClosed))
	go func() {
		chosenEnded <- w.cpe.Do(func() error { return chooses.Events(ctx, func(e Event) { chosen <- e }) })
	}()
	waitForSubscriptions(t, w.cpe, 2)

	server := w.echo(t, "10.9.0.9:0", ListenOptions{MPTCP: true})
	lte := Endpoint{ID: 12, Addr: netip.MustParseAddr("10.2.0.1"), Flags: FlagSubflow, IfIndex: w.index(t, "lte")}
	must(t, inPM(w.cpe, func(pm *PathManager) error { return pm.Add(lte) }))
	c := w.dial(t, server, DialOptions{Local: netip.MustParseAddr("10.1.0.1")})
	ping(t, c, "hello")
	in, err := ConnInfo(c)
	must(t, err)

	created := next(t, events, EventCreated)
	if created.Token != in.Token || created.Remote != server || created.Local.String() != c.LocalAddr().String() || created.ServerSide {
		t.Errorf("created %+v, want token %#x, %v -> %v", created, in.Token, c.LocalAddr(), server)
	}
	sub := next(t, events, EventSubEstablished)
	if sub.Token != in.Token || sub.Local.Addr() != netip.MustParseAddr("10.2.0.1") || sub.Remote != server || sub.LocalID != 12 || sub.IfIndex != w.index(t, "lte") {
		t.Errorf("subflow established %+v", sub)
	}
	must(t, inPM(w.cpe, func(pm *PathManager) error { return pm.Remove(12, netip.Addr{}) }))
	if e := next(t, events, EventSubClosed); e.Local != sub.Local {
		t.Errorf("subflow closed %+v, want local %v", e, sub.Local)
	}
	c.Close()
	if e := next(t, events, EventClosed); e.Token != in.Token {
		t.Errorf("closed %+v, want token %#x", e, in.Token)
	}
	for _, want := range []EventKind{EventSubEstablished, EventClosed} {
		select {
		case e := <-chosen:
			if e.Kind != want || e.Token != in.Token {
				t.Errorf("of chosen kinds came %+v, want kind %d", e, want)
			}
		case <-time.After(patience):
			t.Fatalf("no event of the chosen kind %d", want)
		}
	}
	must(t, chooses.Hear(EventCreated)) // while it hears
	again := w.dial(t, server, DialOptions{Local: netip.MustParseAddr("10.1.0.1")})
	ping(t, again, "hello again")
	again.Close()
	next(t, events, EventClosed)
	must(t, chooses.Hear())
	last := w.dial(t, server, DialOptions{Local: netip.MustParseAddr("10.1.0.1")})
	ping(t, last, "so that it is fully established")
	last.Close()
	next(t, events, EventClosed)
	for _, want := range []EventKind{EventCreated, EventCreated, EventEstablished, EventClosed} {
		select {
		case e := <-chosen:
			if e.Kind != want {
				t.Errorf("with other kinds chosen came %+v, want kind %d", e, want)
			}
		case <-time.After(patience):
			t.Fatalf("no event of the newly chosen kind %d", want)
		}
	}
	must(t, chooses.Rest(true))
	waitForSubscriptions(t, w.cpe, 1)
	unheard := w.dial(t, server, DialOptions{Local: netip.MustParseAddr("10.1.0.1")})
	ping(t, unheard, "nobody makes an event of this")
	unheard.Close()
	next(t, events, EventClosed)
	must(t, chooses.Rest(false))
	waitForSubscriptions(t, w.cpe, 2)
	heard := w.dial(t, server, DialOptions{Local: netip.MustParseAddr("10.1.0.1")})
	in, err = ConnInfo(heard)
	must(t, err)
	if e := await.Value(t, "an event after the rest", chosen); e.Kind != EventCreated || e.Token != in.Token {
		t.Errorf("after the rest came %+v, want the beginning of %#x", e, in.Token)
	}
	heard.Close()
	cancel()
	must(t, await.Value(t, "the end of the events that were chosen", chosenEnded))
	select {
	case err := <-ended:
		must(t, err)
	case <-time.After(patience):
		t.Fatal("Events didn't end with its context")
	}
}

// waitForSubscriptions waits until so many sockets of the namespace listen to a generic netlink group.
func waitForSubscriptions(t testing.TB, ns *netns.NS, n int) {
	t.Helper()
	// A connection attempt to a closed port makes no event that the tests look for, so it can be repeated.
	eventually(t, "the subscription", func() bool {
		out, err := ns.Output("cat", "/proc/net/netlink")
		must(t, err)
		return groupListeners(out) == n
	})
}

// next waits for an event of a kind and skips others.
func next(t testing.TB, events <-chan Event, kind EventKind) Event {
	t.Helper()
	for deadline := time.After(patience); ; {
		select {
		case e := <-events:
			if e.Kind == kind {
				return e
			}
		case <-deadline:
			t.Fatalf("no event %d within %v", kind, patience)
		}
	}
}

func TestUserspacePathManager(t *testing.T) {
	w := newWorld(t)
	if err := w.cpe.Sysctl("net.mptcp.pm_type", "1"); err != nil {
		netns.Missing(t, "needs the userspace path manager: "+err.Error())
	}
	apart := Probe().Apart
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			server := w.echo(t, f.listen, ListenOptions{MPTCP: true})
			c := w.dial(t, server, DialOptions{Local: netip.MustParseAddr(f.a)})
			ping(t, c, "hello")
			in, err := ConnInfo(c)
			must(t, err)
			local := Endpoint{ID: 2, Addr: netip.MustParseAddr(f.b), Flags: FlagBackup, IfIndex: w.index(t, "lte")}
			must(t, inPM(w.cpe, func(pm *PathManager) error {
				if err := pm.CreateSubflow(in.Token, Endpoint{Addr: local.Addr}, server); err == nil {
					t.Error("a subflow with id 0 was created")
				}
				return pm.CreateSubflow(in.Token, local, server)
			}))
			// Kernels before 6.12 take neither flag nor device from the one who creates it; Features.Apart tells.
			w.wantSubflow(t, "the created subflow", f.b, func(s Subflow) bool {
				asWanted := s.Backup && s.IfIndex == local.IfIndex
				return s.Established && s.LocalID == 2 && s.Token == in.Token && asWanted == apart
			})
			s, _ := find(w.subflows(t), f.b)
			must(t, inPM(w.cpe, func(pm *PathManager) error { return pm.SetSubflowBackup(in.Token, s.Local, s.Remote, true) }))
			w.wantSubflow(t, "the subflow as backup", f.b, func(s Subflow) bool { return s.Backup })
			must(t, inPM(w.cpe, func(pm *PathManager) error { return pm.SetSubflowBackup(in.Token, s.Local, s.Remote, false) }))
			w.wantSubflow(t, "the subflow as regular", f.b, func(s Subflow) bool { return !s.Backup })

			must(t, inPM(w.cpe, func(pm *PathManager) error {
				if err := pm.Announce(in.Token, Endpoint{ID: 3, Addr: local.Addr, Flags: FlagSignal}); err == nil {
					return nil
				}
				return pm.Announce(in.Token, Endpoint{ID: 2, Addr: local.Addr, Flags: FlagSignal})
			}))
			must(t, inPM(w.cpe, func(pm *PathManager) error { return pm.RemoveAddr(in.Token, 2) }))
			must(t, inPM(w.cpe, func(pm *PathManager) error {
				err := pm.DestroySubflow(in.Token, s.Local, s.Remote)
				if errors.Is(err, fs.ErrNotExist) {
					return nil // the peer closed it first, on hearing that its address is gone
				}
				return err
			}))
			eventually(t, "the subflow to go", func() bool { _, ok := find(w.subflows(t), f.b); return !ok })
			must(t, inPM(w.cpe, func(pm *PathManager) error {
				if err := pm.DestroySubflow(in.Token, s.Local, s.Remote); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("destroying what isn't there: %v, want fs.ErrNotExist", err)
				}
				return nil
			}))
			ping(t, c, "still there")
			c.Close()
		})
	}
}
