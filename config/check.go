// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// key names a key of the i-th table of an array, as errors do.
func key(table string, i int, name string) string { return fmt.Sprintf("%s[%d].%s", table, i, name) }

// or is a value, or what stands for an empty one.
func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

// choice checks an enumeration. The first of the allowed values is the default.
func (p *parser) choice(key, value string, allowed ...string) string {
	if value == "" {
		return allowed[0]
	}
	if !slices.Contains(allowed, value) {
		p.fail(key, "%q is not one of \"%s\"", value, strings.Join(allowed, `", "`))
	}
	return value
}

// number checks a range; nil is the default.
func (p *parser) number(key string, value *int64, otherwise, low, high int64) int64 {
	if value == nil {
		return otherwise
	}
	if *value < low || *value > high {
		p.fail(key, "%d is out of range; write a number from %d to %d", *value, low, high)
		return otherwise
	}
	return *value
}

// kbit is a rate in kbit/s, up to 100 Gbit/s, as bit/s.
func (p *parser) kbit(key string, value int64) float64 {
	return 1000 * float64(p.number(key, &value, 0, 0, 100_000_000))
}

// share checks a share of a whole, above 0 and up to 1; nil is the default.
func (p *parser) share(key string, value *float64, otherwise float64) float64 {
	if value == nil {
		return otherwise
	}
	if !(*value > 0 && *value <= 1) {
		p.fail(key, "%v is out of range; write a share of the capacity above 0 and up to 1, e.g. 0.9", *value)
		return otherwise
	}
	return *value
}

// duration reads a duration and checks its range; "" is the default.
func (p *parser) duration(key, value string, otherwise, low, high time.Duration) time.Duration {
	if value == "" {
		return otherwise
	}
	d, err := time.ParseDuration(value)
	if err != nil {
		p.fail(key, "%q is not a duration; write e.g. \"10s\", \"500ms\" or \"2h4m\"", value)
		return otherwise
	}
	if d < low || d > high {
		p.fail(key, "%s is out of range; write a duration from %s to %s", d, low, high)
		return otherwise
	}
	return d
}

// size reads octets, such as 50GB; "" is 0.
func (p *parser) size(key, value string) uint64 {
	if value == "" {
		return 0
	}
	return try(p, key, value, parseSize)
}

// name checks a name that people type in commands and that stands in the nft table.
func (p *parser) name(key, value string) {
	switch {
	case value == "":
		p.fail(key, "missing: give it a short name, e.g. name = \"dsl\"")
	case len(value) > 32 || strings.Trim(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "":
		p.fail(key, "%q is not a name; use up to 32 letters, digits, '-', '_' and '.'", value)
	}
}

// device checks the kernel's rule for interface names (IFNAMSIZ, net/core/dev.c dev_valid_name), and that nft can name it: a * is a pattern there.
func (p *parser) device(key, value string) {
	if value == "" || len(value) > 15 || value == "." || value == ".." || strings.ContainsAny(value, "/: \t\n\"\\*") {
		p.fail(key, "%q is not a device name; see `ip link` for those that exist", value)
	}
}

// unique holds the n values of a key in a table's sections apart.
func (p *parser) unique(table, option string, n int, name func(int) string) {
	seen := map[string]int{}
	for i := range n {
		s := name(i)
		if j, dup := seen[s]; dup && s != "" {
			p.fail(key(table, i, option), "%q is used by %s %d as well; each needs its own", s, table, j+1)
		}
		seen[s] = i
	}
}

// try parses one value, recording the error at its key.
func try[T any](p *parser, key, value string, parse func(string) (T, error)) T {
	v, err := parse(value)
	if err != nil {
		p.fail(key, "%v", err)
	}
	return v
}

// each parses values, and leaves out those that are wrong, whose errors it records.
func each[T any](p *parser, key string, values []string, parse func(string) (T, error)) []T {
	var out []T
	for _, s := range values {
		if v, err := parse(s); err != nil {
			p.fail(key, "%v", err)
		} else {
			out = append(out, v)
		}
	}
	return out
}
