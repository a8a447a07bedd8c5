// SPDX-License-Identifier: Apache-2.0

package ubus_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"spillway/testbed/await"
	"spillway/testbed/fakeubusd"
	"spillway/ubus"
)

// daemon is an ubusd that a test can end and start again.
type daemon struct {
	path        string
	start, stop func(t *testing.T)
}

// onEachBus runs a test against the fake ubusd, and against the real one where it is on PATH.
func onEachBus(t *testing.T, test func(t *testing.T, d *daemon)) {
	t.Run("fake", func(t *testing.T) {
		var s *fakeubusd.Server
		d := &daemon{path: filepath.Join(t.TempDir(), "u")}
		d.start = func(t *testing.T) {
			var err error
			if s, err = fakeubusd.Listen(d.path); err != nil {
				t.Fatal(err)
			}
		}
		d.stop = func(*testing.T) { s.Close() }
		d.start(t)
		defer d.stop(t)
		test(t, d)
	})
	t.Run("real", func(t *testing.T) {
		bin, err := exec.LookPath("ubusd")
		if err != nil {
			t.Skip("no ubusd on PATH (OpenWrt's, or built from ubus.git)")
		}
		var cmd *exec.Cmd
		d := &daemon{path: filepath.Join(t.TempDir(), "u")}
		d.start = func(t *testing.T) {
			cmd = exec.Command(bin, "-s", d.path)
			cmd.Stderr = os.Stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			until(t, "ubusd listens", func() bool { _, err := os.Stat(d.path); return err == nil })
		}
		d.stop = func(*testing.T) { cmd.Process.Signal(os.Interrupt); cmd.Wait(); os.Remove(d.path) }
		d.start(t)
		defer d.stop(t)
		test(t, d)
	})
}

// until polls, for 20 s at most.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
	}
}

func dial(t *testing.T, d *daemon) (*ubus.Conn, context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	c, err := ubus.Dial(ctx, d.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, ctx
}

// bond is an object as a daemon would publish it.
func bond(release chan struct{}) ubus.Object {
	return ubus.Object{Name: "bond", Methods: []ubus.Method{
		{Name: "status", Handle: func(ubus.Msg) (any, ubus.Status) {
			return map[string]any{"version": "1", "bytes": int64(5e9), "ratio": 0.5, "on": true}, ubus.OK
		}},
		{Name: "echo", Args: []ubus.Arg{{Name: "text", Type: ubus.TypeString}},
			Handle: func(args ubus.Msg) (any, ubus.Status) { return args, ubus.OK }},
		{Name: "refuse", Handle: func(ubus.Msg) (any, ubus.Status) { return nil, ubus.PermissionDenied }},
		{Name: "hang", Handle: func(ubus.Msg) (any, ubus.Status) { <-release; return nil, ubus.OK }},
	}}
}

func TestCalls(t *testing.T) {
	onEachBus(t, func(t *testing.T, d *daemon) {
		server, ctx := dial(t, d)
		client, _ := dial(t, d)
		release := make(chan struct{})
		o := bond(release)
		if err := server.Publish(ctx, &o); err != nil {
			t.Fatal(err)
		}
		if err := client.Publish(ctx, &o); !errors.Is(err, ubus.InvalidArgument) {
			t.Errorf("a taken name: %v", err)
		}
		m, err := client.Call(ctx, "bond", "status", nil)
		if n, _ := m.Int("bytes"); err != nil || n != 5e9 || m.Text("version") != "1" || !m.Bool("on") || m.Get("ratio") != 0.5 {
			t.Errorf("status: %v %v", m, err)
		}
		m, err = client.Call(ctx, "bond", "echo", ubus.Msg{{Name: "text", Value: "a"}, {Name: "ubus_rpc_session", Value: "0"}, {Name: "list", Value: []any{1, "b"}}})
		if err != nil || string(m.JSON()) != `{"text":"a","ubus_rpc_session":"0","list":[1,"b"]}` {
			t.Errorf("echo: %s %v", m.JSON(), err)
		}
		for method, want := range map[string]ubus.Status{"refuse": ubus.PermissionDenied, "absent": ubus.MethodNotFound} {
			if _, err := client.Call(ctx, "bond", method, nil); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", method, err, want)
			}
		}
		if _, err := client.Call(ctx, "nobody", "status", nil); !errors.Is(err, ubus.NotFound) {
			t.Errorf("nobody: %v", err)
		}
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		if _, err := client.Call(short, "bond", "hang", nil); !errors.Is(err, ubus.Timeout) {
			t.Errorf("hang: %v", err)
		}
		// The method that hangs keeps no other waiting, and its late answer confuses nobody.
		if _, err := client.Call(ctx, "bond", "status", nil); err != nil {
			t.Errorf("beside a method that hangs: %v", err)
		}
		close(release)
		if err := client.Ping(ctx); err != nil {
			t.Errorf("ping: %v", err)
		}
		found, err := client.Lookup(ctx, "bo*")
		if err != nil || len(found) != 1 || found[0].Path != "bond" || string(found[0].Signature.JSON()) != `{"status":{},"echo":{"text":3},"refuse":{},"hang":{}}` {
			t.Errorf("lookup: %+v %v", found, err)
		}
	})
}

