// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// Load reads and parses a configuration file.
func Load(path string) (*Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w (write one: spillway check -reference prints every key with its meaning)", err)
	}
	return Parse(path, string(text))
}

// Parse parses a configuration. file is the name that errors show. All errors are found, not just the first; each is one line.
func Parse(file, text string) (*Config, error) {
	p := &parser{file: file, lines: locate(text)}
	var raw rawFile
	meta, err := toml.Decode(text, &raw)
	if err != nil {
		return nil, p.syntax(err)
	}
	p.unknown(meta, text)
	c := p.build(&raw)
	if len(p.errs) > 0 {
		return nil, errors.Join(p.errs...)
	}
	return c, nil
}

// parser collects errors with their places.
type parser struct {
	file  string
	lines map[string]int
	errs  []error
}

// fail records an error at a key. The text says what is wrong and what to write.
func (p *parser) fail(key, format string, args ...any) {
	p.failAt(lineOf(p.lines, key), key, fmt.Sprintf(format, args...))
}

func (p *parser) failAt(line int, key, text string) {
	place := p.file
	if line > 0 {
		place += ":" + strconv.Itoa(line)
	}
	p.errs = append(p.errs, fmt.Errorf("%s: %s: %s", place, key, text))
}

// syntax renders the TOML library's own errors in our form. Those of syntax carry a position; those of type say it in
// words only: `toml: line 12 (last key "a.b"): cause`.
func (p *parser) syntax(err error) error {
	text := strings.TrimPrefix(err.Error(), "toml: ")
	if pe := (toml.ParseError{}); errors.As(err, &pe) && pe.Message != "" {
		text = fmt.Sprintf("line %d (last key %q): %s", pe.Position.Line, pe.LastKey, pe.Message)
	}
	line, key := 0, ""
	place, cause, ok := strings.Cut(text, "): ")
	if ok {
		number, rest, _ := strings.Cut(strings.TrimPrefix(place, "line "), " ")
		if n, err := strconv.Atoi(number); err == nil {
			line, text = n, cause
			key = strings.Trim(strings.TrimPrefix(rest, "(last key "), `"`)
		}
	}
	if key == "" {
		key = "syntax"
	}
	p.failAt(line, key, text)
	return errors.Join(p.errs...)
}

// unknown reports keys that nobody reads, with the nearest known one.
func (p *parser) unknown(meta toml.MetaData, text string) {
	undecoded := meta.Undecoded()
	if len(undecoded) == 0 {
		return
	}
	known := knownKeys()
	seen := map[string]bool{}
	for _, key := range undecoded {
		name := key.String()
		if seen[name] || underSeen(seen, name) {
			continue
		}
		seen[name] = true
		hint := "no such key; see spillway check -reference"
		if near := nearest(key[len(key)-1], known[strings.Join(key[:len(key)-1], ".")]); near != "" {
			hint = fmt.Sprintf("no such key; did you mean %s?", near)
		}
		for _, line := range linesOfKey(text, key) {
			p.failAt(line, name, hint)
		}
	}
}

func underSeen(seen map[string]bool, name string) bool {
	for s := range seen {
		if strings.HasPrefix(name, s+".") {
			return true
		}
	}
	return false
}

// linesOfKey lists the lines on which a key stands; in an array of tables there may be several.
func linesOfKey(text string, key toml.Key) []int {
	name := key.String()
	var at []int
	for k, line := range locate(text) {
		if withoutIndexes(k) == name {
			at = append(at, line)
		}
	}
	slices.Sort(at)
	if len(at) == 0 {
		at = []int{0}
	}
	return at
}

func withoutIndexes(key string) string {
	for {
		i := strings.IndexByte(key, '[')
		j := strings.IndexByte(key, ']')
		if i < 0 || j < i {
			return key
		}
		key = key[:i] + key[j+1:]
	}
}
