// SPDX-License-Identifier: Apache-2.0

package ubus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"spillway/journal"
)

// Options is what a Bus keeps in place across restarts of ubusd.
type Options struct {
	Objects       []Object
	Events        []Listener
	Subscriptions []Subscription
	// OnConnect is called each time all of the above is in place, before anything else is delivered.
	OnConnect func(*Conn)
	// Log hears of connections won and lost; nil: nobody.
	Log *journal.Logger
}

// Listener hears events by name or by "prefix*".
type Listener struct {
	Pattern string
	Handle  func(event string, data Msg)
}

// Subscription hears an object's notifications. The object need not be there yet, and may come and go: Ready is
// called each time it is there and subscribed to, so that its state can be read afresh; Lost each time it has gone.
type Subscription struct {
	Object string
	Handle func(kind string, data Msg)
	Ready  func(*Conn) // may be nil
	Lost   func()      // may be nil
}

// Bus is a connection that comes back. Make it with New, keep it with Run.
type Bus struct {
	path    string
	options Options
	conn    atomic.Pointer[Conn]
}

const (
	firstBackoff = 50 * time.Millisecond
	maxBackoff   = time.Second
	setupTimeout = 5 * time.Second
)

// New makes a Bus for the ubusd at path ("": the usual one). It does not connect.
func New(path string, o Options) *Bus {
	if path == "" {
		path = Socket
	}
	if o.Log == nil {
		o.Log = journal.Discard()
	}
	return &Bus{path: path, options: o}
}

// Run keeps a Bus up until ctx ends. See Bus.Run.
func Run(ctx context.Context, path string, o Options) error { return New(path, o).Run(ctx) }

// Run connects, registers everything, and does so again whenever the connection is lost; between attempts it waits
// 50 ms at first and a second at most. It returns when ctx ends, with nil.
func (b *Bus) Run(ctx context.Context) error {
	wait, told := firstBackoff, false
	for ctx.Err() == nil {
		up := false
		err := b.once(ctx, func() {
			b.options.Log.Info("ubus: connected", "path", b.path)
			up = true
		})
		if ctx.Err() != nil {
			break
		}
		if up {
			wait, told = firstBackoff, false
		}
		if !told { // a change of state is worth one line, each attempt is not
			b.options.Log.Warn("ubus: not connected, trying again each second", "cause", err)
			told = true
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, maxBackoff)
	}
	return nil
}

// once is the life of one connection.
func (b *Bus) once(ctx context.Context, up func()) error {
	c, err := Dial(ctx, b.path)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, c.Close)
	defer stop()
	defer c.Close()
	if err := b.setUp(ctx, c); err != nil {
		return err
	}
	b.conn.Store(c)
	defer b.conn.CompareAndSwap(c, nil)
	up()
	if b.options.OnConnect != nil {
		b.options.OnConnect(c)
	}
	<-c.Done()
	return c.Err()
}

func (b *Bus) setUp(ctx context.Context, c *Conn) error {
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	for i := range b.options.Objects {
		if err := c.Publish(ctx, &b.options.Objects[i]); err != nil {
			return err
		}
	}
	for _, l := range b.options.Events {
		if err := c.Listen(ctx, l.Pattern, l.Handle); err != nil {
			return err
		}
	}
	return b.subscribeAll(ctx, c)
}

// subscribeAll subscribes to what is there, and to the rest as it comes.
func (b *Bus) subscribeAll(ctx context.Context, c *Conn) error {
	if len(b.options.Subscriptions) == 0 {
		return nil
	}
	live := &subscribed{c: c, is: map[*Subscription]bool{}}
	err := c.Listen(ctx, "ubus.object.add", func(_ string, data Msg) {
		for i := range b.options.Subscriptions {
			if s := &b.options.Subscriptions[i]; s.Object == data.Text("path") {
				ctx, cancel := context.WithTimeout(context.Background(), setupTimeout)
				live.to(ctx, s)
				cancel()
			}
		}
	})
	if err != nil {
		return err
	}
	for i := range b.options.Subscriptions {
		err := live.to(ctx, &b.options.Subscriptions[i])
		if err != nil && !errors.Is(err, NotFound) {
			return err
		}
	}
	return nil
}

// subscribed remembers which subscriptions of a connection stand, so that an object that appears while they are
// made is not subscribed to twice.
type subscribed struct {
	c  *Conn
	mu sync.Mutex
	is map[*Subscription]bool
}

func (l *subscribed) to(ctx context.Context, s *Subscription) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.is[s] {
		return nil
	}
	l.c.forgetObject(s.Object)
	err := l.c.Subscribe(ctx, s.Object, s.Handle, func() {
		l.mu.Lock()
		l.is[s] = false
		l.mu.Unlock()
		if s.Lost != nil {
			s.Lost()
		}
	})
	if err != nil {
		return err
	}
	l.is[s] = true
	if s.Ready != nil {
		l.c.post(func() { s.Ready(l.c) })
	}
	return nil
}

// Call is Conn.Call on the connection of the moment.
func (b *Bus) Call(ctx context.Context, object, method string, args any) (Msg, error) {
	c := b.conn.Load()
	if c == nil {
		return nil, fmt.Errorf("ubus call %s %s: %w", object, method, ErrClosed)
	}
	return c.Call(ctx, object, method, args)
}

// Send sends an event if there is a connection; without one nobody is there to hear it.
func (b *Bus) Send(event string, data any) error {
	if c := b.conn.Load(); c != nil {
		return c.Send(event, data)
	}
	return nil
}

// Notify tells the subscribers of one of our objects, if there is a connection.
func (b *Bus) Notify(object, kind string, data any) error {
	if c := b.conn.Load(); c != nil {
		return c.Notify(object, kind, data)
	}
	return nil
}
