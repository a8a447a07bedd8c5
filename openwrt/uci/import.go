// SPDX-License-Identifier: Apache-2.0

package uci

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
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

// table says where a type of section goes.
type table struct {
	toml    string
	array   bool // [[link]]; such a section may be switched off by `enabled`
	named   bool // the section's name is the default of the key name
	options map[string]form
}

// tables is UCI's side of config/reference.toml; a test holds the two together.
func tables() map[string]table {
	return map[string]table{
		"global":  {options: map[string]form{"enabled": initOnly, "memory_limit": initOnly, "jail": initOnly, "log_level": initOnly}},
		"numbers": {toml: "numbers", options: map[string]form{"mark_mask": whole, "table": whole, "priority": whole, "endpoint": whole}},
		"lan":     {toml: "lan", options: map[string]form{"interfaces": texts, "native_mptcp": text}},
		"link": {toml: "link", array: true, named: true, options: map[string]form{
			"name": text, "device": text, "interface": text, "role": text, "down_kbit": whole, "up_kbit": whole, "metered": flag,
			"weight": whole, "quota": text, "quota_soft": text, "quota_daily": text, "billing_day": whole, "hours": text}},
		"concentrator": {toml: "concentrator", array: true, named: true, options: map[string]form{
			"name": text, "address": text, "port": whole, "protocol": text, "fast_open": text, "user": text, "password": text,
			"priority": whole, "weight": whole, "cookie": text, "pipeline": flag, "learn": text, "learn_code": whole}},
		"policy": {toml: "policy", options: map[string]form{
			"mode": text, "on_concentrator_down": text, "overflow_enter": share, "overflow_enter_for": duration,
			"overflow_leave": share, "overflow_leave_for": duration, "hold_up": duration, "standby": text, "never_worse": flag, "path_manager": text}},
		"relay": {toml: "relay", options: map[string]form{
			"max_sessions": whole, "max_per_host": whole, "idle_timeout": duration, "stop_within": duration, "dscp": text,
			"native_servers": text, "race": text, "warm": whole, "faithful": flag, "receive_buffer": whole}},
		"rule": {toml: "rule", array: true, named: true, options: map[string]form{
			"name": text, "src": texts, "dst": texts, "mac": texts, "dst_port": texts, "dscp": wholes, "domain": texts,
			"interface": texts, "days": texts, "from": text, "to": text, "action": text}},
	}
}

// Import reads a UCI file and returns Spillway's TOML. path names it in errors; its last element is the package's
// name. Every line ends with a comment that names the option it came from: see Explain. All errors are found, each
// one line that names section and option.
func Import(r io.Reader, path string) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	sections, err := Parse(string(raw))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	w := writer{path: path, pkg: filepath.Base(path), tables: tables()}
	for _, s := range sections {
		w.section(s)
	}
	if len(w.errs) > 0 {
		return nil, errors.Join(w.errs...)
	}
	return []byte(w.head.String() + w.body.String()), nil
}

// writer renders sections.
type writer struct {
	path, pkg  string
	tables     map[string]table
	head, body strings.Builder
	single     map[string]*Section // sections whose type may be there once
	errs       []error
}

func (w *writer) fail(s *Section, option string, line int, format string, args ...any) {
	w.errs = append(w.errs, fmt.Errorf("%s:%d: %s: %s", w.path, line, w.label(s, option), fmt.Sprintf(format, args...)))
}

func (w *writer) label(s *Section, option string) string {
	label := w.pkg + "." + s.Label()
	if option != "" {
		label += "." + option
	}
	return label
}

func (w *writer) section(s *Section) {
	t, ok := w.tables[s.Type]
	if !ok {
		w.fail(s, "", s.Line, "unknown type of section %q; there are global, numbers, lan, link, concentrator, policy, relay and rule", s.Type)
		return
	}
	if !t.array {
		if first := w.single[s.Type]; first != nil {
			w.fail(s, "", s.Line, "a second section of type %s; the first, %s, is at line %d", s.Type, w.label(first, ""), first.Line)
			return
		}
		if w.single == nil {
			w.single = map[string]*Section{}
		}
		w.single[s.Type] = s
	}
	if s.Type == "global" {
		w.global(s, t)
		return
	}
	on, ok := true, true
	if v := s.Get("enabled"); t.array && v != "" {
		if on, ok = ParseBool(v); !ok {
			w.fail(s, "enabled", s.Line, "%q is no flag; write 0 or 1", v)
			return
		}
	}
	if !on {
		return
	}
	w.open(s, t)
	for _, o := range s.Options {
		if o.Name == "enabled" && t.array {
			continue
		}
		w.option(&w.body, s, t, o)
	}
}

