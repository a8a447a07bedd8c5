// SPDX-License-Identifier: Apache-2.0

package netifd

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sort"
	"sync"
	"time"

	"spillway/ubus"
)

// callTimeout bounds what netifd or the modem's daemon may take to answer.
const callTimeout = 5 * time.Second

// Watcher keeps a State true. Put its Subscription among a Bus's.
type Watcher struct {
	publish func(State)
	telling sync.Mutex // one after the other, so that the newest is published last

	mu     sync.Mutex
	conn   *ubus.Conn
	state  State
	told   bool
	missed bool // the interfaces could not be read
}

// Watch makes a Watcher that calls publish with each State that differs from the one before. publish runs in the
// bus's goroutine of handlers: it must not take long.
func Watch(publish func(State)) *Watcher { return &Watcher{publish: publish} }

// Subscription is what makes the watcher see.
func (w *Watcher) Subscription() ubus.Subscription {
	return ubus.Subscription{Object: Object, Handle: w.notified, Ready: w.ready}
}

func (s State) clone() State {
	s.Interfaces = slices.Clone(s.Interfaces)
	return s
}

// ready reads everything afresh: after the first connection, and after netifd or ubusd came back.
func (w *Watcher) ready(c *ubus.Conn) {
	w.mu.Lock()
	w.conn = c
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	dump, err := c.Call(ctx, Object, "dump", nil)
	line := readLine(c)
	w.update(func(s *State) {
		if w.missed = err != nil; !w.missed {
			s.Interfaces = ParseDump(dump)
		}
		line(s)
	})
}

// notified takes one interface's news, and asks the modem again: its line went up or down shortly before, and its daemon may have come since.
func (w *Watcher) notified(_ string, data ubus.Msg) {
	i, ok := ParseInterface(data)
	if !ok {
		return
	}
	w.mu.Lock()
	c := w.conn
	w.mu.Unlock()
	line := func(*State) {}
	if c != nil {
		line = readLine(c)
	}
	w.update(func(s *State) {
		if was, _ := s.Find(i.Name); !i.Up && i.Proto == was.Proto && data.Text("device") == "" { // the device that has told is gone
			i.Kind = cmp.Or(i.Kind, was.Kind)
		}
		s.Interfaces = append(slices.DeleteFunc(s.Interfaces, func(o Interface) bool { return o.Name == i.Name }), i)
		line(s)
	})
}

// Refresh asks the DSL modem for its line rates, which it never tells by itself: a rate can change without the
// interface going down (bit swapping, seamless rate adaptation). Once a minute is plenty. Without a modem it asks
// nothing, unless the interfaces could not be read before.
func (w *Watcher) Refresh() {
	w.mu.Lock()
	c, present, missed := w.conn, w.state.Line.Present, w.missed
	w.mu.Unlock()
	switch {
	case c == nil:
	case missed:
		w.ready(c)
	case present:
		w.update(readLine(c))
	}
}

// readLine asks the object `dsl`, which is there on routers with a modem of their own, and returns what its answer changes: nothing while it
// is there and does not answer.
func readLine(c *ubus.Conn) func(*State) {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	m, err := c.Call(ctx, "dsl", "metrics", nil)
	return func(s *State) {
		if err == nil {
			s.Line = ParseLine(m)
		} else if errors.Is(err, ubus.NotFound) {
			s.Line = Line{}
		}
	}
}

// update changes the state and publishes it if that made a difference.
func (w *Watcher) update(change func(*State)) {
	w.telling.Lock()
	defer w.telling.Unlock()
	w.mu.Lock()
	old := w.state.clone()
	change(&w.state)
	sort.Slice(w.state.Interfaces, func(i, j int) bool { return w.state.Interfaces[i].Name < w.state.Interfaces[j].Name })
	same := w.told && old.equal(w.state)
	w.told = true
	now := w.state.clone()
	w.mu.Unlock()
	if !same {
		w.publish(now)
	}
}
