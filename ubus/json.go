// SPDX-License-Identifier: Apache-2.0

package ubus

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
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
	p := jsonParser{text: b, left: maxValues}
	v, err := p.value(0)
	if err == nil {
		if p.space(); p.at != len(b) {
			err = errors.New("text after the end")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("json: octet %d: %w", p.at, err)
	}
	m, ok := v.(Msg)
	if !ok {
		return nil, fmt.Errorf("json: %T instead of an object", v)
	}
	return m, nil
}

// jsonParser walks a text once.
type jsonParser struct {
	text []byte
	at   int
	left int
}

func (p *jsonParser) space() {
	for p.at < len(p.text) {
		switch p.text[p.at] {
		case ' ', '\t', '\r', '\n':
			p.at++
		default:
			return
		}
	}
}

// accept steps over c, and space before it, if it is next.
func (p *jsonParser) accept(c byte) bool {
	p.space()
	if p.at < len(p.text) && p.text[p.at] == c {
		p.at++
		return true
	}
	return false
}

func (p *jsonParser) value(depth int) (any, error) {
	if depth > maxDepth {
		return nil, errDepth
	}
	if p.left--; p.left < 0 {
		return nil, errValues
	}
	p.space()
	if p.at == len(p.text) {
		return nil, errors.New("unexpected end")
	}
	switch c := p.text[p.at]; {
	case c == '{':
		p.at++
		return p.object(depth)
	case c == '[':
		p.at++
		return p.array(depth)
	case c == '"':
		return p.str()
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	}
	for _, w := range []struct {
		word  string
		value any
	}{{"true", true}, {"false", false}, {"null", nil}} {
		if end := p.at + len(w.word); end <= len(p.text) && string(p.text[p.at:end]) == w.word {
			p.at = end
			return w.value, nil
		}
	}
	return nil, fmt.Errorf("unexpected %q", p.text[p.at])
}

func (p *jsonParser) object(depth int) (Msg, error) {
	m := Msg{}
	if p.accept('}') {
		return m, nil
	}
	for {
		p.space()
		name, err := p.str()
		if err != nil {
			return nil, err
		}
		if !p.accept(':') {
			return nil, errors.New("no colon after a name")
		}
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		m = append(m, Field{name, v})
		if p.accept('}') {
			return m, nil
		}
		if !p.accept(',') {
			return nil, errors.New("no comma or brace after a value")
		}
	}
}

func (p *jsonParser) array(depth int) ([]any, error) {
	list := []any{}
	if p.accept(']') {
		return list, nil
	}
	for {
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
		if p.accept(']') {
			return list, nil
		}
		if !p.accept(',') {
			return nil, errors.New("no comma or bracket after a value")
		}
	}
}

func (p *jsonParser) number() (any, error) {
	start, whole := p.at, true
	for p.at < len(p.text) {
		switch c := p.text[p.at]; {
		case c == '.' || c == 'e' || c == 'E':
			whole = false
		case c == '-' || c == '+' || c >= '0' && c <= '9':
		default:
			goto end
		}
		p.at++
	}
end:
	s := string(p.text[start:p.at])
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

func (p *jsonParser) str() (string, error) {
	if p.at == len(p.text) || p.text[p.at] != '"' {
		return "", errors.New("a string was expected")
	}
	p.at++
	var out []byte
	for p.at < len(p.text) {
		c := p.text[p.at]
		p.at++
		switch {
		case c == '"':
			return strings.ToValidUTF8(string(out), "\uFFFD"), nil // as appendString would write it
		case c < 0x20:
			return "", errors.New("control character in a string")
		case c != '\\':
			out = append(out, c)
		default:
			r, err := p.escape()
			if err != nil {
				return "", err
			}
			out = utf8.AppendRune(out, r)
		}
	}
	return "", errors.New("string without end")
}

// escape reads what follows a backslash, a pair of surrogates included.
func (p *jsonParser) escape() (rune, error) {
	if p.at == len(p.text) {
		return 0, errors.New("string without end")
	}
	c := p.text[p.at]
	p.at++
	switch c {
	case '"', '\\', '/':
		return rune(c), nil
	case 'n':
		return '\n', nil
	case 't':
		return '\t', nil
	case 'r':
		return '\r', nil
	case 'b':
		return '\b', nil
	case 'f':
		return '\f', nil
	case 'u':
		hi, err := p.hex4()
		if err != nil || hi < 0xd800 || hi >= 0xe000 {
			return hi, err
		}
		if p.at+1 < len(p.text) && p.text[p.at] == '\\' && p.text[p.at+1] == 'u' {
			back := p.at
			p.at += 2
			lo, err := p.hex4()
			if err == nil && hi < 0xdc00 && lo >= 0xdc00 && lo < 0xe000 {
				return 0x10000 + (hi-0xd800)<<10 + (lo - 0xdc00), nil
			}
			p.at = back
		}
		return utf8.RuneError, nil
	}
	return 0, fmt.Errorf("unknown escape \\%c", c)
}

func (p *jsonParser) hex4() (rune, error) {
	if p.at+4 > len(p.text) {
		return 0, errors.New("\\u without four digits")
	}
	n, err := strconv.ParseUint(string(p.text[p.at:p.at+4]), 16, 32)
	if err != nil {
		return 0, errors.New("\\u without four digits")
	}
	p.at += 4
	return rune(n), nil
}
