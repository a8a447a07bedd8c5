// SPDX-License-Identifier: Apache-2.0

// Package fakeubusd is a small ubusd for tests and for the LuCI harness: lookup, calls, objects, events,
// subscriptions and notifications as the real one answers them. It knows no access rules, no monitor and no file
// descriptors. Tests that use it run against a real ubusd too where one is on PATH: that is what keeps it true.
package fakeubusd

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"spillway/ubus"
)

// Server is one bus.
type Server struct {
	listener net.Listener
	path     string
	work     sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	last    uint32 // numbers are counted up; real ones are random
	clients map[uint32]*client
	objects map[uint32]*object
	types   map[uint32][]byte // signatures by their type's number
}

// object is what a client has added; path "" for an anonymous one.
type object struct {
	id, kind    uint32
	path        string
	owner       *client
	subscribers []*object
	patterns    []string // events it listens to
}

// client is one connection; out is drained by a goroutine of its own.
type client struct {
	id   uint32
	sock net.Conn
	out  chan []byte
}

// queue is how many messages wait for a client that does not read; more are dropped, as ubusd does past 1 MiB.
const queue = 4096

// Listen starts a bus at path. Close ends it.
func Listen(path string) (*Server, error) {
	os.Remove(path)
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("fake ubusd: %w", err)
	}
	s := &Server{listener: l, path: path, last: 1023, clients: map[uint32]*client{}, objects: map[uint32]*object{}, types: map[uint32][]byte{}}
	s.work.Go(s.accept)
	return s, nil
}

// Close hangs up on every client, as a ubusd that ends does, and removes the socket.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.listener.Close()
	for _, c := range s.clients {
		c.sock.Close()
	}
	s.mu.Unlock()
	s.work.Wait()
}

// Objects counts those with this path: one or none.
func (s *Server) Objects(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.named(path) == nil {
		return 0
	}
	return 1
}

func (s *Server) accept() {
	for {
		sock, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.closed {
			sock.Close()
			s.mu.Unlock()
			return
		}
		c := &client{id: s.number(), sock: sock, out: make(chan []byte, queue)}
		s.clients[c.id] = c
		c.send(ubus.Message{Kind: ubus.KindHello, Peer: c.id})
		s.mu.Unlock()
		s.work.Go(c.write)
		s.work.Go(func() { s.read(c) })
	}
}

func (s *Server) number() uint32 {
	s.last++
	return s.last
}

func (c *client) write() {
	for frame := range c.out {
		c.sock.SetWriteDeadline(time.Now().Add(10 * time.Second))
		if _, err := c.sock.Write(frame); err != nil {
			c.sock.Close()
		}
	}
}

// send queues a message; the server's lock is held.
func (c *client) send(m ubus.Message) {
	frame, err := m.Append(nil)
	if err != nil {
		return
	}
	select {
	case c.out <- frame:
	default:
	}
}

