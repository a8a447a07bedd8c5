// SPDX-License-Identifier: Apache-2.0

package ubus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
)

// Type is the type of a value on the wire (libubox blobmsg.h), and of a method's argument in its signature.
type Type uint8

const (
	TypeAny    Type = 0 // in a signature: any type; on the wire: null
	TypeArray  Type = 1
	TypeTable  Type = 2
	TypeString Type = 3
	TypeInt64  Type = 4
	TypeInt32  Type = 5
	TypeInt16  Type = 6
	TypeBool   Type = 7 // INT8 on the wire
	TypeDouble Type = 8
)

const (
	maxDepth  = 32      // tables and arrays within each other
	maxValues = 1 << 16 // values of one message: bounds the memory that 1 MiB of empty values would ask for
	maxAttr   = 1<<24 - 1
	extended  = 1 << 31
)

var (
	errDepth  = errors.New("blobmsg: more than 32 levels")
	errValues = errors.New("blobmsg: more than 65536 values")
	errLarge  = errors.New("blobmsg: value over 16 MiB")
	errName   = errors.New("blobmsg: name over 65535 octets")
)

// AppendMsg appends the fields of m as blobmsg attributes: the payload of a DATA attribute or of a table.
//
// int32 and smaller become INT32, int64, uint32 and uint64 INT64, whatever their value: a counter's type must not
// change as it grows. An int becomes what the ubus command line makes of a number: INT32 where it fits, else
// INT64; C programs want INT32 of a caller.
func AppendMsg(b []byte, m Msg) ([]byte, error) { return appendFields(b, m, 0) }

