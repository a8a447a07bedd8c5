// SPDX-License-Identifier: Apache-2.0

// Package toml reads the configuration file: TOML 1.1 (https://toml.io/en/v1.1.0) without dates and times, which no key
// takes. It remembers the line of everything it read, so that an error can always name the place. The common library
// for TOML costs a router 136 kB of file and 25 kB of flash more; the tests hold this one against it.
package toml

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// table is what stands under "[name]" or in braces, the whole file, or what "a.b = 1" or "[a.b]" imply of a.
type table struct {
	line  int      // on which it begins, from 1
	names []string // of its keys, in the order of the text
	items map[string]item
	by    origin
}

// item is a value with its line. The value is a string, an int64, a float64, a bool, a []item, a *table or an arrayOfTables.
type item struct {
	line  int
	value any
}

// arrayOfTables are the tables of all "[[name]]".
type arrayOfTables []*table

// origin is what made a table; it decides what may be added to it.
type origin int

const (
	byHeader origin = iota // "[a]": may be said once; keys follow
	byParent               // a in "[a.b]": "[a]" may still come
	byDots                 // a in "a.b = 1": "a.c = 2" may follow
	byBraces               // "{...}": complete
)

// Problem is what is wrong with a text, and where.
type Problem struct {
	Line int    // from 1; 0: not known
	Key  string // e.g. "link[1].quota"; "syntax" where the text isn't TOML
	Text string // what is wrong and what to write
	// Unread is set for a key that the structure has no field for; all others were decoded.
	Unread bool
}

// maxDepth bounds how deep arrays, tables and keys may stand in each other: nobody needs it, and the parser calls itself.
const maxDepth = 64

// parse reads a text up to the first thing that isn't TOML.
func parse(text string) (*table, *Problem) {
	p := &parser{text: strings.TrimPrefix(text, "\ufeff"), line: 1}
	p.checkOctets()
	root := &table{line: 1}
	current := root
	for p.skipBlank(true); p.more(); p.skipBlank(true) {
		if p.peek() == '[' {
			current = p.header(root)
		} else {
			p.pair(current, 0)
		}
		if p.skipBlank(false); p.more() && !p.take("\n") {
			p.fail("only one key = value, or one [table], stands on a line")
		}
		p.line++
	}
	return root, p.problem
}

// parser walks through a text. After the first problem it stands at the end, where nothing more is found.
type parser struct {
	text    string
	at      int // the next octet
	line    int // its line, from 1
	problem *Problem
}

func (p *parser) fail(format string, args ...any) {
	if p.problem == nil {
		p.problem = &Problem{Line: p.line, Key: "syntax", Text: fmt.Sprintf(format, args...)}
	}
	p.at = len(p.text)
}

func (p *parser) more() bool { return p.at < len(p.text) }

// peek is the next octet, 0 at the end.
func (p *parser) peek() byte {
	if !p.more() {
		return 0
	}
	return p.text[p.at]
}

// take goes past what comes next if it is s.
func (p *parser) take(s string) bool {
	if !strings.HasPrefix(p.text[p.at:], s) {
		return false
	}
	p.at += len(s)
	return true
}

// checkOctets finds what may stand nowhere in TOML: invalid UTF-8 and control characters.
func (p *parser) checkOctets() {
	for i, r := range p.text {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(p.text[i:], "\ufffd"):
			p.fail("this is not UTF-8")
			return
		case r == '\n':
			p.line++
		case r == '\r' && strings.HasPrefix(p.text[i:], "\r\n"), r == '\t':
		case r < ' ' || r == 0x7f:
			p.fail("control character %U", r)
			return
		}
	}
	p.line = 1
}

// skipBlank goes past spaces and a comment; over lines, too, if newlines is set.
func (p *parser) skipBlank(newlines bool) {
	for p.more() {
		switch c := p.peek(); {
		case c == '#':
			if n := strings.IndexByte(p.text[p.at:], '\n'); n >= 0 {
				p.at += n
			} else {
				p.at = len(p.text)
			}
		case c == '\n' && newlines:
			p.line++
			p.at++
		case c == ' ' || c == '\t' || c == '\r':
			p.at++
		default:
			return
		}
	}
}

