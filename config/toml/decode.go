// SPDX-License-Identifier: Apache-2.0

package toml

import (
	"fmt"
	"reflect"
	"strconv"
)

// Decode puts a text into the structure that into points to, by the tags `toml:"name"` of its fields, which are strings, int64,
// float64, bool, structures, pointers to and slices of these. It returns the lines of all keys and tables by names like
// "policy.hold_up" and "link[1].quota", from 1, and all that is wrong: one problem where the text isn't TOML, else one
// for each key that has no field and for each value of another type than its field's.
func Decode(text string, into any) (lines map[string]int, problems []Problem) {
	d := decoder{lines: map[string]int{}}
	root, problem := parse(text)
	if problem != nil {
		return d.lines, []Problem{*problem}
	}
	d.table(root, reflect.ValueOf(into).Elem(), "")
	return d.lines, d.problems
}

type decoder struct {
	lines    map[string]int
	problems []Problem
}

// table decodes into a structure.
func (d *decoder) table(t *table, into reflect.Value, path string) {
	fields := map[string]int{}
	for i := range into.NumField() {
		fields[into.Type().Field(i).Tag.Get("toml")] = i
	}
	for _, name := range t.names {
		it, key := t.items[name], spell([]string{name})
		if path != "" {
			key = path + "." + key
		}
		if i, ok := fields[name]; ok {
			d.item(it, into.Field(i), key)
			continue
		}
		hint := "no such key; see spillway check -reference"
		if near := nearest(name, fields); near != "" {
			hint = fmt.Sprintf("no such key; did you mean %s?", near)
		}
		d.problems = append(d.problems, Problem{it.line, key, hint, true})
	}
}

// item decodes one value.
func (d *decoder) item(it item, into reflect.Value, key string) {
	d.lines[key] = it.line
	if into.Kind() == reflect.Pointer {
		into.Set(reflect.New(into.Type().Elem()))
		into = into.Elem()
	}
	switch v := it.value.(type) {
	case string:
		if into.Kind() == reflect.String {
			into.SetString(v)
			return
		}
	case bool:
		if into.Kind() == reflect.Bool {
			into.SetBool(v)
			return
		}
	case int64:
		switch into.Kind() {
		case reflect.Int64:
			into.SetInt(v)
			return
		case reflect.Float64:
			into.SetFloat(float64(v))
			return
		}
	case float64:
		if into.Kind() == reflect.Float64 {
			into.SetFloat(v)
			return
		}
	case *table:
		if into.Kind() == reflect.Struct {
			d.table(v, into, key)
			return
		}
	case arrayOfTables:
		items := make([]item, len(v))
		for i, t := range v {
			items[i] = item{t.line, t}
		}
		if d.array(items, into, key) {
			return
		}
	case []item:
		if d.array(v, into, key) {
			return
		}
	}
	d.problems = append(d.problems, Problem{Line: it.line, Key: key, Text: "this is " + kindOf(it.value) + "; write " + kindFor(into.Type())})
}

// array decodes into a slice; false: it isn't one.
func (d *decoder) array(items []item, into reflect.Value, key string) bool {
	if into.Kind() != reflect.Slice {
		return false
	}
	into.Set(reflect.MakeSlice(into.Type(), len(items), len(items)))
	for i, it := range items {
		d.item(it, into.Index(i), key+"["+strconv.Itoa(i)+"]")
	}
	return true
}

// kindOf calls a value by what people call it.
func kindOf(value any) string {
	switch value.(type) {
	case string:
		return "a text in quotes"
	case bool:
		return "true or false"
	case int64:
		return "a number"
	case float64:
		return "a number with a fraction"
	case *table:
		return "a table"
	}
	return "an array"
}

// kindFor says what to write for a field of a type.
func kindFor(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a text in quotes"
	case reflect.Bool:
		return "true or false"
	case reflect.Int64:
		return "a whole number, without quotes"
	case reflect.Float64:
		return "a number, without quotes"
	case reflect.Struct:
		return "a table"
	}
	if t.Elem().Kind() == reflect.Struct {
		return "tables, each under its name in [[ ]]"
	}
	return "an array, in [ ]"
}
