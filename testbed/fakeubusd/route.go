// SPDX-License-Identifier: Apache-2.0

package fakeubusd

import (
	"strings"

	"spillway/ubus"
)

func data(e ubus.Envelope) ubus.Attr {
	for i := len(e) - 1; i >= 0; i-- {
		if e[i].ID == ubus.AttrData {
			return e[i]
		}
	}
	return ubus.Attr{ID: ubus.AttrData}
}

// call makes what the callee of an INVOKE gets. peer is the caller's number, 0 for events.
func call(o *object, seq uint16, peer uint32, method string, d ubus.Attr, noReply bool) ubus.Message {
	e := ubus.Envelope{ubus.Uint(ubus.AttrObjID, o.id), ubus.Text(ubus.AttrMethod, method),
		ubus.Text(ubus.AttrUser, "root"), ubus.Text(ubus.AttrGroup, "root"), d}
	if noReply {
		e = append(e, ubus.Flag(ubus.AttrNoReply, true))
	}
	return ubus.Message{Kind: ubus.KindInvoke, Seq: seq, Peer: peer, Envelope: e}
}

// invoke hands a call to the object's owner; routed is true where the owner will answer.
func (s *Server) invoke(c *client, m *ubus.Message, status *ubus.Status) (routed bool) {
	id, _ := m.Envelope.Uint(ubus.AttrObjID)
	method, _ := m.Envelope.Text(ubus.AttrMethod)
	if id == ubus.ObjectEvent {
		*status = s.event(c, m, method)
		return false
	}
	o := s.objects[id]
	if o == nil {
		*status = ubus.NotFound
		return false
	}
	noReply := m.Envelope.Flag(ubus.AttrNoReply)
	o.owner.send(call(o, m.Seq, c.id, method, data(m.Envelope), noReply))
	return true
}

// event serves the object of events: register and send.
func (s *Server) event(c *client, m *ubus.Message, method string) ubus.Status {
	args, err := m.Envelope.Msg(ubus.AttrData)
	if err != nil {
		return ubus.InvalidArgument
	}
	switch method {
	case "register":
		id, _ := args.Int("object")
		o := s.objects[uint32(id)]
		if o == nil || o.owner != c {
			return ubus.NotFound
		}
		o.patterns = append(o.patterns, args.Text("pattern"))
		return ubus.OK
	case "send":
		id := args.Text("id")
		if strings.HasPrefix(id, "ubus.") {
			return ubus.PermissionDenied
		}
		s.emit(id, args.Table("data"), c)
		return ubus.OK
	}
	return ubus.MethodNotFound
}

// emit delivers an event to all who listen, but for the one who sent it.
func (s *Server) emit(id string, table ubus.Msg, from *client) {
	payload, err := ubus.AppendMsg(nil, table)
	if err != nil {
		return
	}
	for _, o := range s.objects {
		if o.owner == from || s.clients[o.owner.id] == nil {
			continue
		}
		for _, p := range o.patterns {
			prefix, any := strings.CutSuffix(p, "*")
			if p == id || any && strings.HasPrefix(id, prefix) {
				o.owner.send(call(o, 1, 0, id, ubus.Attr{ID: ubus.AttrData, Payload: payload}, false))
				break
			}
		}
	}
}

// notify hands a notification to all subscribers. Where answers are asked for, the publisher first hears who they
// are; with NO_REPLY nothing comes back at all.
func (s *Server) notify(c *client, m *ubus.Message, status *ubus.Status) (quiet bool) {
	o := s.own(c, m)
	if o == nil {
		*status = ubus.NotFound
		return false
	}
	method, _ := m.Envelope.Text(ubus.AttrMethod)
	noReply := m.Envelope.Flag(ubus.AttrNoReply)
	if !noReply {
		var list []byte
		for _, sub := range o.subscribers {
			list = append(list, 0, 0, 0, 8)
			list = append(list, ubus.Uint(0, sub.id).Payload...)
		}
		c.send(ubus.Message{Kind: ubus.KindStatus, Seq: m.Seq, Peer: m.Peer, Envelope: ubus.Envelope{
			{ID: ubus.AttrSubscribers, Payload: list}, ubus.Uint(ubus.AttrStatus, 0)}})
	}
	for _, sub := range o.subscribers {
		sub.owner.send(call(sub, m.Seq, c.id, method, data(m.Envelope), noReply))
	}
	return true
}

// route passes a callee's answer on to the caller, with the object's number for peer. Without one it is dropped.
func (s *Server) route(c *client, m *ubus.Message) {
	o := s.own(c, m)
	caller := s.clients[m.Peer]
	if o == nil || caller == nil {
		return
	}
	caller.send(ubus.Message{Kind: m.Kind, Seq: m.Seq, Peer: o.id, Envelope: m.Envelope})
}
