// SPDX-License-Identifier: Apache-2.0

// Audit lists the modules of others that Spillway is compiled with and their licences, and fails when one isn't allowed.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"spillway/cross"
	"spillway/testbed/usage"
)

const about = `audit

Lists the modules of others that Spillway is compiled with, and their licences; it ends with 1 when one isn't allowed. To be run below
the source tree.
`

func main() {
	usage.Alone(flag.CommandLine, os.Args[1:], about)
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "audit:", err)
		os.Exit(1)
	}
}

func run() error {
	root, err := cross.Root()
	if err != nil {
		return err
	}
	ms, err := cross.Audit(root)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "module\tversion\tlicence\tin the router's binary")
	for _, m := range ms {
		fmt.Fprintf(w, "%s\t%s\t%s\t%v\n", m.Path, m.Version, m.Licence, m.Linked)
	}
	w.Flush()
	if bad := cross.Refused(ms); len(bad) > 0 {
		return fmt.Errorf("not allowed:\n  %s", strings.Join(bad, "\n  "))
	}
	return nil
}
