// SPDX-License-Identifier: Apache-2.0

package uci

import (
	"fmt"
	"strconv"
	"strings"
)

// form is how an option's text becomes a TOML value.
type form int

const (
	text     form = iota // "text"
	whole                // 42
	share                // 0.9, from 0.9 or 90%
	flag                 // true, from UCI's 1, on, true, yes, enabled
	duration             // "10s", from 10s or 10 (seconds)
	texts                // ["a", "b"], from a list or from words in one option
	wholes               // [1, 2]
	initOnly             // for the init script; no line in the TOML
)

// render turns an option's text into TOML.
func render(f form, o Option) (string, error) {
	if f == texts || f == wholes {
		return renderList(f, o)
	}
	if len(o.Values) != 1 {
		return "", fmt.Errorf("takes one value, not a list of %d", len(o.Values))
	}
	v := o.Values[0]
	switch f {
	case whole:
		base := 10
		if strings.HasPrefix(v, "0x") {
			base = 0 // masks are written so
		}
		n, err := strconv.ParseInt(v, base, 64)
		if err != nil {
			return "", fmt.Errorf("%q is no whole number", v)
		}
		return strconv.FormatInt(n, 10), nil
	case share:
		return renderShare(v)
	case flag:
		on, ok := ParseBool(v)
		if !ok {
			return "", fmt.Errorf("%q is no flag; write 0 or 1", v)
		}
		return strconv.FormatBool(on), nil
	case duration:
		if _, err := strconv.ParseUint(v, 10, 32); err == nil {
			v += "s"
		}
	}
	return quote(v), nil
}

func renderShare(v string) (string, error) {
	number, percent := strings.CutSuffix(v, "%")
	f, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || f != f || f < -1e9 || f > 1e9 {
		return "", fmt.Errorf("%q is no share; write e.g. 0.9 or 90%%", v)
	}
	if percent {
		f /= 100
	}
	out := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(out, ".") {
		out += ".0"
	}
	return out, nil
}

// renderList writes an array. One option may hold several words, as in `option interfaces 'br-lan br-guest'`.
func renderList(f form, o Option) (string, error) {
	values := o.Values
	if !o.List {
		values = strings.Fields(values[0])
	}
	var items []string
	for _, v := range values {
		if v == "" {
			continue
		}
		if f == wholes {
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				return "", fmt.Errorf("%q is no whole number", v)
			}
			items = append(items, strconv.FormatInt(n, 10))
			continue
		}
		items = append(items, quote(v))
	}
	return "[" + strings.Join(items, ", ") + "]", nil
}
