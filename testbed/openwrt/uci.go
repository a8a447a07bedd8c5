// SPDX-License-Identifier: Apache-2.0

package openwrt

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"spillway/openwrt/uci"
)

const (
	configDir = "/etc/config"
	stagedDir = "/tmp/.uci"
)

// errEntry is what the real uci says of a name that is not there.
var errEntry = errors.New("uci: Entry not found")

// UCI is the command `uci`: show, get, set, add_list, del_list, delete, add, commit. Changes wait in /tmp/.uci for a commit, as a whole
// file each (the real one keeps the differences).
func UCI(args []string, out io.Writer) error {
	quiet := false
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		quiet = quiet || args[0] == "-q"
		args = args[1:]
	}
	if len(args) == 0 {
		return errors.New("uci: no command")
	}
	err := uciCommand(args[0], args[1:], out)
	if err != nil && quiet {
		return silent{err}
	}
	return err
}

// Silent tells whether an error is to be told by the exit code alone.
func Silent(err error) bool {
	return errors.As(err, new(silent))
}

// silent is an error of which only the exit code tells.
type silent struct{ error }

func uciCommand(command string, args []string, out io.Writer) error {
	arg := ""
	if len(args) > 0 {
		arg = args[0]
	}
	switch command {
	case "commit":
		return uciCommit(arg)
	case "show", "shell":
		names := []string{arg}
		if arg == "" {
			entries, _ := os.ReadDir(configDir)
			names = nil
			for _, e := range entries {
				names = append(names, e.Name())
			}
		}
		for _, name := range names {
			if err := uciShow(name, command == "shell", out); err != nil {
				return err
			}
		}
		return nil
	case "add":
		f, err := openUCI(arg)
		if err != nil || len(args) < 2 {
			return errors.Join(err, errors.New("uci: add CONFIG TYPE"))
		}
		f.sections = append(f.sections, &uci.Section{Type: args[1]})
		return f.stage()
	}
	path, value, _ := strings.Cut(arg, "=")
	f, err := openUCI(strings.SplitN(path, ".", 2)[0])
	if err != nil {
		return err
	}
	return f.command(command, strings.Split(path, ".")[1:], value, out)
}

type uciFile struct {
	name     string
	sections []*uci.Section
}

func openUCI(name string) (*uciFile, error) {
	raw, err := os.ReadFile(filepath.Join(stagedDir, name))
	if err != nil {
		if raw, err = os.ReadFile(filepath.Join(configDir, name)); err != nil {
			return nil, errEntry
		}
	}
	f := &uciFile{name: name}
	f.sections, err = uci.Parse(string(raw))
	return f, err
}

// section finds one by name or as @type[n], n counting from the end when negative.
func (f *uciFile) section(name string) *uci.Section {
	if kind, index, ok := strings.Cut(strings.TrimPrefix(name, "@"), "["); ok && name[0] == '@' {
		n, err := strconv.Atoi(strings.TrimSuffix(index, "]"))
		var of []*uci.Section
		for _, s := range f.sections {
			if s.Type == kind {
				of = append(of, s)
			}
		}
		if n < 0 {
			n += len(of)
		}
		if err != nil || n < 0 || n >= len(of) {
			return nil
		}
		return of[n]
	}
	for _, s := range f.sections {
		if s.Name == name {
			return s
		}
	}
	return nil
}

func (f *uciFile) command(command string, path []string, value string, out io.Writer) error {
	if len(path) == 0 || len(path) > 2 {
		return fmt.Errorf("uci: %s wants CONFIG.SECTION[.OPTION]", command)
	}
	s := f.section(path[0])
	if command == "set" && len(path) == 1 && s == nil {
		f.sections = append(f.sections, &uci.Section{Type: value, Name: path[0]})
		return f.stage()
	}
	if s == nil {
		return errEntry
	}
	if len(path) == 1 {
		switch command {
		case "get":
			fmt.Fprintln(out, s.Type)
		case "delete":
			f.sections = slices.DeleteFunc(f.sections, func(o *uci.Section) bool { return o == s })
			return f.stage()
		}
		return nil
	}
	at := slices.IndexFunc(s.Options, func(o uci.Option) bool { return o.Name == path[1] })
	if at < 0 && (command == "get" || command == "delete" || command == "del_list") {
		return errEntry
	}
	if at < 0 {
		s.Options = append(s.Options, uci.Option{Name: path[1], List: command == "add_list"})
		at = len(s.Options) - 1
	}
	o := &s.Options[at]
	switch command {
	case "get":
		fmt.Fprintln(out, strings.Join(o.Values, " "))
		return nil
	case "set":
		o.Values, o.List = []string{value}, false
	case "add_list":
		o.Values, o.List = append(o.Values, value), true
	case "del_list":
		o.Values = slices.DeleteFunc(o.Values, func(v string) bool { return v == value })
	case "delete":
		s.Options = slices.Delete(s.Options, at, at+1)
	default:
		return fmt.Errorf("uci: no command %q", command)
	}
	return f.stage()
}

func (f *uciFile) stage() error {
	if err := os.MkdirAll(stagedDir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(stagedDir, f.name), []byte(Text(f.sections)), 0o600)
}

// Text is sections as a UCI file has them.
func Text(sections []*uci.Section) string {
	var b strings.Builder
	for _, s := range sections {
		fmt.Fprintf(&b, "\nconfig %s", s.Type)
		if s.Name != "" {
			fmt.Fprintf(&b, " %s", quoted(s.Name))
		}
		b.WriteString("\n")
		for _, o := range s.Options {
			word := "option"
			if o.List {
				word = "list"
			}
			for _, v := range o.Values {
				fmt.Fprintf(&b, "\t%s %s %s\n", word, o.Name, quoted(v))
			}
		}
	}
	return b.String()
}

// uciCommit puts staged files in their places; "" is all.
func uciCommit(name string) error {
	entries, _ := os.ReadDir(stagedDir)
	for _, e := range entries {
		if name != "" && e.Name() != name {
			continue
		}
		from := filepath.Join(stagedDir, e.Name())
		raw, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		to := filepath.Join(configDir, e.Name())
		if err := os.WriteFile(to+".new", raw, 0o600); err != nil {
			return err
		}
		if err := os.Rename(to+".new", to); err != nil {
			return err
		}
		os.Remove(from)
	}
	return nil
}

// uciShow prints a file as `uci show` does, or as the assignments that config_load makes.
func uciShow(name string, shell bool, out io.Writer) error {
	f, err := openUCI(name)
	if err != nil {
		return err
	}
	for i, s := range f.sections {
		if !shell {
			fmt.Fprintf(out, "%s.%s=%s\n", name, s.Label(), s.Type)
		}
		for _, o := range s.Options {
			if shell {
				section := s.Name
				if section == "" {
					section = fmt.Sprintf("cfg%d", i+1)
				}
				fmt.Fprintf(out, "CONFIG_%s_%s=%s\n", section, o.Name, quoted(strings.Join(o.Values, " ")))
				continue
			}
			values := make([]string, len(o.Values))
			for j, v := range o.Values {
				values[j] = quoted(v)
			}
			fmt.Fprintf(out, "%s.%s.%s=%s\n", name, s.Label(), o.Name, strings.Join(values, " "))
		}
	}
	return nil
}

func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