func appendFields(b []byte, m Msg, depth int) (_ []byte, err error) {
	for i := range m {
		if b, err = appendValue(b, m[i].Name, m[i].Value, depth); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// appendValue appends one attribute: header, name, value, padding.
func appendValue(b []byte, name string, v any, depth int) (_ []byte, err error) {
	if depth > maxDepth {
		return nil, errDepth
	}
	if len(name) > math.MaxUint16 {
		return nil, errName
	}
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(name)))
	b = append(b, name...)
	b = pad(append(b, 0), start)
	t := TypeAny
	switch v := v.(type) {
	case nil:
	case bool:
		t = TypeBool
		if v {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
	case string:
		t = TypeString
		b = append(append(b, v...), 0)
	case float64:
		t = TypeDouble
		b = binary.BigEndian.AppendUint64(b, math.Float64bits(v))
	case float32:
		t = TypeDouble
		b = binary.BigEndian.AppendUint64(b, math.Float64bits(float64(v)))
	case Msg:
		t = TypeTable
		b, err = appendFields(b, v, depth+1)
	case map[string]any:
		t = TypeTable
		b, err = appendFields(b, sortedFields(v), depth+1)
	case map[string]string:
		t = TypeTable
		b, err = appendFields(b, sortedFields(v), depth+1)
	case []any:
		t = TypeArray
		b, err = appendArray(b, v, depth)
	case []string:
		t = TypeArray
		b, err = appendArray(b, v, depth)
	case []Msg:
		t = TypeArray
		b, err = appendArray(b, v, depth)
	case []map[string]any:
		t = TypeArray
		b, err = appendArray(b, v, depth)
	default:
		n, ok := integer(v)
		if !ok {
			return nil, fmt.Errorf("blobmsg: field %q: can't encode %T(%v)", name, v, v)
		}
		if t = integerType(v, n); t == TypeInt64 {
			b = binary.BigEndian.AppendUint64(b, uint64(n))
		} else {
			b = binary.BigEndian.AppendUint32(b, uint32(n))
		}
	}
	if err != nil {
		return nil, err
	}
	return closeAttr(b, start, extended|uint32(t)<<24)
}

func appendArray[T any](b []byte, list []T, depth int) (_ []byte, err error) {
	for _, v := range list {
		if b, err = appendValue(b, "", v, depth+1); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// integerType chooses the width: see AppendMsg.
func integerType(v any, n int64) Type {
	switch v.(type) {
	case int64, uint64, uint32:
		return TypeInt64
	case int, uint:
		if n < math.MinInt32 || n > math.MaxInt32 {
			return TypeInt64
		}
	}
	return TypeInt32
}

func sortedFields[T any](m map[string]T) Msg {
	fields := make(Msg, 0, len(m))
	for name, v := range m {
		fields = append(fields, Field{name, v})
	}
	sort.Slice(fields, func(i, j int) bool { return fields[i].Name < fields[j].Name })
	return fields
}

// closeAttr writes the header of the attribute that began at start, now that its length is known, and pads it.
// Of a leaf the length leaves the padding out; a container's children are padded already.
func closeAttr(b []byte, start int, head uint32) ([]byte, error) {
	n := len(b) - start
	if n > maxAttr {
		return nil, errLarge
	}
	binary.BigEndian.PutUint32(b[start:], head|uint32(n))
	return pad(b, start), nil
}

// pad fills b with zeros up to a multiple of four octets after start.
func pad(b []byte, start int) []byte {
	for (len(b)-start)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// attr is one attribute cut out of a list: its header's fields and what it holds.
type attr struct {
	id       uint8
	extended bool
	payload  []byte
}

// nextAttr cuts the first attribute off b. ok is false at the end of the list, which is also where an attribute
// shorter than its header or longer than the list stands: libubox stops there too.
func nextAttr(b []byte) (a attr, rest []byte, ok bool) {
	if len(b) < 4 {
		return attr{}, nil, false
	}
	head := binary.BigEndian.Uint32(b)
	n := int(head & maxAttr)
	if n < 4 || n > len(b) {
		return attr{}, nil, false
	}
	a = attr{id: uint8(head >> 24 & 0x7f), extended: head&extended != 0, payload: b[4:n]}
	return a, b[min((n+3)&^3, len(b)):], true
}

// cutName takes the name off the payload of an extended attribute. ok is false if the name is longer than the
// attribute or lacks its NUL.
func cutName(p []byte) (name string, value []byte, ok bool) {
	if len(p) < 2 {
		return "", nil, false
	}
	n := int(binary.BigEndian.Uint16(p))
	header := (2 + n + 1 + 3) &^ 3
	if 2+n+1 > len(p) || p[2+n] != 0 {
		return "", nil, false
	}
	return string(p[2 : 2+n]), p[min(header, len(p)):], true
}

// ParseMsg decodes the payload of a DATA attribute or of a table. Attributes of an unknown type or a wrong size
// are left out. It fails only where depth or number pass what a message of the bus can need.
func ParseMsg(b []byte) (Msg, error) {
	p := parser{left: maxValues}
	return p.table(b, 0)
}

// parser counts what one message may still hold.
type parser struct{ left int }

func (p *parser) table(b []byte, depth int) (Msg, error) {
	m := Msg{}
	err := p.each(b, depth, func(name string, v any) { m = append(m, Field{name, v}) })
	return m, err
}

func (p *parser) array(b []byte, depth int) ([]any, error) {
	list := []any{}
	err := p.each(b, depth, func(_ string, v any) { list = append(list, v) })
	return list, err
}

func (p *parser) each(b []byte, depth int, fn func(name string, v any)) error {
	if depth > maxDepth {
		return errDepth
	}
	for {
		a, rest, ok := nextAttr(b)
		if !ok {
			return nil
		}
		b = rest
		if p.left--; p.left < 0 {
			return errValues
		}
		name, value := "", a.payload
		if a.extended {
			if name, value, ok = cutName(a.payload); !ok {
				continue
			}
		}
		v, ok, err := p.value(Type(a.id), value, depth)
		if err != nil {
			return err
		}
		if ok {
			fn(name, v)
		}
	}
}

// value decodes what an attribute holds. ok is false where the size is not that of the type.
func (p *parser) value(t Type, b []byte, depth int) (v any, ok bool, err error) {
	switch t {
	case TypeAny:
		return nil, true, nil
	case TypeArray:
		v, err = p.array(b, depth+1)
		return v, err == nil, err
	case TypeTable:
		v, err = p.table(b, depth+1)
		return v, err == nil, err
	case TypeString:
		s, ok := cString(b)
		return s, ok, nil
	}
	switch {
	case t == TypeInt64 && len(b) == 8:
		return int64(binary.BigEndian.Uint64(b)), true, nil
	case t == TypeInt32 && len(b) == 4:
		return int64(int32(binary.BigEndian.Uint32(b))), true, nil
	case t == TypeInt16 && len(b) == 2:
		return int64(int16(binary.BigEndian.Uint16(b))), true, nil
	case t == TypeBool && len(b) == 1:
		return b[0] != 0, true, nil
	case t == TypeDouble && len(b) == 8:
		return math.Float64frombits(binary.BigEndian.Uint64(b)), true, nil
	}
	return nil, false, nil
}

// cString takes a string off its NUL; one without NUL at its end is refused, one with a NUL inside ends there.
func cString(b []byte) (string, bool) {
	if len(b) == 0 || b[len(b)-1] != 0 {
		return "", false
	}
	if i := slices.Index(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b), true
}
