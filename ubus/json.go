// SPDX-License-Identifier: Apache-2.0

package ubus

import (
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"spillway/json"
)

// AppendJSON appends the message as a JSON object, fields in their order: the same value answers the bus and the
// command line. Doubles that JSON can't write (infinite, not a number) become null.
func AppendJSON(b []byte, m Msg) ([]byte, error) { return appendJSON(b, m, 0) }

// JSON is AppendJSON as a string; a value that can't be written becomes an object that says so.
func (m Msg) JSON() []byte {
	b, err := AppendJSON(nil, m)
	if err != nil {
		b, _ = AppendJSON(nil, Msg{{"error", err.Error()}})
	}
	return b
}

func appendJSON(b []byte, v any, depth int) (_ []byte, err error) {
	if depth > maxDepth {
		return nil, errDepth
	}
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case string:
		return appendString(b, v), nil
	case float32:
		return appendFloat(b, float64(v)), nil
	case float64:
		return appendFloat(b, v), nil
	case map[string]any:
		return appendJSON(b, sortedFields(v), depth)
	case map[string]string:
		return appendJSON(b, sortedFields(v), depth)
	case []any:
		return appendList(b, v, depth)
	case []string:
		return appendList(b, v, depth)
	case []Msg:
		return appendList(b, v, depth)
	case []map[string]any:
		return appendList(b, v, depth)
	case Msg:
		b = append(b, '{')
		for i := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendString(b, v[i].Name), ':')
			if b, err = appendJSON(b, v[i].Value, depth+1); err != nil {
				return nil, err
			}
		}
		return append(b, '}'), nil
	}
	n, ok := integer(v)
	if !ok {
		return nil, fmt.Errorf("json: can't encode %T(%v)", v, v)
	}
	return strconv.AppendInt(b, n, 10), nil
}

func appendList[T any](b []byte, list []T, depth int) (_ []byte, err error) {
	b = append(b, '[')
	for i, v := range list {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = appendJSON(b, v, depth+1); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

// appendFloat writes a number that reads back as the same double, and always as a double: 3 becomes 3.0.
func appendFloat(b []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(b, "null"...)
	}
	start := len(b)
	b = strconv.AppendFloat(b, f, 'g', -1, 64)
	for _, c := range b[start:] {
		if c == '.' || c == 'e' {
			return b
		}
	}
	return append(b, ".0"...)
}

const hexDigits = "0123456789abcdef"

func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\t':
			b = append(b, '\\', 't')
		case c < 0x20 || c == 0x7f:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r) // what is no UTF-8 becomes the replacement character
			i += n
			continue
		}
		i++
	}
	return append(b, '"')
}

// FromJSON reads a JSON object. Numbers without fraction and exponent become int64 (INT64 on the bus), others
// float64.
func FromJSON(b []byte) (Msg, error) {
	p := jsonParser{json.NewScanner(b), maxValues}
	v, err := p.value(0)
	if err == nil {
		err = p.End()
	}
	if err != nil {
		return nil, p.Place(err)
	}
	m, ok := v.(Msg)
	if !ok {
		return nil, fmt.Errorf("json: %T instead of an object", v)
	}
	return m, nil
}

// jsonParser reads values, as many as are left.
type jsonParser struct {
	*json.Scanner
	left int
}

func (p *jsonParser) value(depth int) (any, error) {
	if depth > maxDepth {
		return nil, errDepth
	}
	if p.left--; p.left < 0 {
		return nil, errValues
	}
	c, err := p.Next()
	if err != nil {
		return nil, err
	}
	switch {
	case c == '{':
		m := Msg{}
		err := p.Object(func(name string) error {
			v, err := p.value(depth + 1)
			m = append(m, Field{name, v})
			return err
		})
		return m, err
	case c == '[':
		list := []any{}
		err := p.Array(func() error {
			v, err := p.value(depth + 1)
			list = append(list, v)
			return err
		})
		return list, err
	case c == '"':
		return p.String()
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	}
	word, err := p.Word()
	if word == "null" || err != nil {
		return nil, err
	}
	return word == "true", nil
}

func (p *jsonParser) number() (any, error) {
	s, whole, err := p.Number()
	if err != nil {
		return nil, err
	}
	if whole {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return n, nil
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return nil, fmt.Errorf("bad number %q", s)
	}
	return f, nil
}
