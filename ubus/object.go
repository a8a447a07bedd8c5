// SPDX-License-Identifier: Apache-2.0

package ubus

import (
	"context"
	"fmt"
)

// Object is a thing that others can call. It must not change once it is published.
type Object struct {
	Name    string
	Methods []Method
	// Watched, if set, is told when the first subscriber comes and when the last one has gone.
	Watched func(active bool)
}

// Method is one entry of an object.
//
// Handle gets the arguments as they came: ubusd does not check them against Args, unknown ones are to be ignored
// (uhttpd adds `ubus_rpc_session` to each call), integers come in any width or as strings (Msg.Int takes all). It
// returns a Msg, a map[string]any or nil, and OK or why not. It runs in a goroutine of its own and may take its
// time.
type Method struct {
	Name   string
	Args   []Arg
	Handle func(args Msg) (any, Status)
}

// Arg documents one argument in the object's signature.
type Arg struct {
	Name string
	Type Type
}

// maxServing is how many calls are served at once; more are refused with NoMemory, so that a caller in a loop
// can't make goroutines without end.
const maxServing = 64

// signature lists methods and their arguments as ADD_OBJECT wants them.
func (o *Object) signature() Msg {
	m := Msg{}
	for _, method := range o.Methods {
		args := Msg{}
		for _, a := range method.Args {
			args = append(args, Field{a.Name, int32(a.Type)})
		}
		m = append(m, Field{method.Name, args})
	}
	return m
}

func (o *Object) method(name string) *Method {
	for i := range o.Methods {
		if o.Methods[i].Name == name {
			return &o.Methods[i]
		}
	}
	return nil
}

// Publish adds an object. InvalidArgument means mostly that the name is taken, or that the user may not publish it
// (/usr/share/acl.d): ubusd answers the same to both.
func (c *Conn) Publish(ctx context.Context, o *Object) error {
	sig, err := AppendMsg(nil, o.signature())
	if err != nil {
		return err
	}
	_, err = c.add(ctx, Envelope{Text(AttrObjPath, o.Name), {AttrSignature, sig}}, func(id uint32) {
		c.served[id], c.ours[o.Name] = o, id
	})
	if err != nil {
		return fmt.Errorf("publish ubus object %s (taken, or not allowed by /usr/share/acl.d?): %w", o.Name, err)
	}
	return nil
}

// add sends ADD_OBJECT; keep runs under the lock before anything that follows the answer is read.
func (c *Conn) add(ctx context.Context, e Envelope, keep func(id uint32)) (uint32, error) {
	data, err := c.request(ctx, KindAddObject, 0, e, keep)
	if err != nil {
		return 0, err
	}
	for _, d := range data {
		if id, ok := d.Uint(AttrObjID); ok {
			return id, nil
		}
	}
	return 0, ParseError
}

// invoked serves a call of one of our objects, or hands a notification or an event on.
func (c *Conn) invoked(m *Message) {
	id, _ := m.Envelope.Uint(AttrObjID)
	method, _ := m.Envelope.Text(AttrMethod)
	c.mu.Lock()
	o, handler := c.served[id], c.handlers[id]
	c.mu.Unlock()
	switch {
	case handler != nil:
		args, err := m.Envelope.Msg(AttrData)
		if err == nil {
			c.post(func() { handler(method, args) })
		}
		if m.Peer != 0 && !m.Envelope.Flag(AttrNoReply) {
			go c.reply(m, id, nil, OK)
		}
	case o == nil:
		go c.reply(m, id, nil, NotFound)
	default:
		select {
		case c.serving <- struct{}{}:
			go c.serve(m, id, o.method(method))
		default:
			go c.reply(m, id, nil, NoMemory)
		}
	}
}

func (c *Conn) serve(m *Message, id uint32, method *Method) {
	defer func() { <-c.serving }()
	if method == nil {
		c.reply(m, id, nil, MethodNotFound)
		return
	}
	args, err := m.Envelope.Msg(AttrData)
	if err != nil {
		c.reply(m, id, nil, InvalidArgument)
		return
	}
	answer, status := method.Handle(args)
	c.reply(m, id, answer, status)
}

// reply answers a call: DATA if there is any, then STATUS, both with the caller's seq and peer and the object's
// number, without which ubusd drops them.
func (c *Conn) reply(m *Message, id uint32, answer any, status Status) {
	if m.Envelope.Flag(AttrNoReply) {
		return
	}
	var frames []byte
	if answer != nil {
		body, err := appendTable(answer)
		if err == nil {
			data := Message{Kind: KindData, Seq: m.Seq, Peer: m.Peer, Envelope: Envelope{Uint(AttrObjID, id), {AttrData, body}}}
			frames, err = data.Append(nil)
		}
		if err != nil {
			frames, status = nil, SystemError
		}
	}
	end := Message{Kind: KindStatus, Seq: m.Seq, Peer: m.Peer, Envelope: Envelope{Uint(AttrStatus, uint32(status)), Uint(AttrObjID, id)}}
	frames, err := end.Append(frames)
	if err == nil {
		c.write(frames)
	}
}

// Notify tells the subscribers of one of our objects. It asks for no answers (NO_REPLY), so that a subscriber that
// hangs costs nothing; without subscribers nothing is sent.
func (c *Conn) Notify(object, kind string, data any) error {
	c.mu.Lock()
	id, ok := c.ours[object]
	watched := c.watchers[id]
	c.seq++
	seq := c.seq
	c.mu.Unlock()
	if !ok {
		return fmt.Errorf("notify subscribers of %s: %w", object, NotFound)
	}
	if !watched {
		return nil
	}
	body, err := appendTable(data)
	if err != nil {
		return err
	}
	m := Message{Kind: KindNotify, Seq: seq, Peer: id, Envelope: Envelope{
		Uint(AttrObjID, id), Text(AttrMethod, kind), {AttrData, body}, Flag(AttrNoReply, true)}}
	frame, err := m.Append(nil)
	if err != nil {
		return err
	}
	return c.write(frame)
}

// subscribed handles ubusd's word that one of our objects has its first subscriber, or none any more.
func (c *Conn) subscribed(m *Message) {
	id, ok := m.Envelope.Uint(AttrObjID)
	if !ok {
		return
	}
	active := m.Envelope.Flag(AttrActive)
	c.mu.Lock()
	c.watchers[id] = active
	o := c.served[id]
	c.mu.Unlock()
	if o != nil && o.Watched != nil {
		c.post(func() { o.Watched(active) })
	}
}
