// SPDX-License-Identifier: Apache-2.0

package json

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Raw is a value as it is written. Encode takes it over and Decode hands it out, without a look inside.
type Raw = []byte

// Encode writes what Decode reads: a truth, string, number, slice, array, map by strings or structure, a pointer to one of
// these, or what writes itself as text, such as a time; nothing embedded. Tags are those of encoding/json: a name, "-", and omitempty or omitzero. A map's
// names are sorted, so that the same value is always the same text. Octets are Raw. An error names what can't be written.
func Encode(value any) ([]byte, error) {
	return appendAny(nil, reflect.ValueOf(value), 0)
}

func appendAny(b []byte, v reflect.Value, depth int) ([]byte, error) {
	if depth > maxDepth {
		return b, fmt.Errorf("more than %d levels", maxDepth)
	}
	if !v.IsValid() {
		return append(b, "null"...), nil
	}
	kind := v.Kind()
	if (kind == reflect.Pointer || kind == reflect.Interface) && v.IsNil() {
		return append(b, "null"...), nil
	}
	if v.CanInterface() {
		if w, ok := v.Interface().(encoding.TextMarshaler); ok {
			text, err := w.MarshalText()
			return appendString(b, string(text)), err
		}
	}
	switch kind {
	case reflect.Pointer, reflect.Interface:
		return appendAny(b, v.Elem(), depth+1)
	case reflect.Bool:
		return strconv.AppendBool(b, v.Bool()), nil
	case reflect.String:
		return appendString(b, v.String()), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return strconv.AppendInt(b, v.Int(), 10), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return strconv.AppendUint(b, v.Uint(), 10), nil
	case reflect.Float32, reflect.Float64:
		return appendFloat(b, v.Float(), v.Type().Bits())
	case reflect.Struct:
		return appendStructure(b, v, depth)
	case reflect.Map:
		return appendMap(b, v, depth)
	case reflect.Slice, reflect.Array:
		return appendList(b, v, depth)
	}
	return b, fmt.Errorf("%s can't be written", v.Type())
}

func appendFloat(b []byte, f float64, bits int) ([]byte, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return b, fmt.Errorf("%v is no number of JSON", f)
	}
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(b, f, format, -1, bits), nil
}

func appendList(b []byte, v reflect.Value, depth int) ([]byte, error) {
	if v.Kind() == reflect.Slice {
		if v.IsNil() {
			return append(b, "null"...), nil
		}
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return append(b, v.Bytes()...), nil
		}
	}
	b = append(b, '[')
	for i := range v.Len() {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = appendAny(b, v.Index(i), depth+1); err != nil {
			return b, fmt.Errorf("%d: %w", i, err)
		}
	}
	return append(b, ']'), nil
}

func appendMap(b []byte, v reflect.Value, depth int) ([]byte, error) {
	if v.Type().Key().Kind() != reflect.String {
		return b, fmt.Errorf("%s can't be written: its keys are no strings", v.Type())
	}
	if v.IsNil() {
		return append(b, "null"...), nil
	}
	names := make([]string, 0, v.Len())
	for _, k := range v.MapKeys() {
		names = append(names, k.String())
	}
	slices.Sort(names)
	b = append(b, '{')
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, name), ':')
		var err error
		if b, err = appendAny(b, v.MapIndex(reflect.ValueOf(name).Convert(v.Type().Key())), depth+1); err != nil {
			return b, fmt.Errorf("%s: %w", name, err)
		}
	}
	return append(b, '}'), nil
}

func appendStructure(b []byte, v reflect.Value, depth int) ([]byte, error) {
	b = append(b, '{')
	first := true
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, option, _ := strings.Cut(f.Tag.Get("json"), ",")
		x := v.Field(i)
		if f.Anonymous {
			return b, fmt.Errorf("%s can't be written: it has %s embedded", v.Type(), f.Name)
		}
		if !f.IsExported() || name == "-" || option == "omitempty" && empty(x) || option == "omitzero" && zero(x) {
			continue
		}
		if name == "" {
			name = f.Name
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(appendString(b, name), ':')
		var err error
		if b, err = appendAny(b, x, depth+1); err != nil {
			return b, fmt.Errorf("%s: %w", name, err)
		}
	}
	return append(b, '}'), nil
}

// empty is what omitempty leaves out.
func empty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return v.Len() == 0
	case reflect.Struct:
		return false
	}
	return v.IsZero()
}

// zero is what omitzero leaves out.
func zero(v reflect.Value) bool {
	if z, ok := v.Interface().(interface{ IsZero() bool }); ok {
		return v.Kind() == reflect.Pointer && v.IsNil() || z.IsZero()
	}
	return v.IsZero()
}

// appendString writes a string; what is no UTF-8 becomes U+FFFD.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			i++
			switch {
			case c == '"' || c == '\\':
				b = append(b, '\\', c)
			case c == '\n':
				b = append(b, `\n`...)
			case c < ' ' || c == 0x7f:
				const hex = "0123456789abcdef"
				b = append(b, `\u00`...)
				b = append(b, hex[c>>4], hex[c&15])
			default:
				b = append(b, c)
			}
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		b = utf8.AppendRune(b, r) // RuneError for what is none
		i += n
	}
	return append(b, '"')
}
