// SPDX-License-Identifier: Apache-2.0

// Package uci reads OpenWrt's configuration files and turns /etc/config/spillway into Spillway's own TOML.
//
// UCI says what LuCI's pages set; TOML is what the daemon reads. So that there is one parser of values and one set of
// errors, this package checks only what UCI itself has to say (unknown sections and options, numbers and flags), and
// marks every line of the TOML with the option it came from: Explain puts UCI's names into the errors that config
// finds.
package uci

import (
	"fmt"
	"strconv"
	"strings"
)

// MaxFile is the longest file in octets that is read.
const MaxFile = 1 << 20

// Section is one `config` of a file with its options, in their order.
type Section struct {
	Type, Name string // Name "" for an anonymous one
	Index      int    // counts the sections of its type, from 0: @link[1]
	Line       int
	Options    []Option
}

// Option is one `option` or `list`; a list has all its values together.
type Option struct {
	Name   string
	Values []string
	List   bool
	Line   int
}

// Label is how `uci show` names the section: by its name, or @type[index].
func (s *Section) Label() string {
	if s.Name != "" {
		return s.Name
	}
	return fmt.Sprintf("@%s[%d]", s.Type, s.Index)
}

// Get returns an option's value, of a list the first; "" if it is absent.
func (s *Section) Get(name string) string {
	for _, o := range s.Options {
		if o.Name == name && len(o.Values) > 0 {
			return o.Values[0]
		}
	}
	return ""
}

// Parse reads the text of a UCI file, as libuci does: words in single quotes (no escapes), double quotes (backslash
// escapes) or none, quoted parts that touch join, `#` begins a comment, `;` ends a command like the line's end. The
// last `option` of a name counts; `config` with a name that was there before goes on with that section.
func Parse(text string) ([]*Section, error) {
	if len(text) > MaxFile {
		return nil, fmt.Errorf("file of %d octets, at most %d are read", len(text), MaxFile)
	}
	p := parser{lexer: lexer{text: text, line: 1}, count: map[string]int{}}
	for {
		line := p.line
		words, more, err := p.command()
		if err == nil && len(words) > 0 {
			err = p.do(words, line)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		if !more {
			return p.sections, nil
		}
	}
}

// parser collects sections.
type parser struct {
	lexer
	sections []*Section
	current  *Section
	count    map[string]int
}

func (p *parser) do(words []string, line int) error {
	switch words[0] {
	case "package", "p":
		return nil
	case "config", "c":
		if len(words) < 2 || len(words) > 3 || words[1] == "" {
			return fmt.Errorf("config wants a type and perhaps a name: config link 'dsl'")
		}
		name := ""
		if len(words) == 3 {
			name = words[2]
		}
		return p.open(words[1], name, line)
	case "option", "o", "list", "l":
		if len(words) < 2 || len(words) > 3 || !validName(words[1]) {
			return fmt.Errorf("%s wants a name and a value: %s name 'value'", words[0], words[0])
		}
		if p.current == nil {
			return fmt.Errorf("%s %s before the first config", words[0], words[1])
		}
		value := ""
		if len(words) == 3 {
			value = words[2]
		}
		p.current.set(words[1], value, words[0][0] == 'l', line)
		return nil
	}
	return fmt.Errorf("%q is none of package, config, option, list", words[0])
}

func (p *parser) open(kind, name string, line int) error {
	if name != "" {
		if !validName(name) {
			return fmt.Errorf("section name %q: letters, digits and _ only", name)
		}
		for _, s := range p.sections {
			if s.Name != name {
				continue
			}
			if s.Type != kind {
				return fmt.Errorf("section %s is of type %s and of type %s", name, s.Type, kind)
			}
			p.current = s
			return nil
		}
	}
	p.current = &Section{Type: kind, Name: name, Index: p.count[kind], Line: line}
	p.count[kind]++
	p.sections = append(p.sections, p.current)
	return nil
}

// set stores a value. A list after an option of the same name goes on from it, as in libuci.
func (s *Section) set(name, value string, list bool, line int) {
	for i := range s.Options {
		if o := &s.Options[i]; o.Name == name {
			if list {
				o.Values, o.List = append(o.Values, value), true
			} else {
				o.Values, o.List, o.Line = []string{value}, false, line
			}
			return
		}
	}
	s.Options = append(s.Options, Option{Name: name, Values: []string{value}, List: list, Line: line})
}

func validName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c == '_' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z') {
			return false
		}
	}
	return s != ""
}

// lexer cuts a text into commands of words.
type lexer struct {
	text string
	at   int
	line int
}

// command reads the words of one command; more is false at the end of the text.
func (l *lexer) command() (words []string, more bool, err error) {
	for l.at < len(l.text) {
		switch c := l.text[l.at]; {
		case c == '\n':
			l.at++
			l.line++
			return words, true, nil
		case c == ';':
			l.at++
			return words, true, nil
		case c == ' ' || c == '\t' || c == '\r':
			l.at++
		case c == '#':
			if i := strings.IndexByte(l.text[l.at:], '\n'); i >= 0 {
				l.at += i
			} else {
				l.at = len(l.text)
			}
		default:
			w, err := l.word()
			if err != nil {
				return nil, false, err
			}
			words = append(words, w)
		}
	}
	return words, false, nil
}

// word reads one word: parts quoted each its own way that touch each other.
func (l *lexer) word() (string, error) {
	var out strings.Builder
	quote := byte(0)
	for ; l.at < len(l.text); l.at++ {
		c := l.text[l.at]
		if c == 0 {
			return "", fmt.Errorf("octet 0 in the text")
		}
		if c == '\n' {
			if quote == 0 {
				break
			}
			l.line++ // a quoted value may go over lines
		}
		switch {
		case quote == '\'':
			if c == '\'' {
				quote = 0
			} else {
				out.WriteByte(c)
			}
		case c == '\\':
			if l.at++; l.at == len(l.text) {
				return "", fmt.Errorf("backslash at the end")
			}
			if l.text[l.at] == '\n' { // the line goes on
				l.line++
			} else {
				out.WriteByte(l.text[l.at])
			}
		case c == quote:
			quote = 0
		case quote == '"':
			out.WriteByte(c)
		case c == '\'' || c == '"':
			quote = c
		case c == ' ' || c == '\t' || c == '\r' || c == ';':
			return out.String(), nil
		default:
			out.WriteByte(c)
		}
	}
	if quote != 0 {
		return "", fmt.Errorf("quote %c without end", quote)
	}
	return out.String(), nil
}

// ParseBool reads a flag as libuci's users do.
func ParseBool(s string) (on, ok bool) {
	switch strings.ToLower(s) {
	case "1", "on", "true", "yes", "enabled":
		return true, true
	case "0", "off", "false", "no", "disabled", "":
		return false, true
	}
	return false, false
}

// quote writes a TOML basic string.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s { // what is no UTF-8 becomes the replacement character
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x20 || r == 0x7f:
			b.WriteString(`\u00`)
			if r < 0x10 {
				b.WriteByte('0')
			}
			b.WriteString(strconv.FormatInt(int64(r), 16))
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
