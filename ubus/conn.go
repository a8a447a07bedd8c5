// SPDX-License-Identifier: Apache-2.0

package ubus

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// ErrClosed is what calls return that were out, or are made, when the connection is gone.
var ErrClosed = fmt.Errorf("ubus: connection closed: %w", ConnectionFailed)

// writeTimeout bounds a write to an ubusd that does not read: then the connection counts as lost.
const writeTimeout = 5 * time.Second

// defaultTimeout is how long a call waits whose context has no deadline: ubusd keeps no table of requests, so a
// callee that dies never answers.
const defaultTimeout = 30 * time.Second

// Conn is one connection to ubusd. Its methods may be called by any goroutine.
type Conn struct {
	id      uint32
	sock    net.Conn
	writing sync.Mutex

	mu       sync.Mutex
	seq      uint16
	waiting  map[key]*request
	ids      map[string]uint32            // objects looked up, by path
	served   map[uint32]*Object           // ours, by their number
	ours     map[string]uint32            // numbers of ours, by name
	handlers map[uint32]func(string, Msg) // anonymous objects of ours: listeners and subscribers
	lost     map[uint32]func()            // what to do when a subscriber's target went away
	err      error

	done     chan struct{} // closed when the connection is over
	serving  chan struct{} // a token for each call being served
	inbox    chan func()   // events and notifications in their order
	watchers map[uint32]bool
}

// key identifies a request: ubusd returns both with each answer.
type key struct {
	seq  uint16
	peer uint32
}

// request waits for its answers: zero or more DATA, then one STATUS.
type request struct {
	data []Envelope
	done chan Status
	keep func(id uint32) // called by the reader, under the lock, with an object's number: calls may follow at once
}

// Dial connects to ubusd and waits for its greeting.
func Dial(ctx context.Context, path string) (*Conn, error) {
	var d net.Dialer
	sock, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("connect to ubusd: %w", err)
	}
	sock.SetReadDeadline(time.Now().Add(writeTimeout))
	stop := context.AfterFunc(ctx, func() { sock.Close() })
	defer stop()
	r := bufio.NewReader(sock)
	hello, err := ReadMessage(r)
	if err == nil && hello.Kind != KindHello {
		err = fmt.Errorf("message of kind %d instead of a greeting", hello.Kind)
	}
	if err != nil {
		sock.Close()
		return nil, fmt.Errorf("greeting of ubusd at %s (it hangs up on users that /etc/passwd does not name): %w", path, err)
	}
	sock.SetReadDeadline(time.Time{})
	c := &Conn{
		id: hello.Peer, sock: sock,
		waiting: map[key]*request{}, ids: map[string]uint32{}, served: map[uint32]*Object{}, ours: map[string]uint32{},
		handlers: map[uint32]func(string, Msg){}, lost: map[uint32]func(){}, watchers: map[uint32]bool{},
		done: make(chan struct{}), serving: make(chan struct{}, maxServing), inbox: make(chan func(), maxInbox),
	}
	go c.read(r)
	go c.deliver()
	return c, nil
}

// ID is the number that ubusd gave this client.
func (c *Conn) ID() uint32 { return c.id }

// Done is closed when the connection is over; Err then says why.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err is why the connection is over, nil while it is not.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the connection. Calls that are out return ErrClosed.
func (c *Conn) Close() { c.fail(net.ErrClosed) }

func (c *Conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	c.sock.Close()
	close(c.done)
}

func (c *Conn) read(r *bufio.Reader) {
	for {
		m, err := ReadMessage(r)
		if err != nil {
			c.fail(fmt.Errorf("read from ubusd: %w", err))
			return
		}
		c.take(m)
	}
}

// take puts a message where it belongs. It never waits: ubusd drops messages to a client that does not read.
func (c *Conn) take(m *Message) {
	switch m.Kind {
	case KindStatus, KindData:
		c.answered(m)
	case KindInvoke:
		c.invoked(m)
	case KindNotify:
		c.subscribed(m)
	case KindUnsubscribe:
		c.vanished(m)
	}
}

func (c *Conn) answered(m *Message) {
	k := key{m.Seq, m.Peer}
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.waiting[k]
	if r == nil {
		return // its caller has given up
	}
	if m.Kind == KindData {
		r.data = append(r.data, m.Envelope)
		if id, ok := m.Envelope.Uint(AttrObjID); ok && r.keep != nil {
			r.keep(id)
		}
		return
	}
	s, ok := m.Envelope.Uint(AttrStatus)
	if !ok {
		s = uint32(UnknownError)
	}
	delete(c.waiting, k)
	r.done <- Status(s)
}

// write sends frames as they are. Several frames of one answer go out in one write.
func (c *Conn) write(frames []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.sock.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := c.sock.Write(frames); err != nil {
		c.fail(fmt.Errorf("write to ubusd: %w", err))
		return ErrClosed
	}
	return nil
}

// nextKey reserves a request's key that is not in use.
func (c *Conn) nextKey(peer uint32, r *request) (key, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return key{}, ErrClosed
	}
	for range 1 << 16 {
		c.seq++
		k := key{c.seq, peer}
		if _, used := c.waiting[k]; !used {
			c.waiting[k] = r
			return k, nil
		}
	}
	return key{}, errors.New("ubus: 65536 requests are waiting for answers")
}

// ask sends a request and waits for its answers.
func (c *Conn) ask(ctx context.Context, kind Kind, peer uint32, e Envelope) ([]Envelope, error) {
	return c.request(ctx, kind, peer, e, nil)
}

func (c *Conn) request(ctx context.Context, kind Kind, peer uint32, e Envelope, keep func(id uint32)) ([]Envelope, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, defaultTimeout)
		defer cancel()
	}
	r := &request{done: make(chan Status, 1), keep: keep}
	k, err := c.nextKey(peer, r)
	if err != nil {
		return nil, err
	}
	defer c.forget(k, r)
	m := Message{Kind: kind, Seq: k.seq, Peer: peer, Envelope: e}
	frame, err := m.Append(nil)
	if err != nil {
		return nil, err
	}
	if err := c.write(frame); err != nil {
		return nil, err
	}
	var s Status
	select {
	case s = <-r.done:
	case <-c.done:
		select {
		case s = <-r.done: // the answer was the last that came
		default:
			return nil, ErrClosed
		}
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, Timeout
		}
		return nil, ctx.Err()
	}
	if s != OK {
		return nil, s
	}
	return r.data, nil
}

func (c *Conn) forget(k key, r *request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting[k] == r {
		delete(c.waiting, k)
	}
}