// open writes the table's header and, of a named section, the key name.
func (w *writer) open(s *Section, t table) {
	header := "[" + t.toml + "]"
	if t.array {
		header = "[" + header + "]"
	}
	fmt.Fprintf(&w.body, "\n%s # %s\n", header, w.label(s, ""))
	if t.named && s.Get("name") == "" && s.Name != "" {
		fmt.Fprintf(&w.body, "name = %s # %s\n", quote(s.Name), w.label(s, ""))
	}
}

// global holds what concerns the process: the log level is the daemon's, the rest the init script's.
func (w *writer) global(s *Section, t table) {
	for _, o := range s.Options {
		if o.Name == "log_level" {
			fmt.Fprintf(&w.head, "\n[log] # %s\n", w.label(s, ""))
			w.line(&w.head, s, o, "level", quote(o.Values[0]))
			continue
		}
		w.option(&w.head, s, t, o)
	}
	if v := s.Get("enabled"); v != "" {
		if _, ok := ParseBool(v); !ok {
			w.fail(s, "enabled", s.Line, "%q is no flag; write 0 or 1", v)
		}
	}
}

func (w *writer) line(out *strings.Builder, s *Section, o Option, key, value string) {
	fmt.Fprintf(out, "%s = %s # %s\n", key, value, w.label(s, o.Name))
}

func (w *writer) option(out *strings.Builder, s *Section, t table, o Option) {
	f, known := t.options[o.Name]
	if !known {
		w.fail(s, o.Name, o.Line, "unknown option%s", suggestion(o.Name, t.options))
		return
	}
	if f == initOnly || len(o.Values) == 1 && o.Values[0] == "" {
		return // an emptied field of a form means the default
	}
	value, err := render(f, o)
	if err != nil {
		w.fail(s, o.Name, o.Line, "%v", err)
		return
	}
	w.line(out, s, o, o.Name, value)
}

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

// suggestion names the known option that differs least from a mistyped one.
func suggestion(name string, known map[string]form) string {
	best, least := "", 3
	for k := range known {
		if d := distance(name, k); d < least || d == least && k < best {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

// distance counts the letters to change, add or take away (Levenshtein).
func distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// Origin names the UCI option that a line of Import's TOML came from (lines count from 1), "" if there is none.
func Origin(toml []byte, line int) string {
	lines := strings.Split(string(toml), "\n")
	if line < 1 || line > len(lines) {
		return ""
	}
	_, origin, ok := strings.Cut(lines[line-1], " # ")
	for ok { // a value may hold " # " itself: the comment is the last
		last := origin
		if _, origin, ok = strings.Cut(origin, " # "); !ok {
			return last
		}
	}
	return ""
}

// Explain puts UCI's names into errors about the TOML that Import made: of lines "FILE:LINE: KEY: what is wrong" it makes
// "PATH: PACKAGE.SECTION.OPTION: what is wrong". Lines of another form stay as they are.
func Explain(toml []byte, path string, err error) error {
	if err == nil {
		return nil
	}
	var lines []string
	for _, l := range strings.Split(err.Error(), "\n") {
		lines = append(lines, explainLine(toml, path, l))
	}
	return errors.New(strings.Join(lines, "\n"))
}

func explainLine(toml []byte, path, line string) string {
	rest := line
	for {
		i := strings.IndexByte(rest, ':')
		if i < 0 {
			return line
		}
		rest = rest[i+1:]
		number, after, ok := strings.Cut(rest, ": ")
		if !ok {
			return line
		}
		n, err := strconv.Atoi(number)
		if err != nil {
			continue
		}
		origin := Origin(toml, n)
		if origin == "" {
			return line
		}
		return path + ": " + withKey(origin, after)
	}
}

// withKey joins the option's name and the error's text. Where the key at fault has no line of its own (it is missing),
// the section's line stands for it, and the key's last part is the option.
func withKey(origin, text string) string {
	key, what, ok := strings.Cut(text, ": ")
	if !ok {
		return origin + ": " + text
	}
	option := key[strings.LastIndexByte(key, '.')+1:]
	if strings.Count(origin, ".") == 1 && validName(option) && option != key {
		origin += "." + option
	}
	return origin + ": " + what
}
