// SPDX-License-Identifier: Apache-2.0

package ubus

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Kind is the type of a message (ubusmsg.h, enum ubus_msg_type).
type Kind uint8

const (
	KindHello        Kind = 0
	KindStatus       Kind = 1
	KindData         Kind = 2
	KindPing         Kind = 3
	KindLookup       Kind = 4
	KindInvoke       Kind = 5
	KindAddObject    Kind = 6
	KindRemoveObject Kind = 7
	KindSubscribe    Kind = 8
	KindUnsubscribe  Kind = 9
	KindNotify       Kind = 10
	KindMonitor      Kind = 11
)

// Attributes of an envelope (ubusmsg.h, enum ubus_msg_attr).
const (
	AttrStatus      uint8 = 1
	AttrObjPath     uint8 = 2
	AttrObjID       uint8 = 3
	AttrMethod      uint8 = 4
	AttrObjType     uint8 = 5
	AttrSignature   uint8 = 6
	AttrData        uint8 = 7
	AttrTarget      uint8 = 8
	AttrActive      uint8 = 9
	AttrNoReply     uint8 = 10
	AttrSubscribers uint8 = 11
	AttrUser        uint8 = 12
	AttrGroup       uint8 = 13
)

// Objects that ubusd itself has.
const (
	ObjectEvent   uint32 = 1
	ObjectACL     uint32 = 2
	ObjectMonitor uint32 = 3
)

// MaxEnvelope is the longest envelope in octets, its own header included, that ubusd takes.
const MaxEnvelope = 1 << 20

// maxAttrs bounds the attributes of one envelope: fourteen kinds are known.
const maxAttrs = 64

// Message is one frame of the bus. Peer is an object's or a client's number, or 0: which, the kind says.
type Message struct {
	Kind     Kind
	Seq      uint16
	Peer     uint32
	Envelope Envelope
}

// Envelope is the list of attributes of a message, in their order on the wire.
type Envelope []Attr

// Attr is one attribute of an envelope, not decoded.
type Attr struct {
	ID      uint8
	Payload []byte
}

// Uint makes an attribute that holds a number or an identifier.
func Uint(id uint8, v uint32) Attr { return Attr{id, binary.BigEndian.AppendUint32(nil, v)} }

// Text makes an attribute that holds a string.
func Text(id uint8, s string) Attr { return Attr{id, append([]byte(s), 0)} }

// Flag makes an attribute that holds a flag.
func Flag(id uint8, on bool) Attr {
	if on {
		return Attr{id, []byte{1}}
	}
	return Attr{id, []byte{0}}
}

// find returns the payload of an attribute; where one is repeated the last counts, as in blob_parse.
func (e Envelope) find(id uint8) ([]byte, bool) {
	for i := len(e) - 1; i >= 0; i-- {
		if e[i].ID == id {
			return e[i].Payload, true
		}
	}
	return nil, false
}

// Uint returns a number; ok is false if it is absent or has a wrong size.
func (e Envelope) Uint(id uint8) (v uint32, ok bool) {
	p, ok := e.find(id)
	if !ok || len(p) != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(p), true
}

// Text returns a string; ok is false if it is absent or lacks its NUL.
func (e Envelope) Text(id uint8) (s string, ok bool) {
	p, ok := e.find(id)
	if !ok {
		return "", false
	}
	return cString(p)
}

// Flag returns a flag, false if it is absent.
func (e Envelope) Flag(id uint8) bool {
	p, _ := e.find(id)
	return len(p) == 1 && p[0] != 0
}

// Msg decodes a table, empty if it is absent.
func (e Envelope) Msg(id uint8) (Msg, error) {
	p, _ := e.find(id)
	return ParseMsg(p)
}

// Append appends the frame: header of eight octets, envelope.
func (m *Message) Append(b []byte) ([]byte, error) {
	b = append(b, 0, byte(m.Kind))
	b = binary.BigEndian.AppendUint16(b, m.Seq)
	b = binary.BigEndian.AppendUint32(b, m.Peer)
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	for _, a := range m.Envelope {
		at := len(b)
		b = append(b, 0, 0, 0, 0)
		b = append(b, a.Payload...)
		var err error
		if b, err = closeAttr(b, at, uint32(a.ID)<<24); err != nil {
			return nil, err
		}
	}
	n := len(b) - start
	if n > MaxEnvelope {
		return nil, fmt.Errorf("ubus: message of %d octets, %d is the limit", n, MaxEnvelope)
	}
	binary.BigEndian.PutUint32(b[start:], uint32(n))
	return b, nil
}

// ReadMessage reads one frame. An error means that the stream can't be followed any more.
func ReadMessage(r io.Reader) (*Message, error) {
	var head [12]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(head[8:]) & maxAttr)
	if head[0] != 0 {
		return nil, fmt.Errorf("ubus: version %d, only 0 is known", head[0])
	}
	if n < 4 || n > MaxEnvelope {
		return nil, fmt.Errorf("ubus: envelope of %d octets, 4 to %d are allowed", n, MaxEnvelope)
	}
	body, err := readBody(r, n-4)
	if err != nil {
		return nil, err
	}
	m := &Message{Kind: Kind(head[1]), Seq: binary.BigEndian.Uint16(head[2:]), Peer: binary.BigEndian.Uint32(head[4:])}
	for {
		a, rest, ok := nextAttr(body)
		if !ok {
			return m, nil
		}
		if len(m.Envelope) == maxAttrs {
			return nil, fmt.Errorf("ubus: more than %d attributes in an envelope", maxAttrs)
		}
		m.Envelope = append(m.Envelope, Attr{a.id, a.payload})
		body = rest
	}
}

// readBody reads n octets, in steps: memory is taken as octets arrive, not as a header promises them.
func readBody(r io.Reader, n int) ([]byte, error) {
	const step = 64 << 10
	var body []byte
	for len(body) < n {
		at := len(body)
		body = append(body, make([]byte, min(step, n-at))...)
		if _, err := io.ReadFull(r, body[at:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return body, nil
}
