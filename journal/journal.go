// SPDX-License-Identifier: Apache-2.0

// Package journal writes what happens, a line each: level=INFO msg="relay: door open" room=relay port4=39513. It is what of log/slog a
// router needs: text without times, since procd and journald add their own, for a tenth of the flash (log/slog links encoding/json).
package journal

import (
	"encoding"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"unicode"
	"unicode/utf8"
)

// Level is how much a line matters.
type Level int32

const (
	Debug Level = iota - 1
	Info        // the zero value
	Warn
	Error
)

var levels = [...]string{"DEBUG", "INFO", "WARN", "ERROR"}

// String returns the name as it stands in a line.
func (l Level) String() string { return levels[min(max(l, Debug), Error)-Debug] }

// ParseLevel reads a level's name in lower case, as it is configured; false for any other text.
func ParseLevel(name string) (Level, bool) {
	for i, l := range [...]string{"debug", "info", "warn", "error"} {
		if l == name {
			return Level(i) + Debug, true
		}
	}
	return Info, false
}

// Logger writes lines of a level and above. It may be used by many at once; each line is one Write.
type Logger struct {
	out  *output // nil: nobody listens
	with []byte  // what follows the message in each line, with a space before
}

type output struct {
	mu    sync.Mutex
	w     io.Writer
	level atomic.Int32
	line  []byte
}

// New returns a logger that writes to w. What w answers is of no interest.
func New(w io.Writer, level Level) *Logger {
	l := &Logger{out: &output{w: w}}
	l.SetLevel(level)
	return l
}

// Discard returns a logger to which nobody listens.
func Discard() *Logger { return &Logger{} }

// SetLevel changes the least level that is written, for all that With made of the same New.
func (l *Logger) SetLevel(level Level) {
	if l.out != nil {
		l.out.level.Store(int32(level))
	}
}

// Enabled reports whether lines of a level are written.
func (l *Logger) Enabled(level Level) bool {
	return l.out != nil && level >= Level(l.out.level.Load())
}

// With returns a logger whose lines have these pairs of key and value after the message.
func (l *Logger) With(pairs ...any) *Logger {
	return &Logger{out: l.out, with: appendPairs(append([]byte(nil), l.with...), pairs)}
}

// Debug writes a line with pairs of key and value, for those who look for a fault.
func (l *Logger) Debug(msg string, pairs ...any) { l.write(Debug, msg, pairs) }

// Info writes a line with pairs of key and value.
func (l *Logger) Info(msg string, pairs ...any) { l.write(Info, msg, pairs) }

// Warn writes a line with pairs of key and value, for somebody who should know.
func (l *Logger) Warn(msg string, pairs ...any) { l.write(Warn, msg, pairs) }

// Error writes a line with pairs of key and value, for somebody who must act.
func (l *Logger) Error(msg string, pairs ...any) { l.write(Error, msg, pairs) }

func (l *Logger) write(level Level, msg string, pairs []any) {
	if !l.Enabled(level) {
		return
	}
	o := l.out
	o.mu.Lock()
	defer o.mu.Unlock()
	b := append(o.line[:0], "level="...)
	b = append(b, level.String()...)
	b = append(b, " msg="...)
	b = appendText(b, msg)
	b = append(b, l.with...)
	b = append(appendPairs(b, pairs), '\n')
	o.w.Write(b)
	o.line = b[:0]
}

// appendPairs writes " key=value" for each pair. A value without a key, which is a fault of the caller's, is not lost.
func appendPairs(b []byte, pairs []any) []byte {
	for len(pairs) > 0 {
		key, ok := pairs[0].(string)
		if !ok || len(pairs) == 1 {
			key, pairs = "!BADKEY", append([]any{nil}, pairs...)
		}
		b = append(b, ' ')
		b = append(appendText(b, key), '=')
		b = appendValue(b, pairs[1])
		pairs = pairs[2:]
	}
	return b
}

func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		return appendText(b, v)
	case int:
		return strconv.AppendInt(b, int64(v), 10)
	case uint64:
		return strconv.AppendUint(b, v, 10)
	case bool:
		return strconv.AppendBool(b, v)
	case encoding.TextMarshaler:
		if text, err := v.MarshalText(); err == nil {
			return appendText(b, string(text))
		}
	}
	return appendText(b, fmt.Sprintf("%+v", v))
}

// appendText writes a text, quoted where a reader of the line could take it for more than one.
func appendText(b []byte, s string) []byte {
	if plain(s) {
		return append(b, s...)
	}
	return strconv.AppendQuote(b, s)
}

func plain(s string) bool {
	for _, r := range s {
		if r <= ' ' || r == '=' || r == '"' || r == utf8.RuneError || !unicode.IsPrint(r) {
			return false
		}
	}
	return s != ""
}
