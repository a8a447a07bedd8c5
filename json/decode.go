// SPDX-License-Identifier: Apache-2.0

package json

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// maxDepth bounds how deep values may stand in each other, as the reader calls itself.
const maxDepth = 100

// Decode reads a text into the variable that into points to: a truth, string, number, slice, map by strings or
// structure, a pointer to one of these, or what reads itself from text, such as a time. The fields of structures are those that
// encoding/json writes, but found by their exact names; unknown ones are passed over. A slice of octets, such as
// json.RawMessage, takes a value as it is written.
func Decode(text []byte, into any) error {
	d := decoder{Scanner{text: text}}
	err := d.value(reflect.ValueOf(into).Elem(), 0)
	if err == nil {
		err = d.End()
	}
	if err != nil {
		return d.Place(err)
	}
	return nil
}

type decoder struct{ Scanner }

func (d *decoder) value(into reflect.Value, depth int) error {
	if depth > maxDepth {
		return errors.New("more than 100 levels")
	}
	c, err := d.Next()
	if err != nil {
		return err
	}
	kind := into.Kind()
	if kind == reflect.Slice && into.Type().Elem().Kind() == reflect.Uint8 {
		start := d.at
		if err := d.skip(depth); err != nil {
			return err
		}
		into.SetBytes(append([]byte{}, d.text[start:d.at]...))
		return nil
	}
	if c == 'n' {
		if _, err := d.Word(); err != nil {
			return err
		}
		if kind == reflect.Pointer || kind == reflect.Slice || kind == reflect.Map {
			into.SetZero()
		}
		return nil
	}
	if reader, ok := into.Addr().Interface().(encoding.TextUnmarshaler); ok {
		text, err := d.String()
		if err != nil {
			return err
		}
		return reader.UnmarshalText([]byte(text))
	}
	switch kind {
	case reflect.Pointer:
		if into.IsNil() {
			into.Set(reflect.New(into.Type().Elem()))
		}
		return d.value(into.Elem(), depth+1)
	case reflect.Struct:
		return d.structure(into, depth)
	case reflect.Map:
		return d.dictionary(into, depth)
	case reflect.Slice:
		into.Set(reflect.MakeSlice(into.Type(), 0, 0))
		return d.Array(func() error {
			into.Set(reflect.Append(into, reflect.Zero(into.Type().Elem())))
			return d.value(into.Index(into.Len()-1), depth+1)
		})
	case reflect.String:
		text, err := d.String()
		into.SetString(text)
		return err
	case reflect.Bool:
		word, err := d.Word()
		into.SetBool(word == "true")
		return err
	}
	return d.number(into)
}

// number reads into a variable of any kind of number that it fits.
func (d *decoder) number(into reflect.Value) error {
	text, _, err := d.Number()
	if err != nil {
		return err
	}
	bits := into.Type().Bits()
	switch kind := into.Kind(); {
	case kind >= reflect.Int && kind <= reflect.Int64:
		n, err := strconv.ParseInt(text, 10, bits)
		into.SetInt(n)
		return err
	case kind >= reflect.Uint && kind <= reflect.Uint64:
		n, err := strconv.ParseUint(text, 10, bits)
		into.SetUint(n)
		return err
	case kind == reflect.Float64 || kind == reflect.Float32:
		f, err := strconv.ParseFloat(text, bits)
		into.SetFloat(f)
		return err
	}
	return fmt.Errorf("a number for %s", into.Type())
}

func (d *decoder) structure(into reflect.Value, depth int) error {
	fields := map[string]int{}
	for i := range into.NumField() {
		f := into.Type().Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			name = f.Name
		}
		if f.IsExported() {
			fields[name] = i
		}
	}
	return d.Object(func(name string) error {
		if i, ok := fields[name]; ok {
			return d.value(into.Field(i), depth+1)
		}
		return d.skip(depth + 1)
	})
}

func (d *decoder) dictionary(into reflect.Value, depth int) error {
	if into.IsNil() {
		into.Set(reflect.MakeMap(into.Type()))
	}
	return d.Object(func(name string) error {
		value := reflect.New(into.Type().Elem()).Elem()
		if err := d.value(value, depth+1); err != nil {
			return err
		}
		into.SetMapIndex(reflect.ValueOf(name), value)
		return nil
	})
}

// skip reads a value for nobody.
func (d *decoder) skip(depth int) error {
	if depth > maxDepth {
		return errors.New("more than 100 levels")
	}
	c, err := d.Next()
	if err != nil {
		return err
	}
	switch {
	case c == '{':
		return d.Object(func(string) error { return d.skip(depth + 1) })
	case c == '[':
		return d.Array(func() error { return d.skip(depth + 1) })
	case c == '"':
		_, err = d.String()
	case c == '-' || c >= '0' && c <= '9':
		_, _, err = d.Number()
	default:
		_, err = d.Word()
	}
	return err
}
