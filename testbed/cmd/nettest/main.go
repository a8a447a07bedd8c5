// SPDX-License-Identifier: Apache-2.0

// Command nettest is `go test -p 1 -count=1` with the flags and for the packages given. It says what was skipped, and tries again where the kernel
// lacks MPTCP tokens (package nettest).
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"

	"spillway/testbed/nettest"
	"spillway/testbed/usage"
)

const (
	probes = 200 // connections that show whether the kernel has tokens
	tries  = 20  // further ones, of each test
)

const about = `nettest [-FLAG=VALUE]... PACKAGE...

Runs go test -p 1 -count=1 with these flags, which are go test's, says what was skipped and why, and runs failed tests again where, and only
where, the kernel is short of MPTCP tokens.
`

func main() {
	args := os.Args[1:]
	n := slices.IndexFunc(args, func(a string) bool { return !strings.HasPrefix(a, "-") })
	if len(args) == 1 && slices.Contains([]string{"help", "h"}, strings.TrimLeft(args[0], "-")) {
		usage.Parse(flag.CommandLine, []string{"-help"}, about)
	}
	if n < 0 {
		usage.Wrong("nettest", errors.New("name packages, such as ./policy"))
	}
	if err := run(args[:n], args[n:]); err != nil {
		fmt.Fprintln(os.Stderr, "nettest:", err)
		os.Exit(1)
	}
}

func run(flags, packages []string) error {
	output, err := test(flags, packages...)
	if err == nil {
		return nil
	}
	failed, whole := nettest.Failures(output)
	if len(whole) > 0 || len(failed) == 0 {
		return err
	}
	missing, ok, probeErr := nettest.Tokenless(probes)
	if probeErr != nil || !ok || missing == 0 {
		return err
	}
	fmt.Printf("\nnettest: %d of %d MPTCP connections are plain TCP here, for want of tokens that this kernel has lost: restart the machine. Failed tests have %d more tries.\n",
		missing, probes, tries)
	for name, tests := range failed {
		for _, one := range tests {
			if err := again(flags, name, one); err != nil {
				return err
			}
		}
	}
	fmt.Println("nettest: all that failed has passed")
	return nil
}

func again(flags []string, name, one string) (err error) {
	for range tries {
		if _, err = test(flags, "-run", nettest.Pattern(one), name); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%s of %s has failed %d times: %w", one, name, 1+tries, err)
}

// test runs go test, and returns what it printed. Of what passed it prints little, unless all is wanted (-v).
func test(flags []string, args ...string) (string, error) {
	var all bytes.Buffer
	brief := &nettest.Brief{To: os.Stdout}
	var to io.Writer = brief
	if slices.Contains(flags, "-v") {
		to = os.Stdout
	}
	cmd := exec.Command("go", slices.Concat([]string{"test", "-v", "-p", "1", "-count=1"}, flags, args)...)
	cmd.Stdout, cmd.Stderr = io.MultiWriter(to, &all), os.Stderr
	err := cmd.Run()
	return all.String(), errors.Join(err, brief.Flush())
}
