// SPDX-License-Identifier: Apache-2.0

// Package json reads and writes JSON (RFC 8259) for a tenth of encoding/json's flash: piece by piece, or from and into structures
// with its tags.
package json

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Scanner walks through a text once.
type Scanner struct {
	text []byte
	at   int
}

// NewScanner begins at a text's begin.
func NewScanner(text []byte) *Scanner { return &Scanner{text: text} }

// Next is the octet that the next piece begins with, after space; an error where the text ends.
func (s *Scanner) Next() (byte, error) {
	for ; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c, nil
		}
	}
	return 0, errors.New("unexpected end")
}

// Accept steps over c, and space before it, if it is next.
func (s *Scanner) Accept(c byte) bool {
	next, err := s.Next()
	if err != nil || next != c {
		return false
	}
	s.at++
	return true
}

// End holds that nothing but space is left.
func (s *Scanner) End() error {
	if _, err := s.Next(); err == nil {
		return errors.New("text after the end")
	}
	return nil
}

// Place adds to an error where the scanner stands.
func (s *Scanner) Place(err error) error { return fmt.Errorf("json: octet %d: %w", s.at, err) }

// Object reads an object; member is called to read each value.
func (s *Scanner) Object(member func(name string) error) error {
	if !s.Accept('{') {
		return errors.New("an object was expected")
	}
	if s.Accept('}') {
		return nil
	}
	for {
		name, err := s.String()
		if err != nil {
			return err
		}
		if !s.Accept(':') {
			return errors.New("no colon after a name")
		}
		if err := member(name); err != nil {
			return err
		}
		if s.Accept('}') {
			return nil
		}
		if !s.Accept(',') {
			return errors.New("no comma or brace after a value")
		}
	}
}

// Array reads an array; element is called to read each value.
func (s *Scanner) Array(element func() error) error {
	if !s.Accept('[') {
		return errors.New("an array was expected")
	}
	if s.Accept(']') {
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		if s.Accept(']') {
			return nil
		}
		if !s.Accept(',') {
			return errors.New("no comma or bracket after a value")
		}
	}
}

// Word reads true, false or null.
func (s *Scanner) Word() (string, error) {
	c, err := s.Next()
	if err != nil {
		return "", err
	}
	for _, word := range []string{"true", "false", "null"} {
		if bytes.HasPrefix(s.text[s.at:], []byte(word)) {
			s.at += len(word)
			return word, nil
		}
	}
	return "", fmt.Errorf("unexpected %q", c)
}

// Number reads a number, as it is written; whole tells that it has neither fraction nor exponent.
func (s *Scanner) Number() (number string, whole bool, err error) {
	if _, err := s.Next(); err != nil {
		return "", false, err
	}
	start, whole := s.at, true
	s.step("-")
	first := s.at
	n := s.digits()
	ok := n == 1 || n > 1 && s.text[first] != '0'
	if s.step(".") {
		whole, ok = false, s.digits() > 0 && ok
	}
	if s.step("eE") {
		s.step("+-")
		whole, ok = false, s.digits() > 0 && ok
	}
	number = string(s.text[start:s.at])
	if !ok {
		return "", false, fmt.Errorf("bad number %q", number)
	}
	return number, whole, nil
}

// step goes past one octet that is among cs.
func (s *Scanner) step(cs string) bool {
	if s.at == len(s.text) || strings.IndexByte(cs, s.text[s.at]) < 0 {
		return false
	}
	s.at++
	return true
}

// digits goes past digits and counts them.
func (s *Scanner) digits() (n int) {
	for s.step("0123456789") {
		n++
	}
	return n
}

// String reads a string. Each octet in it that is no UTF-8 becomes the replacement character.
func (s *Scanner) String() (string, error) {
	if !s.Accept('"') {
		return "", errors.New("a string was expected")
	}
	var out []byte
	for s.at < len(s.text) {
		c := s.text[s.at]
		s.at++
		switch {
		case c == '"':
			return string(out), nil
		case c < 0x20:
			return "", errors.New("control character in a string")
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRune(s.text[s.at-1:])
			s.at += n - 1
			out = utf8.AppendRune(out, r)
		case c != '\\':
			out = append(out, c)
		default:
			r, err := s.escape()
			if err != nil {
				return "", err
			}
			out = utf8.AppendRune(out, r)
		}
	}
	return "", errors.New("string without end")
}

// escape reads what follows a backslash, a pair of surrogates included.
func (s *Scanner) escape() (rune, error) {
	if s.at == len(s.text) {
		return 0, errors.New("string without end")
	}
	c := s.text[s.at]
	s.at++
	switch c {
	case '"', '\\', '/':
		return rune(c), nil
	case 'n':
		return '\n', nil
	case 't':
		return '\t', nil
	case 'r':
		return '\r', nil
	case 'b':
		return '\b', nil
	case 'f':
		return '\f', nil
	case 'u':
		hi, err := s.hex4()
		if err != nil || hi < 0xd800 || hi >= 0xe000 {
			return hi, err
		}
		if s.at+1 < len(s.text) && s.text[s.at] == '\\' && s.text[s.at+1] == 'u' {
			back := s.at
			s.at += 2
			lo, err := s.hex4()
			if err == nil && hi < 0xdc00 && lo >= 0xdc00 && lo < 0xe000 {
				return 0x10000 + (hi-0xd800)<<10 + (lo - 0xdc00), nil
			}
			s.at = back
		}
		return utf8.RuneError, nil
	}
	return 0, fmt.Errorf("unknown escape \\%c", c)
}

func (s *Scanner) hex4() (rune, error) {
	if s.at+4 > len(s.text) {
		return 0, errors.New("\\u without four digits")
	}
	n, err := strconv.ParseUint(string(s.text[s.at:s.at+4]), 16, 32)
	if err != nil {
		return 0, errors.New("\\u without four digits")
	}
	s.at += 4
	return rune(n), nil
}
