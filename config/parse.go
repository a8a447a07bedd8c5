// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"spillway/config/toml"
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
	var raw rawFile
	lines, problems := toml.Decode(text, &raw)
	p := &parser{file: file, lines: lines}
	whole := true
	for _, problem := range problems {
		p.failAt(problem.Line, problem.Key, problem.Text)
		whole = whole && problem.Unread
	}
	if !whole { // what couldn't be read would be called missing
		return nil, errors.Join(p.errs...)
	}
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

// lineOf is the line of a key, or of the table it would stand in.
func lineOf(lines map[string]int, key string) int {
	for key != "" {
		if n, ok := lines[key]; ok {
			return n
		}
		i := strings.LastIndexByte(key, '.')
		if i < 0 {
			return 0
		}
		key = key[:i]
	}
	return 0
}
