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

// global holds what concerns the process: the log level is the daemon's, the rest the init script's, which looks for it by the section's name.
func (w *writer) global(s *Section, t table) {
	if s.Name != "global" {
		w.fail(s, "", s.Line, "the init script reads the section of this name alone: config global 'global'")
		return
	}
	for _, o := range s.Options {
		if o.Name == "log_level" {
			fmt.Fprintf(&w.head, "\n[log] # %s\n", w.label(s, ""))
			w.line(&w.head, s, o, "level", quote(o.Values[0]))
			continue
		}
		w.option(&w.head, s, t, o)
		if o.Name == "memory_limit" && !isLimit(o.Values[0]) {
			w.fail(s, o.Name, o.Line, "%q is no limit of memory; write e.g. 24MiB", o.Values[0])
		}
	}
	for _, name := range []string{"enabled", "jail"} {
		if _, ok := ParseBool(s.Get(name)); !ok {
			w.fail(s, name, s.Line, "%q is no flag; write 0 or 1", s.Get(name))
		}
	}
}

// isLimit tells what the Go runtime takes for GOMEMLIMIT, in whole units; it ends a program that is given anything else.
func isLimit(s string) bool {
	number := s
	for _, unit := range []string{"KiB", "MiB", "GiB", "B"} {
		if n, ok := strings.CutSuffix(s, unit); ok {
			number = n
			break
		}
	}
	_, err := strconv.ParseUint(number, 10, 32)
	return err == nil || s == "" || s == "off"
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
