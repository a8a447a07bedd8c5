// SPDX-License-Identifier: Apache-2.0

package ubus

import (
	"context"
	"errors"
	"fmt"
)

// maxInbox is how many events and notifications wait for slow handlers; one more ends the connection, because
// after a gap only a fresh start knows the state.
const maxInbox = 1024

var errInbox = errors.New("ubus: more than 1024 events wait for their handlers")

// post queues work for deliver.
func (c *Conn) post(fn func()) {
	select {
	case c.inbox <- fn:
	default:
		c.fail(errInbox)
	}
}

// deliver runs handlers one after the other, in the order of what came.
func (c *Conn) deliver() {
	for {
		select {
		case fn := <-c.inbox:
			fn()
		case <-c.done:
			return
		}
	}
}

// Listen hears the events of a pattern: a name, or a prefix and "*". Handlers of one connection run one after the
// other; they may call the bus, but keep later events waiting.
func (c *Conn) Listen(ctx context.Context, pattern string, fn func(event string, data Msg)) error {
	id, err := c.add(ctx, nil, func(id uint32) { c.handlers[id] = fn })
	if err == nil {
		_, err = c.invoke(ctx, ObjectEvent, "register", Msg{{"object", int32(id)}, {"pattern", pattern}})
	}
	if err != nil {
		return fmt.Errorf("listen to ubus events %s: %w", pattern, err)
	}
	return nil
}

// Send sends an event to all who listen to its name. Names that begin with "ubus." are ubusd's own. It does not
// wait for an answer.
func (c *Conn) Send(event string, data any) error {
	if data == nil {
		data = Msg{}
	}
	args, err := AppendMsg(nil, Msg{{"id", event}, {"data", data}})
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.seq++
	seq := c.seq
	c.mu.Unlock()
	m := Message{Kind: KindInvoke, Seq: seq, Peer: ObjectEvent, Envelope: Envelope{
		Uint(AttrObjID, ObjectEvent), Text(AttrMethod, "send"), {AttrData, args}}}
	frame, err := m.Append(nil)
	if err != nil {
		return err
	}
	return c.write(frame)
}

// Subscribe hears the notifications of an object: fn gets the type of each and its data. lost, if not nil, is
// called when the object has gone; a subscription does not come back by itself (Run's do).
func (c *Conn) Subscribe(ctx context.Context, object string, fn func(kind string, data Msg), lost func()) error {
	err := c.subscribe(ctx, object, fn, lost)
	if errors.Is(err, NotFound) && c.forgetObject(object) {
		err = c.subscribe(ctx, object, fn, lost)
	}
	if err != nil {
		return fmt.Errorf("subscribe to ubus object %s: %w", object, err)
	}
	return nil
}

func (c *Conn) subscribe(ctx context.Context, object string, fn func(string, Msg), lost func()) error {
	target, err := c.object(ctx, object)
	if err != nil {
		return err
	}
	id, err := c.add(ctx, nil, func(id uint32) { c.handlers[id], c.lost[id] = fn, lost })
	if err != nil {
		return err
	}
	_, err = c.ask(ctx, KindSubscribe, 0, Envelope{Uint(AttrObjID, id), Uint(AttrTarget, target)})
	if err != nil {
		c.remove(ctx, id)
	}
	return err
}

// remove takes an anonymous object of ours back.
func (c *Conn) remove(ctx context.Context, id uint32) {
	c.mu.Lock()
	delete(c.handlers, id)
	delete(c.lost, id)
	c.mu.Unlock()
	c.ask(ctx, KindRemoveObject, 0, Envelope{Uint(AttrObjID, id)})
}

// vanished handles ubusd's word that the target of a subscription has gone.
func (c *Conn) vanished(m *Message) {
	id, _ := m.Envelope.Uint(AttrObjID)
	c.mu.Lock()
	lost := c.lost[id]
	c.mu.Unlock()
	c.post(func() {
		ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
		defer cancel()
		c.remove(ctx, id)
		if lost != nil {
			lost()
		}
	})
}