func TestAThousandCallsAtOnce(t *testing.T) {
	onEachBus(t, func(t *testing.T, d *daemon) {
		server, ctx := dial(t, d)
		client, _ := dial(t, d)
		o := bond(nil)
		if err := server.Publish(ctx, &o); err != nil {
			t.Fatal(err)
		}
		var wrong, refused atomic.Int32
		ends := make(chan struct{})
		for i := range 1000 {
			go func() {
				text := fmt.Sprint(i)
				m, err := client.Call(ctx, "bond", "echo", map[string]any{"text": text})
				switch {
				case errors.Is(err, ubus.NoMemory):
					refused.Add(1)
				case err != nil || m.Text("text") != text:
					wrong.Add(1)
				}
				ends <- struct{}{}
			}()
		}
		for range 1000 {
			await.Value(t, "the end of a call", ends)
		}
		if wrong.Load() > 0 || refused.Load() == 1000 {
			t.Errorf("%d wrong answers, %d refused for too many at once", wrong.Load(), refused.Load())
		}
	})
}

func TestEventsAndNotifications(t *testing.T) {
	onEachBus(t, func(t *testing.T, d *daemon) {
		server, ctx := dial(t, d)
		client, _ := dial(t, d)
		var active atomic.Int32
		o := bond(nil)
		o.Watched = func(on bool) {
			if on {
				active.Add(1)
			} else {
				active.Add(-1)
			}
		}
		if err := server.Publish(ctx, &o); err != nil {
			t.Fatal(err)
		}
		if err := server.Notify("bond", "early", nil); err != nil {
			t.Errorf("without subscribers: %v", err)
		}
		got := make(chan string, 10)
		hear := func(kind string, data ubus.Msg) { got <- kind + " " + string(data.JSON()) }
		lost := make(chan struct{})
		if err := client.Listen(ctx, "bond.*", hear); err != nil {
			t.Fatal(err)
		}
		if err := client.Subscribe(ctx, "bond", hear, func() { close(lost) }); err != nil {
			t.Fatal(err)
		}
		if err := server.Subscribe(ctx, "bond", hear, nil); !errors.Is(err, ubus.InvalidArgument) {
			t.Errorf("subscription to one's own object: %v", err)
		}
		until(t, "the publisher hears of its subscriber", func() bool { return active.Load() == 1 })
		server.Send("other.event", nil)
		server.Send("bond.link", map[string]any{"link": "dsl", "n": int64(7)})
		server.Notify("bond", "plan", ubus.Msg{{Name: "why", Value: "dsl full"}})
		for _, want := range []string{`bond.link {"link":"dsl","n":7}`, `plan {"why":"dsl full"}`} {
			select {
			case s := <-got:
				if s != want {
					t.Errorf("heard %s, want %s", s, want)
				}
			case <-ctx.Done():
				t.Fatal("nothing heard of " + want)
			}
		}
		server.Close()
		select {
		case <-lost:
		case <-ctx.Done():
			t.Error("the subscriber never heard that the object is gone")
		}
	})
}