func (s *Server) read(c *client) {
	r := bufio.NewReader(c.sock)
	for {
		m, err := ubus.ReadMessage(r)
		if err != nil {
			break
		}
		s.mu.Lock()
		s.handle(c, m)
		s.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.sock.Close()
	delete(s.clients, c.id)
	for _, o := range s.objects {
		if o.owner == c {
			s.remove(o)
		}
	}
	close(c.out)
}

// handle answers one message: DATA as needed and, but for routed ones, one STATUS.
func (s *Server) handle(c *client, m *ubus.Message) {
	var status ubus.Status
	switch m.Kind {
	case ubus.KindPing:
		c.send(ubus.Message{Kind: ubus.KindData, Seq: m.Seq, Peer: m.Peer, Envelope: m.Envelope})
	case ubus.KindLookup:
		status = s.lookup(c, m)
	case ubus.KindAddObject:
		status = s.add(c, m)
	case ubus.KindRemoveObject:
		status = s.removeOwn(c, m)
	case ubus.KindSubscribe, ubus.KindUnsubscribe:
		status = s.subscribe(c, m)
	case ubus.KindInvoke:
		if s.invoke(c, m, &status) {
			return
		}
	case ubus.KindNotify:
		if s.notify(c, m, &status) {
			return
		}
	case ubus.KindData, ubus.KindStatus:
		s.route(c, m)
		return
	default:
		status = ubus.InvalidCommand
	}
	c.send(ubus.Message{Kind: ubus.KindStatus, Seq: m.Seq, Peer: m.Peer,
		Envelope: ubus.Envelope{ubus.Uint(ubus.AttrStatus, uint32(status))}})
}

func (s *Server) lookup(c *client, m *ubus.Message) ubus.Status {
	path, given := m.Envelope.Text(ubus.AttrObjPath)
	if given && path == "" {
		return ubus.InvalidArgument
	}
	prefix, any := strings.CutSuffix(path, "*")
	found := false
	for id := uint32(1024); id <= s.last; id++ { // in the order of their coming
		o := s.objects[id]
		if o == nil || o.path == "" || given && o.path != path && !(any && strings.HasPrefix(o.path, prefix)) {
			continue
		}
		found = true
		c.send(ubus.Message{Kind: ubus.KindData, Seq: m.Seq, Envelope: ubus.Envelope{
			ubus.Text(ubus.AttrObjPath, o.path), ubus.Uint(ubus.AttrObjID, o.id), ubus.Uint(ubus.AttrObjType, o.kind),
			{ID: ubus.AttrSignature, Payload: s.types[o.kind]}}})
	}
	if given && !found {
		return ubus.NotFound
	}
	return ubus.OK
}

func (s *Server) named(path string) *object {
	for _, o := range s.objects {
		if o.path == path {
			return o
		}
	}
	return nil
}

func (s *Server) add(c *client, m *ubus.Message) ubus.Status {
	path, _ := m.Envelope.Text(ubus.AttrObjPath)
	o := &object{path: path, owner: c}
	answer := ubus.Envelope{}
	if path != "" {
		if s.named(path) != nil {
			return ubus.InvalidArgument
		}
		if t, ok := m.Envelope.Uint(ubus.AttrObjType); ok {
			if _, known := s.types[t]; !known {
				return ubus.InvalidArgument
			}
			o.kind = t
		} else {
			o.kind = s.number()
			for _, a := range m.Envelope {
				if a.ID == ubus.AttrSignature {
					s.types[o.kind] = a.Payload
				}
			}
			answer = ubus.Envelope{ubus.Uint(ubus.AttrObjType, o.kind)}
		}
	}
	o.id = s.number()
	s.objects[o.id] = o
	answer = append(ubus.Envelope{ubus.Uint(ubus.AttrObjID, o.id)}, answer...)
	c.send(ubus.Message{Kind: ubus.KindData, Seq: m.Seq, Peer: m.Peer, Envelope: answer})
	if path != "" {
		s.emit("ubus.object.add", ubus.Msg{{Name: "id", Value: int32(o.id)}, {Name: "path", Value: path}}, nil)
	}
	return ubus.OK
}

func (s *Server) own(c *client, m *ubus.Message) *object {
	id, _ := m.Envelope.Uint(ubus.AttrObjID)
	if o := s.objects[id]; o != nil && o.owner == c {
		return o
	}
	return nil
}

func (s *Server) removeOwn(c *client, m *ubus.Message) ubus.Status {
	o := s.own(c, m)
	if o == nil {
		return ubus.NotFound
	}
	c.send(ubus.Message{Kind: ubus.KindData, Seq: m.Seq, Peer: m.Peer, Envelope: ubus.Envelope{ubus.Uint(ubus.AttrObjID, o.id)}})
	s.remove(o)
	return ubus.OK
}

// remove takes an object out, tells its subscribers, and takes it out of what it subscribed to.
func (s *Server) remove(o *object) {
	delete(s.objects, o.id)
	for _, sub := range o.subscribers {
		if s.clients[sub.owner.id] != nil {
			sub.owner.send(ubus.Message{Kind: ubus.KindUnsubscribe, Envelope: ubus.Envelope{
				ubus.Uint(ubus.AttrObjID, sub.id), ubus.Uint(ubus.AttrTarget, o.id)}})
		}
	}
	for _, other := range s.objects {
		s.drop(other, o)
	}
	if o.path != "" {
		s.emit("ubus.object.remove", ubus.Msg{{Name: "id", Value: int32(o.id)}, {Name: "path", Value: o.path}}, nil)
	}
}

func (s *Server) subscribe(c *client, m *ubus.Message) ubus.Status {
	o := s.own(c, m)
	id, _ := m.Envelope.Uint(ubus.AttrTarget)
	target := s.objects[id]
	if o == nil || target == nil {
		return ubus.NotFound
	}
	if target.owner == c {
		return ubus.InvalidArgument
	}
	if m.Kind == ubus.KindUnsubscribe {
		s.drop(target, o)
		return ubus.OK
	}
	target.subscribers = append(target.subscribers, o)
	if len(target.subscribers) == 1 {
		s.tellActive(target, true)
	}
	return ubus.OK
}

func (s *Server) drop(target, sub *object) {
	for i, o := range target.subscribers {
		if o == sub {
			target.subscribers = append(target.subscribers[:i:i], target.subscribers[i+1:]...)
			if len(target.subscribers) == 0 {
				s.tellActive(target, false)
			}
			return
		}
	}
}

func (s *Server) tellActive(o *object, active bool) {
	if s.clients[o.owner.id] == nil {
		return
	}
	o.owner.send(ubus.Message{Kind: ubus.KindNotify, Envelope: ubus.Envelope{
		ubus.Uint(ubus.AttrObjID, o.id), ubus.Flag(ubus.AttrActive, active)}})
}
