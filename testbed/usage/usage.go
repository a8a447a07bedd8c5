// SPDX-License-Identifier: Apache-2.0

// Package usage is how the tools of testbed and cross are called: what they say of themselves, and what they refuse.
package usage

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Parse reads a tool's options and returns what stands behind them. text is what -help says above the options: how the tool is called, an
// empty line, what it does and how it ends. -help ends the program with 0, a wrong option with 2.
func Parse(flags *flag.FlagSet, args []string, text string) []string {
	if code, done := parse(flags, args, text, os.Stdout, os.Stderr); done {
		os.Exit(code)
	}
	return flags.Args()
}

// Alone is Parse for a tool that takes options only.
func Alone(flags *flag.FlagSet, args []string, text string) {
	if rest := Parse(flags, args, text); len(rest) > 0 {
		Wrong(flags.Name(), fmt.Errorf("%q: only options are taken", rest[0]))
	}
}

// Wrong ends the program with 2: it was called in a way that makes no sense.
func Wrong(name string, err error) {
	wrong(os.Stderr, name, err)
	os.Exit(2)
}

func wrong(w io.Writer, name string, err error) {
	fmt.Fprintf(w, "%s: %v; %s -help tells how it is called\n", name, err, name)
}

func parse(flags *flag.FlagSet, args []string, text string, stdout, stderr io.Writer) (code int, done bool) {
	flags.Init(filepath.Base(flags.Name()), flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(stdout, "usage:", strings.TrimSpace(text))
		fmt.Fprintln(stdout)
		flags.SetOutput(stdout)
		flags.PrintDefaults()
		return 0, true
	case err != nil:
		wrong(stderr, flags.Name(), err)
		return 2, true
	}
	return 0, false
}

// Known says which of names is none of those that are known, if one is not. what names their kind, such as "scenario".
func Known(what string, names, known []string) error {
	for _, name := range names {
		if !slices.Contains(known, name) {
			return fmt.Errorf("%s %q: there is none; known are %s", what, name, strings.Join(known, ", "))
		}
	}
	return nil
}
