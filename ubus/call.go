// SPDX-License-Identifier: Apache-2.0

package ubus

import (
	"context"
	"errors"
	"fmt"
)

// Found is an object as ubusd tells of it.
type Found struct {
	Path      string
	ID, Type  uint32
	Signature Msg // method -> argument -> type's number
}

// Lookup lists objects: all for "", those of a prefix for "prefix*", else the one of that path. An object that is
// not there is the error NotFound.
func (c *Conn) Lookup(ctx context.Context, path string) ([]Found, error) {
	var e Envelope
	if path != "" {
		e = Envelope{Text(AttrObjPath, path)}
	}
	data, err := c.ask(ctx, KindLookup, 0, e)
	if err != nil {
		return nil, err
	}
	found := make([]Found, 0, len(data))
	for _, d := range data {
		f := Found{}
		f.Path, _ = d.Text(AttrObjPath)
		f.ID, _ = d.Uint(AttrObjID)
		f.Type, _ = d.Uint(AttrObjType)
		if f.Signature, err = d.Msg(AttrSignature); err != nil {
			return nil, err
		}
		found = append(found, f)
	}
	return found, nil
}

// Call calls a method of an object and returns what it answered: the fields of all its DATA messages. args is a
// Msg, a map[string]any or nil. Without a deadline in ctx it waits 30 s. Errors are a Status (errors.Is), or the
// context's.
func (c *Conn) Call(ctx context.Context, object, method string, args any) (Msg, error) {
	m, err := c.call(ctx, object, method, args)
	if errors.Is(err, NotFound) { // a number remembered from before the object's owner restarted
		if c.forgetObject(object) {
			m, err = c.call(ctx, object, method, args)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("ubus call %s %s: %w", object, method, err)
	}
	return m, nil
}

func (c *Conn) call(ctx context.Context, object, method string, args any) (Msg, error) {
	id, err := c.object(ctx, object)
	if err != nil {
		return nil, err
	}
	return c.invoke(ctx, id, method, args)
}

// invoke calls a method by the object's number. DATA is always sent, even empty: C callees refuse its absence.
func (c *Conn) invoke(ctx context.Context, id uint32, method string, args any) (Msg, error) {
	body, err := appendTable(args)
	if err != nil {
		return nil, err
	}
	data, err := c.ask(ctx, KindInvoke, id, Envelope{Uint(AttrObjID, id), Text(AttrMethod, method), {AttrData, body}})
	if err != nil {
		return nil, err
	}
	answer := Msg{}
	for _, d := range data {
		part, err := d.Msg(AttrData)
		if err != nil {
			return nil, err
		}
		answer = append(answer, part...)
	}
	return answer, nil
}

// object returns an object's number, remembered from the last lookup.
func (c *Conn) object(ctx context.Context, path string) (uint32, error) {
	c.mu.Lock()
	id, ok := c.ids[path]
	c.mu.Unlock()
	if ok {
		return id, nil
	}
	found, err := c.Lookup(ctx, path)
	if err != nil {
		return 0, err
	}
	if len(found) != 1 {
		return 0, NotFound
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ids[path] = found[0].ID
	return found[0].ID, nil
}

func (c *Conn) forgetObject(path string) (known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, known = c.ids[path]
	delete(c.ids, path)
	return known
}

// Ping asks ubusd for a sign of life.
func (c *Conn) Ping(ctx context.Context) error {
	_, err := c.ask(ctx, KindPing, 0, nil)
	return err
}

// appendTable encodes what callers hand over as a table.
func appendTable(v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case Msg:
		return AppendMsg(nil, v)
	case map[string]any:
		return AppendMsg(nil, sortedFields(v))
	}
	return nil, fmt.Errorf("ubus: %T is no table (Msg or map[string]any)", v)
}
