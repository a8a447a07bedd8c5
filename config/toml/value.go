// SPDX-License-Identifier: Apache-2.0

package toml

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// value reads a value, however it is written.
func (p *parser) value(depth int) any {
	if depth > maxDepth {
		p.fail("too deep")
	}
	switch p.peek() {
	case '"', '\'':
		return p.quoted()
	case '[':
		return p.array(depth + 1)
	case '{':
		return p.inline(depth + 1)
	}
	word := p.text[p.at:]
	if n := strings.IndexAny(word, " \t\r\n,]}#"); n >= 0 {
		word = word[:n]
	}
	value := scalar(word)
	if value == nil {
		p.fail("%q is not a value: a text stands in quotes, anything else is a number, true or false", word)
		return nil
	}
	p.at += len(word)
	return value
}

// array reads `[1, 2]`.
func (p *parser) array(depth int) []item {
	begin, items := p.line, []item{}
	p.take("[")
	for p.skipBlank(true); !p.take("]"); p.skipBlank(true) {
		line := p.line
		items = append(items, item{line, p.value(depth)})
		if p.skipBlank(true); !p.take(",") && p.peek() != ']' {
			p.fail("expected ',' or ']' in the array that begins on line %d", begin)
			break
		}
	}
	return items
}

// inline reads `{a = 1, b = 2}`.
func (p *parser) inline(depth int) *table {
	t := &table{line: p.line}
	p.take("{")
	for p.skipBlank(true); !p.take("}"); p.skipBlank(true) {
		p.pair(t, depth)
		if p.skipBlank(true); !p.take(",") && p.peek() != '}' {
			p.fail("expected ',' or '}' in the table that begins on line %d", t.line)
			break
		}
	}
	t.by = byBraces
	return t
}

// scalar is the number or truth that a word means, nil if none.
func scalar(word string) any {
	switch word {
	case "true":
		return true
	case "false":
		return false
	case "nan", "+nan", "-nan":
		return math.NaN()
	}
	digits := strings.TrimLeft(word, "+-")
	isPart := isDigit
	if strings.HasPrefix(digits, "0x") {
		isPart = isHexDigit
	}
	if len(word)-len(digits) > 1 || !underscoresStandBetween(isPart, digits) {
		return nil
	}
	plain := strings.ReplaceAll(word, "_", "")
	switch {
	case strings.HasPrefix(digits, "0x") || strings.HasPrefix(digits, "0o") || strings.HasPrefix(digits, "0b"):
		if n, err := strconv.ParseInt(plain, 0, 64); err == nil && digits == word {
			return n
		}
		return nil
	case strings.Trim(plain, "+-0123456789.eE") != "" && digits != "inf":
		return nil // what only Go takes for a number
	case len(digits) > 1 && digits[0] == '0' && strings.IndexByte(".eE", digits[1]) < 0:
		return nil // a zero in front
	}
	if n, err := strconv.ParseInt(plain, 10, 64); err == nil {
		return n
	}
	if dot := strings.IndexByte(digits, '.'); dot == 0 || dot > 0 && (!isDigit(digits[dot-1]) || dot+1 == len(digits) || !isDigit(digits[dot+1])) {
		return nil
	}
	if f, err := strconv.ParseFloat(plain, 64); err == nil && strings.ContainsAny(digits, ".eEn") {
		return f
	}
	return nil
}

func underscoresStandBetween(isPart func(byte) bool, s string) bool {
	for i := range len(s) {
		if s[i] == '_' && (i < 1 || i == len(s)-1 || !isPart(s[i-1]) || !isPart(s[i+1])) {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isHexDigit(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }

// quoted reads a text in one of the four kinds of quotes.
func (p *parser) quoted() string {
	quote, begin := p.text[p.at:p.at+1], p.line
	long := p.take(strings.Repeat(quote, 3))
	end := quote
	if long {
		end = strings.Repeat(quote, 3)
		p.take("\r")
		if p.take("\n") {
			p.line++
		}
	} else {
		p.take(quote)
	}
	var text strings.Builder
	for !p.take(end) {
		switch c := p.peek(); {
		case !p.more():
			p.line = begin
			p.fail("the text that begins here has no %s at its end", end)
			return ""
		case c == '\n' && !long:
			p.fail("the text has no %s at the end of the line", end)
			return ""
		case c == '\\' && quote == `"`:
			p.escape(&text, long)
			continue
		case c == '\n':
			p.line++
		}
		text.WriteByte(p.peek())
		p.at++
	}
	for n := 0; long && n < 2 && p.take(quote); n++ { // of up to five quotes the last three end the text
		text.WriteString(quote)
	}
	return text.String()
}

// escape reads what begins with a backslash.
func (p *parser) escape(text *strings.Builder, long bool) {
	p.at++
	if long && p.endsLine() {
		return
	}
	c := p.peek()
	p.at++
	if i := strings.IndexByte(`btnfre"\`, c); i >= 0 {
		text.WriteByte("\b\t\n\f\r\x1b\"\\"[i])
		return
	}
	digits := 0
	if i := strings.IndexByte("xuU", c); i >= 0 {
		digits = 2 << i
	}
	if digits == 0 || len(p.text)-p.at < digits {
		p.fail(`a backslash begins an escape such as \n or \u00e9; write \\ for itself`)
		return
	}
	n, err := strconv.ParseUint(p.text[p.at:p.at+digits], 16, 32)
	if err != nil || n > utf8.MaxRune || !utf8.ValidRune(rune(n)) {
		p.fail(`\%c takes %d hexadecimal digits of a Unicode character`, c, digits)
		return
	}
	text.WriteRune(rune(n))
	p.at += digits
}

// endsLine goes past all blanks if nothing but blanks follows on the line.
func (p *parser) endsLine() bool {
	rest := strings.TrimLeft(p.text[p.at:], " \t\r")
	if !strings.HasPrefix(rest, "\n") {
		return false
	}
	next := strings.TrimLeft(rest, " \t\r\n")
	p.line += strings.Count(rest[:len(rest)-len(next)], "\n")
	p.at = len(p.text) - len(next)
	return true
}
