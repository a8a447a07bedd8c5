// SPDX-License-Identifier: Apache-2.0

package netlink

import (
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Attributes (struct nlattr in linux/netlink.h): length with this header and type, each a u16 of the machine's own order, a value,
// and zeros up to four octets. Integers among the values are of the machine's order too, but of the network's in netfilter.

const headerLen = 4

// Encoder writes attributes. The zero value is ready.
type Encoder struct {
	Big bool // integers are written in network order
	b   []byte
	err error
}

// Encode is what was written, and the first error.
func (e *Encoder) Encode() ([]byte, error) { return e.b, e.err }

// begin writes the header of an attribute, end its length and the padding behind it.
func (e *Encoder) begin(kind uint16) (start int) {
	start = len(e.b)
	e.b = binary.NativeEndian.AppendUint16(append(e.b, 0, 0), kind)
	return start
}

func (e *Encoder) end(start int) {
	n := len(e.b) - start
	if n > 0xffff && e.err == nil {
		e.err = fmt.Errorf("attribute of %d octets: 65535 are the most", n)
	}
	binary.NativeEndian.PutUint16(e.b[start:], uint16(n))
	for len(e.b)%4 != 0 {
		e.b = append(e.b, 0)
	}
}

// Bytes writes octets as they are.
func (e *Encoder) Bytes(kind uint16, v []byte) {
	start := e.begin(kind)
	e.b = append(e.b, v...)
	e.end(start)
}

// String writes text and the zero that ends it.
func (e *Encoder) String(kind uint16, v string) { e.Bytes(kind, append([]byte(v), 0)) }

// Uint8 writes an octet.
func (e *Encoder) Uint8(kind uint16, v uint8) { e.Bytes(kind, []byte{v}) }

// Uint16 writes two octets.
func (e *Encoder) Uint16(kind uint16, v uint16) {
	b := make([]byte, 2)
	if e.Big {
		binary.BigEndian.PutUint16(b, v)
	} else {
		binary.NativeEndian.PutUint16(b, v)
	}
	e.Bytes(kind, b)
}

// Uint32 writes four octets.
func (e *Encoder) Uint32(kind uint16, v uint32) {
	b := make([]byte, 4)
	if e.Big {
		binary.BigEndian.PutUint32(b, v)
	} else {
		binary.NativeEndian.PutUint32(b, v)
	}
	e.Bytes(kind, b)
}

// Nested writes an attribute whose value is what fn writes.
func (e *Encoder) Nested(kind uint16, fn func(*Encoder) error) {
	start := e.begin(kind | unix.NLA_F_NESTED)
	if err := fn(e); e.err == nil {
		e.err = err
	}
	e.end(start)
}

// Decoder reads attributes: while Next, Type and the value. A value that isn't what it is asked for ends it with an error.
type Decoder struct {
	Big         bool // integers are in network order
	kind        uint16
	value, rest []byte
	err         error
}

// Decode begins to read attributes.
func Decode(b []byte) *Decoder { return &Decoder{rest: b} }

// Next goes to the next attribute; false: there is none, or none that can be read, which Err tells.
func (d *Decoder) Next() bool {
	if d.err != nil || len(d.rest) == 0 {
		return false
	}
	n := 0
	if len(d.rest) >= headerLen {
		n = int(binary.NativeEndian.Uint16(d.rest))
	}
	if n < headerLen || n > len(d.rest) {
		d.err = fmt.Errorf("attribute of %d octets, %d are left", n, len(d.rest))
		return false
	}
	d.kind = binary.NativeEndian.Uint16(d.rest[2:])
	d.value, d.rest = d.rest[headerLen:n], d.rest[min(align(n), len(d.rest)):]
	return true
}

// Err is why reading ended early, or nil.
func (d *Decoder) Err() error { return d.err }

// Type is the attribute's type, without its flags.
func (d *Decoder) Type() uint16 { return d.kind &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER) }

// Bytes is the value, a part of what is decoded.
func (d *Decoder) Bytes() []byte { return d.value }

// String is the value without the zeros at its end.
func (d *Decoder) String() string { return strings.TrimRight(string(d.value), "\x00") }

// Do calls fn with the value; an error of fn ends reading.
func (d *Decoder) Do(fn func([]byte) error) {
	if err := fn(d.value); err != nil && d.err == nil {
		d.err = fmt.Errorf("attribute %d: %w", d.Type(), err)
	}
}

// integer is the value, of n octets, or as many zeros after an error.
func (d *Decoder) integer(n int) []byte {
	if len(d.value) == n {
		return d.value
	}
	if d.err == nil {
		d.err = fmt.Errorf("attribute %d of %d octets: %d are due", d.Type(), len(d.value), n)
	}
	return make([]byte, n)
}

// Uint8 is the value as an octet.
func (d *Decoder) Uint8() uint8 { return d.integer(1)[0] }

// Uint16 is the value as two octets.
func (d *Decoder) Uint16() uint16 {
	if b := d.integer(2); d.Big {
		return binary.BigEndian.Uint16(b)
	} else {
		return binary.NativeEndian.Uint16(b)
	}
}

// Uint32 is the value as four octets.
func (d *Decoder) Uint32() uint32 {
	if b := d.integer(4); d.Big {
		return binary.BigEndian.Uint32(b)
	} else {
		return binary.NativeEndian.Uint32(b)
	}
}

// Uint64 is the value as eight octets.
func (d *Decoder) Uint64() uint64 {
	if b := d.integer(8); d.Big {
		return binary.BigEndian.Uint64(b)
	} else {
		return binary.NativeEndian.Uint64(b)
	}
}

// Nested has fn read the attributes that the value is.
func (d *Decoder) Nested(fn func(*Decoder) error) {
	in := Decode(d.value)
	in.Big = d.Big
	err := fn(in)
	if err == nil {
		err = in.err
	}
	if err != nil && d.err == nil {
		d.err = fmt.Errorf("within attribute %d: %w", d.Type(), err)
	}
}