// header reads "[a.b]" or "[[a.b]]" and returns the table that the following keys belong to.
func (p *parser) header(root *table) *table {
	fresh := &table{line: p.line}
	p.take("[")
	array, closing := p.take("["), "]"
	if array {
		closing = "]]"
	}
	path := p.key()
	if !p.take(closing) {
		p.fail("expected '.' or %q after the table's name", closing)
	}
	if p.problem != nil {
		return fresh
	}
	last := len(path) - 1
	parent := p.walk(root, path[:last], byParent)
	old, there := parent.items[path[last]]
	tables, ofTables := old.value.(arrayOfTables)
	known, isTable := old.value.(*table)
	switch {
	case p.problem != nil:
	case array && (ofTables || !there):
		parent.set(path[last], item{fresh.line, append(tables, fresh)})
	case !array && !there:
		parent.set(path[last], item{fresh.line, fresh})
	case !array && isTable && known.by == byParent:
		known.by, known.line = byHeader, fresh.line
		return known
	default:
		p.fail("%s stands already on line %d", spell(path), old.line)
	}
	return fresh
}

// walk goes from a table down a path and makes the tables that aren't there yet.
func (p *parser) walk(t *table, path []string, by origin) *table {
	for i, name := range path {
		old, there := t.items[name]
		next, _ := old.value.(*table)
		if tables, ok := old.value.(arrayOfTables); ok && by == byParent {
			next = tables[len(tables)-1]
		}
		switch {
		case !there:
			next = &table{line: p.line, by: by}
			t.set(name, item{p.line, next})
		case next == nil, next.by == byBraces, by == byDots && next.by != byDots:
			p.fail("nothing can be added to %s of line %d", spell(path[:i+1]), old.line)
			return t
		}
		t = next
	}
	return t
}

// pair reads "a.b = value" into a table.
func (p *parser) pair(t *table, depth int) {
	line := p.line
	path := p.key()
	if !p.take("=") {
		p.fail("expected '.' or '=' after a key")
	}
	last := len(path) - 1
	t = p.walk(t, path[:last], byDots)
	p.skipBlank(false)
	value := p.value(depth)
	if p.problem != nil {
		return
	}
	if old, there := t.items[path[last]]; there {
		p.fail("%s stands already on line %d", spell(path), old.line)
	}
	t.set(path[last], item{line, value})
}

// key reads a dotted key and the blanks around it.
func (p *parser) key() []string {
	var path []string
	for {
		p.skipSpaces()
		switch c := p.peek(); {
		case c == '"' && !strings.HasPrefix(p.text[p.at:], `"""`), c == '\'' && !strings.HasPrefix(p.text[p.at:], "'''"):
			path = append(path, p.quoted())
		default:
			n := 0
			for n < len(p.text)-p.at && isBare(p.text[p.at+n]) {
				n++
			}
			if n == 0 {
				p.fail("expected a key: letters, digits, '-' and '_', or a text in quotes")
			}
			path = append(path, p.text[p.at:min(p.at+n, len(p.text))])
			p.at += n
		}
		if p.skipSpaces(); !p.take(".") {
			return path
		}
		if len(path) > maxDepth {
			p.fail("too deep")
		}
	}
}

func (p *parser) skipSpaces() {
	for p.peek() == ' ' || p.peek() == '\t' {
		p.at++
	}
}

func isBare(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// spell writes a key on one line, with quotes where it needs them.
func spell(path []string) string {
	var parts []string
	for _, name := range path {
		if strings.IndexFunc(name, func(r rune) bool { return r > unicode.MaxASCII || !isBare(byte(r)) }) >= 0 || name == "" {
			name = strconv.Quote(name)
		}
		parts = append(parts, name)
	}
	return strings.Join(parts, ".")
}

func (t *table) set(name string, it item) {
	if t.items == nil {
		t.items = map[string]item{}
	}
	if _, there := t.items[name]; !there {
		t.names = append(t.names, name)
	}
	t.items[name] = it
}
