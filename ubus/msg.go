// SPDX-License-Identifier: Apache-2.0

package ubus

import (
	"math"
	"strconv"
)

// Msg is a table whose fields keep their order. The first field of a name counts, as in blobmsg_parse.
//
// Values that are decoded are nil, bool, int64 (of any width on the wire), float64, string, Msg and []any. To
// be encoded may be, beside these: every Go integer, float32, map[string]any (fields in order of their names),
// map[string]string, []string, []Msg and []map[string]any.
type Msg []Field

// Field is one named value of a Msg.
type Field struct {
	Name  string
	Value any
}

// Get returns the value of the first field of that name, nil if there is none.
func (m Msg) Get(name string) any {
	for i := range m {
		if m[i].Name == name {
			return m[i].Value
		}
	}
	return nil
}

// Has tells whether there is a field of that name.
func (m Msg) Has(name string) bool {
	for i := range m {
		if m[i].Name == name {
			return true
		}
	}
	return false
}

// Text returns a string field, "" if it is absent or no string.
func (m Msg) Text(name string) string {
	s, _ := m.Get(name).(string)
	return s
}

// Int returns a field as an integer. It accepts every width, a double without a fraction, and decimal digits in a
// string: LuCI's forms send numbers as strings. ok is false if the field is absent or none of these.
func (m Msg) Int(name string) (n int64, ok bool) {
	switch v := m.Get(name).(type) {
	case string:
		n, err := strconv.ParseInt(v, 10, 64)
		return n, err == nil
	case float64:
		if v != math.Trunc(v) || math.Abs(v) > 1<<53 {
			return 0, false
		}
		return int64(v), true
	case bool: // INT8 on the wire is bool and number alike
		if v {
			return 1, true
		}
		return 0, true
	default:
		return integer(v)
	}
}

// Float returns a field as a floating-point number; integers are converted.
func (m Msg) Float(name string) (f float64, ok bool) {
	switch v := m.Get(name).(type) {
	case float64:
		return v, true
	case float32:
		return float64(v), true
	}
	n, ok := m.Int(name)
	return float64(n), ok
}

// Bool returns a field as a flag: a bool, a number that is not 0, or "1" and "true".
func (m Msg) Bool(name string) bool {
	switch v := m.Get(name).(type) {
	case bool:
		return v
	case string:
		return v == "1" || v == "true"
	default:
		n, _ := m.Int(name)
		return n != 0
	}
}

// Table returns a field that is a table, nil if it is absent or none.
func (m Msg) Table(name string) Msg {
	t, _ := m.Get(name).(Msg)
	return t
}

// List returns a field that is an array, nil if it is absent or none.
func (m Msg) List(name string) []any {
	l, _ := m.Get(name).([]any)
	return l
}

// integer converts every Go integer type; values over the range of int64 don't fit the bus and are not ok.
func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case int:
		return int64(v), true
	case int8:
		return int64(v), true
	case int16:
		return int64(v), true
	case int32:
		return int64(v), true
	case int64:
		return v, true
	case uint:
		return int64(v), uint64(v) <= math.MaxInt64
	case uint8:
		return int64(v), true
	case uint16:
		return int64(v), true
	case uint32:
		return int64(v), true
	case uint64:
		return int64(v), v <= math.MaxInt64
	}
	return 0, false
}