func TestEverythingIsBackAfterARestart(t *testing.T) {
	onEachBus(t, func(t *testing.T, d *daemon) {
		ctx, cancel := context.WithCancel(context.Background())
		var ups, ready, lost, events, notes atomic.Int32
		bus := ubus.New(d.path, ubus.Options{
			Objects: []ubus.Object{bond(nil)},
			Events:  []ubus.Listener{{Pattern: "test.*", Handle: func(string, ubus.Msg) { events.Add(1) }}},
			Subscriptions: []ubus.Subscription{{Object: "other", Handle: func(string, ubus.Msg) { notes.Add(1) },
				Ready: func(*ubus.Conn) { ready.Add(1) }, Lost: func() { lost.Add(1) }}},
			OnConnect: func(*ubus.Conn) { ups.Add(1) },
		})
		ended := make(chan error)
		go func() { ended <- bus.Run(ctx) }()
		until(t, "connected", func() bool { return ups.Load() == 1 })

		// ubusd dies while a call is out: the call ends, everything comes back by itself.
		for round := int32(1); round <= 3; round++ {
			c, call := dial(t, d)
			other := ubus.Object{Name: "other"}
			if err := c.Publish(call, &other); err != nil {
				t.Fatal(err)
			}
			until(t, "subscribed to what came later", func() bool { return ready.Load() == round })
			if _, err := c.Call(call, "bond", "status", nil); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			until(t, "heard a notification", func() bool { c.Notify("other", "x", nil); return notes.Load() >= round })
			until(t, "heard an event", func() bool { c.Send("test.x", nil); return events.Load() >= round })
			d.stop(t)
			until(t, "the connection is gone", func() bool { return c.Err() != nil })
			if _, err := c.Call(call, "bond", "status", nil); !errors.Is(err, ubus.ConnectionFailed) {
				t.Errorf("call on a dead connection: %v", err)
			}
			notes.Store(round)
			events.Store(round)
			d.start(t)
			until(t, "connected again", func() bool { return ups.Load() == round+1 })
		}
		cancel()
		if err := await.Value(t, "the end of Run", ended); err != nil {
			t.Error(err)
		}
		if err := bus.Send("x", nil); err != nil {
			t.Errorf("an event without a bus: %v", err)
		}
		if _, err := bus.Call(context.Background(), "bond", "status", nil); !errors.Is(err, ubus.ErrClosed) {
			t.Errorf("a call without a bus: %v", err)
		}
	})
}

func TestSubscriptionFollowsAnObjectThatComesAndGoes(t *testing.T) {
	onEachBus(t, func(t *testing.T, d *daemon) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var ready, lost atomic.Int32
		bus := ubus.New(d.path, ubus.Options{Subscriptions: []ubus.Subscription{{Object: "other", Handle: func(string, ubus.Msg) {},
			Ready: func(*ubus.Conn) { ready.Add(1) }, Lost: func() { lost.Add(1) }}}})
		go bus.Run(ctx)
		for round := int32(1); round <= 3; round++ {
			c, call := dial(t, d)
			other := ubus.Object{Name: "other"}
			if err := c.Publish(call, &other); err != nil {
				t.Fatal(err)
			}
			until(t, "subscribed", func() bool { return ready.Load() == round })
			c.Close()
			until(t, "lost", func() bool { return lost.Load() == round })
		}
	})
}
